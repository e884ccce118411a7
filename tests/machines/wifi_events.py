# SPDX-License-Identifier: GPL-2.0-or-later
"""Who knew of a roam when: the kernel (nl80211, rtnetlink), and clatnm, by its log. Times are seconds of the day."""

from __future__ import annotations

import datetime
import re
from types import TracebackType

from tests.machines.here import journal
from tests.machines.wifi_air import Laptop

_NL80211 = re.compile(r"^(\d+\.\d+): (.*)$", re.MULTILINE)
_RTNETLINK = re.compile(r"^\[(\S+)\] (?!Deleted)\d+: (wlan\d.*)$", re.MULTILINE)
_CLATNM = re.compile(r"^(\w+ +\d+ [\d:.]+) \S+ clatnm\[\d+\]: (.*)$", re.MULTILINE)


class Events:
    """Context manager: it listens from the beginning to the end."""

    def __init__(self, laptop: Laptop) -> None:
        self._laptop = laptop

    def __enter__(self) -> Events:
        listen = ("stdbuf", "-oL")
        self._nl80211 = self._laptop.popen(*listen, "iw", "event", "-t", name="iw-event")
        self._rtnetlink = self._laptop.popen(*listen, "ip", "-o", "-ts", "monitor", "link", name="ip-monitor")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nl80211.stop()
        self._rtnetlink.stop()

    def all(self) -> list[tuple[float, str]]:
        """What happened when, in order, in the words of who tells it."""
        told = [(float(at), f"iw: {text}") for at, text in _NL80211.findall(self._nl80211.log())]
        for at, text in _RTNETLINK.findall(self._rtnetlink.log()):
            told.append((datetime.datetime.fromisoformat(at).timestamp(), f"ip: {text.partition(' qlen')[0]}"))
        year = datetime.datetime.now().year
        for at, text in _CLATNM.findall(journal("clatnm")):
            moment = datetime.datetime.strptime(f"{year} {at}", "%Y %b %d %H:%M:%S.%f")
            told.append((moment.timestamp(), f"clatnm: {text}"))
        return sorted(told)

    def since(self, moment: float) -> str:
        """The same as lines for people."""
        return "\n".join(f"  {at - moment:7.3f} {text}" for at, text in self.all() if at >= moment)
