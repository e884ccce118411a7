# SPDX-License-Identifier: GPL-2.0-or-later
"""What the observer tells its sources: whom to follow, whom to ask, and that a link may be on another network."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm.discovery import roaming
from clatnm.model import Link, Mode, PrefixSource, Settings, Ways
from tests.unit.observed import CABLE, LINK, Play, Stage, player
from tests.unit.policy.worlds import UUID, a_candidate, a_link, an_uplink

WIFI = replace(an_uplink(), access_point="02:00:00:00:02:00")
ELSEWHERE = replace(WIFI, access_point="02:00:00:00:03:00")
SOURCES = ("adverts", "known", "dns64", "dhcp4", "plats")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    return player(monkeypatch)


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


def test_whoever_hears_routers_is_told_at_which_access_point_after_the_doubts(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.links, stage.uplinks = (LINK, CABLE), (an_uplink("eth0"), WIFI)
        await stage.look()
        assert stage["adverts"].last("arrive") == ({LINK.index: WIFI.access_point},)
        stage.forget_the_past()
        stage.uplinks = (an_uplink("eth0"), ELSEWHERE)
        await stage.look()
        assert [verb for verb, _ in stage["adverts"].done] == ["suspect", "arrive", "follow"]
        assert stage["adverts"].last("arrive") == ({LINK.index: ELSEWHERE.access_point},)

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
        assert closed == {*SOURCES, "attachment", "monitor", "networkd", "plain"}

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


def test_vpn_that_is_to_have_a_clat_of_its_own_is_followed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        tunnel = a_link("tun0", index=9)
        stage.links = (LINK, tunnel)
        stage.uplinks = (an_uplink("tun0", uuid="vpn", is_vpn=True, mode=Mode.AUTO), an_uplink())
        await stage.look()
        for name in ("adverts", "dhcp4", "known"):
            assert stage[name].last()[1] == {"tun0", "wlan0"}, name

    play(scene)


@pytest.mark.parametrize(
    ("beside", "looked"),
    [
        pytest.param(a_link("wg0", index=9, kind="wireguard"), True, id="wireguard"),
        pytest.param(a_link("clat-wlan0", index=9, kind="tun"), False, id="our-own-device"),
        pytest.param(a_link("br0", index=9, kind="bridge"), False, id="bridge"),
    ],
)
def test_ways_out_are_looked_at_where_there_is_a_vpn(play: Play, beside: Link, looked: bool) -> None:
    async def scene(stage: Stage) -> None:
        stage.links, stage.ways = (LINK, beside), Ways(ipv6="wg0")
        assert (await stage.look()).ways == (Ways(ipv6="wg0") if looked else Ways())
        stage.links = (LINK,)
        assert (await stage.look_again()).ways == Ways()

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
        assert stage.changes == 1, "what nobody manages is known from then on"
        changed()
        assert stage.changes == 2

    play(scene)
