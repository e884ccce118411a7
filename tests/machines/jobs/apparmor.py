# SPDX-License-Identifier: GPL-2.0-or-later
"""AppArmor enforces packaging/apparmor/clatnm."""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.machines import bounds, bounds_wider
from tests.machines.systemd_place import Place

PROFILE = Path("/etc/apparmor.d/clatnm")
LOCAL = Path("/etc/apparmor.d/local/clatnm")
TAYGA = ("network inet dgram,", "capability setpcap,", "capability sys_admin,")
LEGACY_IPTABLES = ("network inet raw,",)
"""What docs/security.md has an administrator write into `LOCAL`."""
_LOADED = Path("/sys/kernel/security/apparmor/profiles")
_SPEAK_IPV4 = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
_CONFINED = "clatnm (enforce)"
BOUNDS = bounds.Bounds(
    setting="AppArmorProfile=clatnm",
    label=_CONFINED,
    refusal=re.compile(r'apparmor="DENIED".* profile="clatnm'),
    forbidden={"speak-ipv4": ("python3", "-c", _SPEAK_IPV4)},
)


def profile_loads(place: Place) -> None:
    _load()
    assert _CONFINED in _LOADED.read_text().splitlines()


def tayga_translates(place: Place) -> None:
    bounds_wider.tayga_translates(BOUNDS, place, functools.partial(_with, *TAYGA))


def iptables_works(place: Place) -> None:
    bounds_wider.iptables_works(BOUNDS, place)


def legacy_iptables_works(place: Place) -> None:
    bounds_wider.legacy_iptables_works(BOUNDS, place, functools.partial(_with, *LEGACY_IPTABLES))


@contextlib.contextmanager
def _with(*rules: str) -> Iterator[None]:
    LOCAL.parent.mkdir(exist_ok=True)
    LOCAL.write_text("".join(f"{rule}\n" for rule in rules))
    try:
        _load()
        yield
    finally:
        LOCAL.unlink()
        _load()


def _load() -> None:
    told = subprocess.run(["apparmor_parser", "-r", str(PROFILE)], check=False, text=True, capture_output=True)
    assert told.returncode == 0, told


if __name__ == "__main__":
    sys.exit(bounds.run(BOUNDS, profile_loads, widened=(iptables_works, legacy_iptables_works, tayga_translates)))
