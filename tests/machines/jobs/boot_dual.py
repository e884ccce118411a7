# SPDX-License-Identifier: GPL-2.0-or-later
"""Switched on in a dual-stack network: clatnm has nothing to do, and nobody notices it."""

from __future__ import annotations

import sys

from tests.e2e.clat import wait_off
from tests.lab.topology import INET_V4
from tests.machines import boot_place as boot
from tests.machines.boot_place import Booted
from tests.machines.here import journal
from tests.machines.systemd_place import UPLINK
from tests.machines.systemd_traffic import ipv4_works


def native_ipv4_is_used(place: Booted) -> None:
    told = wait_off(place.clat, "native-ipv4", UPLINK, timeout_s=90.0)
    assert told["state"] == "off" and told["translator"] is None, told
    ipv4_works()
    (way,) = place.here.ip_json("route", "get", str(INET_V4))
    assert (way["dev"], way["prefsrc"][:10]) == (UPLINK, "192.168.2."), way


def nothing_was_made(place: Booted) -> None:
    """Neither now nor for a moment."""
    assert not [name for name in place.here.devices() if name.startswith("clat")]
    assert not place.clat.translators()
    assert "CLAT up" not in place.clat.log()
    assert "(clat-" not in journal(boot.MANAGER)


def native_ipv4_is_used_again(place: Booted) -> None:
    native_ipv4_is_used(place)


if __name__ == "__main__":
    sys.exit(boot.run((native_ipv4_is_used, nothing_was_made), (native_ipv4_is_used_again,)))
