# SPDX-License-Identifier: GPL-2.0-or-later
"""What the observer tells its sources, whom it has asked, and what it knows by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm.discovery import roaming
from clatnm.errors import HostError
from clatnm.kernel import steady
from clatnm.model import Link, PrefixSource, Settings
from clatnm.policy.plan import decide
from tests.unit.aio import run_virtual
from tests.unit.observed import Stage
from tests.unit.policy.worlds import UUID, WELL_KNOWN, a_candidate, a_link, a_world, an_uplink, run_all, the_plan

WIFI = replace(an_uplink(), access_point="02:00:00:00:02:00")
ELSEWHERE = replace(WIFI, access_point="02:00:00:00:03:00")
# In the order in which `Steady` gives them back.
LINK = a_link(ipv6=("2001:db8:a::5/64", "fe80::5/64"))
CABLE = a_link("eth0", index=3, ipv6=("2001:db8:b::5/64",))
BARE = replace(LINK, addresses6=())
SOURCES = ("adverts", "known", "dns64", "dhcp4", "plats")
INTERRUPTED = HostError("cannot read the links: Interrupted system call", errno=4)
PLAN = the_plan(a_world())

Scene = Callable[[Stage], Coroutine[Any, Any, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Play a scene on a clock of its own."""

    def play(scene: Scene) -> None:
        stage = Stage(monkeypatch)
        stage.links = (LINK,)
        run_virtual(scene(stage))

    return play


Play = Callable[[Scene], None]


# Another access point, or another network


def said(stage: Stage) -> dict[str, list[tuple[str, tuple[Any, ...]]]]:
    """Which doubts the sources were told of."""
    doubts = {
        name: [(v, what) for v, what in part.done if v in ("suspect", "forget")] for name, part in stage.parts.items()
    }
    return {name: told for name, told in doubts.items() if told}


ROAMED = {
    **{name: [("suspect", (LINK.index,))] for name in ("adverts", "dns64", "attachment")},
    **{name: [("forget", (LINK.index,))] for name in ("known", "dhcp4", "plats")},
}


@pytest.mark.parametrize("how", ["named", "flapped"])
def test_roam_raises_doubts_about_that_link_alone(play: Play, how: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.links, stage.uplinks = (LINK, CABLE), (an_uplink("eth0"), WIFI)
        await stage.look()
        assert said(stage) == {}
        if how == "named":
            stage.uplinks = (an_uplink("eth0"), ELSEWHERE)
            await stage.look()
        else:
            stage.links = (replace(LINK, carrier_changes=LINK.carrier_changes + 2), CABLE)
            world = await stage.look_again()
            assert world.links["wlan0"] == LINK, "a carrier that was away for a moment counts for nothing"
        assert said(stage) == ROAMED
        await stage.look_again()
        assert said(stage) == ROAMED, "once"

    play(scene)


def test_access_point_that_changes_has_the_links_read_though_the_kernel_says_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.uplinks = (WIFI,)
        await stage.look()
        await stage.look()
        assert stage.reads == 1
        stage.uplinks = (ELSEWHERE,)
        await stage.look()
        assert stage.reads == 2

    play(scene)


def test_carrier_that_stays_away_is_looked_at_in_time(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.uplinks = (WIFI,)
        await stage.look()
        stage.links = (replace(LINK, carrier=False, carrier_changes=3),)
        world = await stage.look_again()
        assert world.links["wlan0"] == LINK
        stage.forget_the_past()
        await asyncio.sleep(roaming.PATIENCE_S - 0.1)
        assert stage.changes == 0
        await asyncio.sleep(0.2)
        assert stage.changes == 1
        assert not (await stage.look()).links["wlan0"].carrier
        assert said(stage) == {}, "the sources see that by themselves"

    play(scene)


def test_carrier_that_is_back_is_waited_for_no_more(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.uplinks = (WIFI,)
        await stage.look()
        stage.links = (replace(LINK, carrier=False, carrier_changes=3),)
        await stage.look_again()
        stage.links = (replace(LINK, carrier_changes=4),)
        await stage.look_again()
        stage.forget_the_past()
        await asyncio.sleep(roaming.PATIENCE_S * 2)
        assert stage.changes == 0

    play(scene)


def test_forgetting_reaches_every_source(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.observer.forget()
        assert said(stage) == {name: [("forget", ())] for name in SOURCES}

    play(scene)


def test_close_ends_every_part_once(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.observer.close()
        closed = {name for name, part in stage.parts.items() if part.told("close") == [()]}
        assert closed == {*SOURCES, "attachment", "monitor", "networkd"}

    play(scene)


# Whom the sources follow, and who is asked


def test_vpn_is_known_and_not_followed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        tunnel = a_link("tun0", index=9)
        stage.links, stage.uplinks = (LINK, tunnel), (an_uplink("tun0", uuid="vpn", is_vpn=True), an_uplink())
        world = await stage.look()
        assert [uplink.interface for uplink in world.uplinks] == ["tun0", "wlan0"]
        for name in ("adverts", "dhcp4", "known"):
            assert stage[name].last() == ({"wlan0": LINK, "tun0": tunnel}, {"wlan0"}), name
        assert stage["attachment"].last() == ({"wlan0": LINK},)
        assert stage["dns64"].last()[1].keys() == {"wlan0"}

    play(scene)


def test_manager_is_asked_only_where_no_router_tells_a_prefix(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.links, stage.uplinks = (LINK, CABLE), (an_uplink("eth0"), an_uplink())
        await stage.look()
        assert stage["known"].last()[1] == {"eth0", "wlan0"}
        stage["adverts"].prefixes = {"wlan0": (a_candidate(),)}
        await stage.look()
        assert stage["known"].last()[1] == {"eth0"}

    play(scene)


@pytest.mark.parametrize("source", ["adverts", "known"])
def test_resolvers_are_asked_only_where_nobody_better_tells_a_prefix(play: Play, source: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.look()
        assert stage["dns64"].last()[1].keys() == {"wlan0"}
        told = PrefixSource.RA if source == "adverts" else PrefixSource.MANAGER
        stage[source].prefixes = {"wlan0": (replace(a_candidate(), source=told),)}
        await stage.look()
        assert stage["dns64"].last()[1] == {}

    play(scene)


OF_ROUTER, OF_LINK, OF_BOTH = (IPv6Address(f"2001:db8:a::{n}") for n in (51, 52, 53))
WRITTEN, WRITTEN_HERE = IPv4Address("192.0.2.53"), IPv6Address("2001:db8::53")
RESOLVERS: dict[str, tuple[Settings, tuple[object, ...]]] = {
    "rfc8106-routers-first": (Settings(), (OF_ROUTER, OF_BOTH, OF_LINK)),
    "written": (Settings(dns64_servers=(WRITTEN,)), (WRITTEN,)),
    "written-for-this-connection": (
        Settings(dns64_servers=(WRITTEN,), connections={UUID: Settings(dns64_servers=(WRITTEN_HERE,))}),
        (WRITTEN_HERE,),
    ),
    "written-for-another": (
        Settings(connections={"another": Settings(dns64_servers=(WRITTEN,))}),
        (OF_ROUTER, OF_BOTH, OF_LINK),
    ),
}


@pytest.mark.parametrize(("settings", "expected"), RESOLVERS.values(), ids=RESOLVERS)
def test_resolvers_that_are_asked(play: Play, settings: Settings, expected: tuple[object, ...]) -> None:
    async def scene(stage: Stage) -> None:
        stage.settings = settings
        stage.uplinks = (replace(an_uplink(), resolvers=(OF_LINK, OF_BOTH)),)
        stage["adverts"].dns = {"wlan0": (OF_ROUTER, OF_BOTH), "eth0": (IPv6Address("2001:db8:b::53"),)}
        await stage.look()
        assert stage["dns64"].last()[1] == {"wlan0": expected}

    play(scene)


def test_managers_are_followed_and_tell_when_to_look(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        bus: Any = object()
        await stage.observer.attach(bus)
        ((told, changed),) = stage.followed
        assert told is bus
        changed()
        assert stage.changes == 1

    play(scene)


# The links


def test_links_are_read_only_when_something_may_have_changed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.look()
        stage.links = (CABLE,)
        assert (await stage.look()).links == {"wlan0": LINK}
        assert stage.reads == 1
        assert (await stage.look_again()).links == {"eth0": CABLE}
        assert stage.changes == 1

    play(scene)


def test_read_that_fails_keeps_what_is_known_and_is_tried_again(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.look()
        stage.links, stage.fault = (CABLE,), INTERRUPTED
        assert (await stage.look_again()).links == {"wlan0": LINK}
        stage.forget_the_past()
        stage.fault = None
        assert (await stage.look()).links == {"wlan0": LINK}
        assert stage.reads == 0, "not at once, or the kernel would be asked without a pause"
        await asyncio.sleep(0.5)
        assert stage.changes == 1
        assert (await stage.look()).links == {"eth0": CABLE}

    play(scene)


def test_address_that_is_away_for_a_moment_is_looked_for_again(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.look()
        stage.links = (BARE,)
        assert (await stage.look_again()).links == {"wlan0": LINK}
        stage.forget_the_past()
        await asyncio.sleep(steady.PATIENCE_S * 2)
        assert stage.changes == 1
        assert (await stage.look()).links == {"wlan0": BARE}
        stage.forget_the_past()
        await asyncio.sleep(1)
        assert stage.changes == 0, "there is nothing more to be sure of"

    play(scene)


# Dates


def test_prefix_is_dated_once_until_there_is_none(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.look()).told_since == {}
        first, stage["adverts"].prefixes = stage.now(), {"wlan0": (a_candidate(),)}
        assert (await stage.look()).told_since == {"wlan0": first}
        await asyncio.sleep(7)
        stage["dns64"].prefixes, stage["adverts"].prefixes = stage["adverts"].prefixes, {}
        assert (await stage.look()).told_since == {"wlan0": first}, "whoever tells it"
        stage["dns64"].prefixes = {}
        assert (await stage.look()).told_since == {}
        await asyncio.sleep(7)
        stage["dns64"].prefixes = {"wlan0": (a_candidate(),)}
        assert (await stage.look()).told_since == {"wlan0": first + 14}

    play(scene)


def test_written_prefix_is_told_from_the_first_look_on(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.settings = Settings(prefix=WELL_KNOWN)
        world = await stage.look()
        assert world.told_since == {"wlan0": stage.now()}
        assert [candidate.source for candidate in world.prefixes["wlan0"]] == [PrefixSource.STATIC]

    play(scene)


def without_address(link: Link) -> Link:
    """No IPv6, and no carrier that changed: `Steady` has to be waited for."""
    return replace(link, addresses6=(), default6=())


def test_loss_of_ipv6_is_dated_once_until_it_is_back(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.look()).without_ipv6_since == {}
        stage.links, lost_at = (without_address(LINK),), stage.now()
        assert (await stage.look_again()).without_ipv6_since == {"wlan0": lost_at}
        await asyncio.sleep(2)
        assert (await stage.look_again()).without_ipv6_since == {"wlan0": lost_at}
        stage.links = (LINK,)
        assert (await stage.look_again()).without_ipv6_since == {}
        stage.links = (without_address(LINK),)
        assert (await stage.look_again()).without_ipv6_since == {"wlan0": lost_at + 2}

    play(scene)


def test_link_without_a_carrier_has_not_lost_ipv6(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.links = (replace(without_address(LINK), carrier=False),)
        assert (await stage.look()).without_ipv6_since == {}

    play(scene)


# Translators


DRAINING = replace(PLAN, offered=False)


def test_users_are_counted_only_of_translators_without_a_route(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.users = {DRAINING.clat_v4: 3}
        stage.running = run_all(PLAN)
        assert (await stage.look()).users == {}
        stage.running = run_all(DRAINING)
        assert (await stage.look()).users == {DRAINING.clat_v4: 3}

    play(scene)


def test_sockets_that_cannot_be_read_may_be_in_use(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.look()
        stage.running, stage.fault = run_all(DRAINING), HostError("cannot read the sockets", errno=13)
        assert (await stage.look()).users == {DRAINING.clat_v4: 1}

    play(scene)


def test_plats_that_decisions_count_on_are_asked(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        target = IPv4Address("192.0.2.1")
        stage.settings = Settings(plat_check_targets=(target,))
        stage["adverts"].prefixes = {"wlan0": (a_candidate(expires_at=None),)}
        world = replace(await stage.look(), backends={"tun": ""}, secret=b"s" * 32)
        stage.observer.probe(world, decide(world, stage.now()), stage.now())
        assert stage["plats"].last() == ({"wlan0": LINK}, {"wlan0": (WELL_KNOWN,)}, {"wlan0": (target,)})

    play(scene)


def test_counters_of_a_translator_are_told_to_the_plat_check(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.observer.count(PLAN, {})
        assert stage["plats"].told("traffic") == []
        rows = {"tcp": {"packets": 5}, "icmp": {"packets": 100}}, {"udp": {"packets": 4}}
        names = ("ipv4_to_ipv6", "ipv6_to_ipv4")
        stage.observer.count(PLAN, {name: {"protocols": row} for name, row in zip(names, rows, strict=True)})
        assert stage["plats"].told("traffic") == [(PLAN.key, "wlan0", PLAN.prefix, 5, 4)]

    play(scene)
