# SPDX-License-Identifier: GPL-2.0-or-later
"""Suspend, be carried into another network, resume. The kernel's own test mode wakes the machine by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path

from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.lab.topology import NETWORKS
from tests.lab.within import Within
from tests.machines import systemd_network as network
from tests.machines.here import journal
from tests.machines.inside import SkippedError, systemctl
from tests.machines.systemd_place import PORT, UPLINK, Place
from tests.machines.systemd_traffic import echoes, ipv4_works, restless, upload

_TEST_MODE = Path("/sys/power/pm_test")
_SLEEP_S = Path("/sys/module/suspend/parameters/pm_test_delay")
"""The kernel does nothing but wait so long: 5 s, if nobody says otherwise."""
_HOOK = Path("/usr/lib/systemd/system-sleep/carry")
_IPV6 = 0x86DD
_DESTINATION = slice(14 + 24, 14 + 40)


def resumes_here(place: Place) -> None:
    """In the same network, connections go on."""
    _needs_test_mode()
    with upload() as flow, _test_mode():
        _suspend()
        wait_on(place.clat, UPLINK, timeout_s=120.0)
        flow.goes_on()
    ipv4_works()


def resumes_elsewhere(place: Place) -> None:
    """NetworkManager's uplink: nothing goes out with the old prefix, IPv4 comes with the new one's advertisement."""
    _suspend_and_wake(place, "a", "c")
    _suspend_and_wake(place, "c", "a")


def resumes_elsewhere_with_networkd(place: Place) -> None:
    """systemd-networkd does nothing at all when the machine sleeps or wakes up."""
    with network.by_networkd(place):
        _suspend_and_wake(place, "a", "c")
        _suspend_and_wake(place, "c", "a")


def _suspend_and_wake(place: Place, old: str, new: str) -> None:
    _needs_test_mode()
    prefixes = {network.letter: network.pref64 for network in NETWORKS if network.pref64}
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    assert connection(place.clat, UPLINK)["translator"]["prefix"] == str(prefixes[old])
    with _test_mode(), _carried(place, new), restless(), _captured(place, new) as heard:
        _suspend()

        def right() -> bool:
            told = connection(place.clat, UPLINK)
            assert told["state"] == "on", told
            return bool(told["translator"]["prefix"] == str(prefixes[new]))

        eventually(right, timeout_s=120.0, message="the CLAT of the other network")
        # The carrier was never away, so to the kernel the router's address is where the other network's router was: for
        # some seconds no packet of either family gets through where the network manager changes nothing.
        eventually(echoes, timeout_s=30.0, message="an answer over IPv4")
        ipv4_works()
        sent = heard()
    wrong = [str(address) for address in sent if address in prefixes[old]]
    assert not wrong, f"{len(wrong)} packets to the old prefix"
    assert any(address in prefixes[new] for address in sent), "nothing was captured"


@contextlib.contextmanager
def _carried(place: Place, network: str) -> Iterator[None]:
    """The next suspend ends in another network: the cable moves just before the kernel sleeps."""
    _HOOK.parent.mkdir(exist_ok=True)
    bridge = f"br{network.upper()}"
    _HOOK.write_text(f"#!/bin/sh\n[ $1 != pre ] || ip -n {place.switch.netns} link set {PORT} master {bridge}\n")
    _HOOK.chmod(0o755)
    try:
        yield
    finally:
        _HOOK.unlink()


def _needs_test_mode() -> None:
    if not _TEST_MODE.exists():
        raise SkippedError("this kernel has no test mode for suspending")


@contextlib.contextmanager
def _test_mode() -> Iterator[None]:
    _TEST_MODE.write_text("freezer")
    _SLEEP_S.write_text("1")
    try:
        yield
    finally:
        _TEST_MODE.write_text("none")


def _suspend() -> None:
    """Returns when the machine has woken up again."""
    slept = _times_slept()
    systemctl("suspend")
    eventually(lambda: _times_slept() > slept, timeout_s=120.0, message="it wakes up")


@contextlib.contextmanager
def _captured(place: Place, network: str) -> Iterator[Callable[[], list[IPv6Address]]]:
    """Called: the destinations of all IPv6 packets that have come to this network's router."""
    with Within.of(place.routers[network]).packets("lan", _IPV6) as ear:

        def read() -> list[IPv6Address]:
            ear.setblocking(False)
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(IPv6Address(ear.recv(65535)[_DESTINATION]))
            return found

        yield read


def _times_slept() -> int:
    return journal("systemd-suspend.service").count("Finished")
