# SPDX-License-Identifier: GPL-2.0-or-later
"""Who translates at each moment, from every change of address that the kernel tells of, in its order: none is missed.

A translator is recognized by its IPv4 address, which is one of 192.0.0.0/29 (RFC 7335): on the uplink it is
NetworkManager's, on `clat-…` ours. Either has it before its default route, and after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tests.lab import Lab, eventually

_CLAT = re.compile(r"^(?P<gone>Deleted )?\d+: (?P<device>\S+)\s+inet 192\.0\.0\.[0-7]/32 ")
_MARK = "192.0.2.77"


def translating(lines: Iterable[str]) -> Iterator[frozenset[str]]:
    """Devices with a translator's address, after each line of `ip -o monitor address` that changes that."""
    devices: frozenset[str] = frozenset()
    for line in lines:
        found = _CLAT.match(line)
        if found:
            device = {found["device"]}
            after = devices - device if found["gone"] else devices | device
            if after != devices:
                devices = after
                yield devices


class Witness:
    """Looks on from now until the lab is reset."""

    def __init__(self, lab: Lab) -> None:
        self._host = lab.host
        self._monitor = lab.host.popen("ip", "-o", "monitor", "address", name="witness")
        self._begun = len(self._monitor.log())
        eventually(self._passes_on, message="the witness looks on")

    def history(self) -> list[frozenset[str]]:
        """Every set of translating devices there has been, in order; none at the start is left out."""
        # What the kernel told before now is in the log once this is.
        eventually(self._passes_on, message="the witness has told everything")
        return list(translating(self._monitor.log()[self._begun :].splitlines()))

    def _passes_on(self) -> bool:
        seen = self._monitor.log().count(_MARK)
        self._host.ip("addr", "add", f"{_MARK}/32", "dev", "lo")
        self._host.ip("addr", "del", f"{_MARK}/32", "dev", "lo")
        eventually(lambda: self._monitor.log().count(_MARK) >= seen + 2, timeout_s=1, message="a change is told")
        return True
