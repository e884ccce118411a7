# SPDX-License-Identifier: GPL-2.0-or-later
"""AppArmor enforces packaging/apparmor/clatnm."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.machines import bounds
from tests.machines.systemd_place import Place

PROFILE = Path("/etc/apparmor.d/clatnm")
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
    told = place.here.run("apparmor_parser", "-r", str(PROFILE), check=False)
    assert told.returncode == 0, told
    assert _CONFINED in _LOADED.read_text().splitlines()


if __name__ == "__main__":
    sys.exit(bounds.run(BOUNDS, profile_loads))
