# SPDX-License-Identifier: GPL-2.0-or-later
"""Switched on in an IPv6-only network: IPv4 is there, nobody has waited for it, and no clock matters."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.machines import boot_place as boot
from tests.machines.boot_place import Booted
from tests.machines.clat_service import SERVICE
from tests.machines.inside import systemctl
from tests.machines.systemd_place import UPLINK
from tests.machines.systemd_service import device_is_left_alone
from tests.machines.systemd_traffic import ipv4_works, upload
from tests.machines.systemd_trouble import one_that_takes_all_memory_ends_alone

_YEAR_S = 365 * 86400.0
_UP = re.compile(rf"{UPLINK}: CLAT up, 64:ff9b::/96 from ra, .* \[.*\bipv4=(none|asking|disabled)\b.*\bipv6=yes\b")


def ipv4_by_itself(place: Booted) -> None:
    """Nobody did anything; it was decided once, when there was IPv6, and nothing had to be tried twice."""
    wait_on(place.clat, UPLINK, timeout_s=90.0)
    ipv4_works()
    assert len(place.clat.translators()) == 1
    (said,) = [line for line in place.clat.log().splitlines() if f" {UPLINK}: " in line]
    assert _UP.search(said), said


def same_wait_without_us(place: Booted) -> None:
    """NetworkManager is done starting whether we are there or not."""
    ends = {}
    for state in ("stop", "start"):
        systemctl("stop", boot.MANAGER)
        systemctl(state, SERVICE)
        began = time.monotonic()
        systemctl("start", boot.MANAGER)
        told = subprocess.run(["nm-online", "-s", "-q", "-t", "300"], check=False)
        ends[state] = told.returncode
        print(f"NetworkManager's start, clatnm {state}: {time.monotonic() - began:.1f} s", flush=True)
    assert ends == {"stop": 0, "start": 0}, ends
    wait_on(place.clat, UPLINK, timeout_s=90.0)


def clock_jumps(place: Booted) -> None:
    """NTP puts it forwards by years after a boot, and an administrator may put it back: nothing expires."""
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    before = place.clat.translators()
    with upload() as flow:
        for jump_s in (_YEAR_S, -2 * _YEAR_S, _YEAR_S):
            time.clock_settime(time.CLOCK_REALTIME, time.time() + jump_s)
            heard = _adverts(place)
            eventually(lambda: _adverts(place) > heard, timeout_s=30.0, message="another advertisement")  # noqa: B023
            flow.goes_on()
            told = connection(place.clat, UPLINK)
            assert told["state"] == "on" and place.clat.translators() == before, (jump_s, told)
            place.here.clatnm("explain", UPLINK)
    ipv4_works()


def _adverts(place: Booted) -> int:
    told: dict[str, Any] = place.clat.status()
    return int(told["router_advertisements"]["heard"])


if __name__ == "__main__":
    first, last = (ipv4_by_itself, device_is_left_alone), (clock_jumps, same_wait_without_us)
    sys.exit(boot.run(first, (*last, one_that_takes_all_memory_ends_alone)))
