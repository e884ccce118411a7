# SPDX-License-Identifier: GPL-2.0-or-later
"""Between networks: the right state each time, and nothing that adds up."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.e2e import clat
from tests.e2e.outliving import at_hand
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.router import Router

ROUNDS, QUICK_ROUNDS = 20, 2


def test_roaming_by_short_carrier_flaps_always_ends_right(clean_lab: Lab) -> None:
    """NetworkManager keeps B's DHCPv4 lease in A for minutes: only its silent gateway tells that it is stale."""
    lab, host = clean_lab, clean_lab.host
    host.dad(False)
    daemon = host.daemon("-v")
    host.add_profile("any", "up0", ipv4_method="auto")
    host.up("any")
    clat.wait_on(daemon)
    usual: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        host.plug("up0", "b")
        clat.wait_off(daemon, "native-ipv4", timeout_s=60)
        clat.wait_no_device(host)
        eventually(lambda: clat.answers(host), message="native IPv4 works in B")
        host.plug("up0", "a")
        clat.wait_on(daemon, timeout_s=60)
        eventually(lambda: clat.answers(host), message="IPv4 works in A")
        assert clat.connection(daemon)["translator"]["clat_v6"].startswith("2001:db8:a:")
        clat.calm(daemon)
        waiting = at_hand(host)
        usual.append((clat.descriptors(daemon.pid) - waiting, len(host.processes()) - waiting))
    (files, processes), (most, as_many) = usual[-1], usual[0]
    assert files <= most + 1, usual  # an ear that is open for a while may be there or not
    assert processes == as_many, usual
    assert len(clat.translators(host)) == 1
    assert clat.devices(host) == {"lo", "up0", "up1", "clat-up0"}
    assert lab.a.processes()


def quick_roam(lab: Lab, router: Router, works: Callable[[], object]) -> None:
    """The carrier is away for a moment; then all works before the router there has said anything twice."""

    def said() -> int:
        return router.ra_log().count(" sent to ")

    before = said()
    began = time.monotonic()
    lab.host.plug("up0", router.network.letter)
    works()
    took_ms, heard = (time.monotonic() - began) * 1000, said() - before
    print(f"into {router.network.letter}: {took_ms:.0f} ms, {heard} advertisements")
    assert heard <= 1, "NetworkManager's own solicitation, or the next periodic one"


@pytest.mark.parametrize("first", ["a", "c"])
def test_quick_roam_is_over_before_the_second_advertisement(clean_lab: Lab, first: str) -> None:
    """From IPv6-only to dual stack and back; and between two that are IPv6-only, with different prefixes."""
    lab, host = clean_lab, clean_lab.host
    for router in lab.routers:
        router.ra(interval=1000)
    other = lab.b if first == "a" else lab.a
    host.dad(False)
    host.plug("up0", first)
    daemon = host.daemon("-v")
    host.add_profile("any", "up0", ipv4_method="auto")
    host.up("any")
    clat.wait_on(daemon)

    def works_in(router: Router) -> None:
        eventually(lambda: _is_right(daemon, router), timeout_s=60, message="the right state")
        eventually(lambda: clat.answers(host), timeout_s=5, message="IPv4 works")

    host.plug("up0", other.network.letter)
    works_in(other)  # the first time, NetworkManager gets a lease
    here = next(router for router in lab.routers if router.network.letter == first)
    for _ in range(QUICK_ROUNDS):
        for router in (here, other):
            quick_roam(lab, router, lambda router=router: works_in(router))


def _is_right(daemon: Daemon, router: Router) -> bool:
    told = clat.connection(daemon)
    if router.network.pref64 is None:
        return bool(told["reason"] == "native-ipv4")
    there = told["state"] == "on" and told["translator"]
    return bool(
        there
        and there["prefix"] == told["prefix"]["prefix"] == str(router.network.pref64)
        and there["clat_v6"].startswith(str(router.network.lan.network_address)[:-1])
    )


def test_prefix_of_the_old_network_is_forgotten_at_once(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    clean_lab.c.ra_silent()
    joined.host.plug("up0", "c")
    clat.wait_off(joined.daemon, "no-pref64")
    clat.wait_no_device(joined.host)
    clean_lab.c.ra_silent(False)
    told = clat.wait_on(joined.daemon)
    assert told["translator"]["prefix"] == "2001:db8:64:0:c::/96"


def test_unplugged_and_plugged_in_again(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    joined.host.carrier("up0", False)
    clat.wait_no_device(joined.host)
    joined.host.carrier("up0", True)
    clat.wait_on(joined.daemon)
    eventually(lambda: clat.answers(joined.host), message="IPv4 works again")


def test_own_solicitation_gets_the_prefix_after_a_carrier_flap(clean_lab: Lab) -> None:
    """NetworkManager 1.42 to 1.58 send none after a short flap, and routers may be silent for minutes."""
    clean_lab.a.ra(interval=1000)
    joined = clat.join(clean_lab)
    joined.host.plug("up0", "a")
    eventually(lambda: "the carrier changed" in joined.daemon.log(), message="the flap was noticed")
    clat.wait_on(joined.daemon)
    eventually(lambda: clat.answers(joined.host), message="IPv4 works again")


_LOGIND = """
import asyncio, sys
try:
    from dbus_next import BusType, Message
    from dbus_next.aio import MessageBus
except ImportError:
    from dbus_fast import BusType, Message
    from dbus_fast.aio import MessageBus

async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    await bus.request_name("org.freedesktop.login1")
    for asleep in (True, False):
        signal = Message.new_signal(
            "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PrepareForSleep", "b", [asleep]
        )
        await bus.send(signal)
    print("told")

asyncio.run(main())
"""


def test_resume_forgets_and_asks_again(clean_lab: Lab) -> None:
    """The machine may wake up in another network; here the router says something else by then."""
    clean_lab.a.ra(interval=1000)
    joined = clat.join(clean_lab)
    clean_lab.a.ra_silent()
    clean_lab.a.ra(pref64=[["2001:db8:64::/96", 600]], silent=True)
    assert clat.connection(joined.daemon)["prefix"]["prefix"] == "64:ff9b::/96"
    solicited = clean_lab.a.ra_log().count("solicited by")
    clean_lab.a.ra(silent=False, ignore_rs=False, interval=1000)
    assert joined.host.python(_LOGIND) == "told\n"
    eventually(lambda: clean_lab.a.ra_log().count("solicited by") > solicited, message="a solicitation of our own")
    eventually(
        lambda: clat.connection(joined.daemon)["prefix"]["prefix"] == "2001:db8:64::/96", message="the new prefix"
    )
    clat.wait_on(joined.daemon)
