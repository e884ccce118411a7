# SPDX-License-Identifier: GPL-2.0-or-later
"""What the observer knows by itself, and what its world is made of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network

import pytest

from clatnm.errors import HostError
from clatnm.kernel import steady
from clatnm.model import Dhcp4, Dhcp4State, Link, PlatHealth, PlatState, PrefixSource, Settings
from clatnm.policy.plan import decide
from tests.unit.observed import CABLE, LINK, Play, Stage, player
from tests.unit.policy.worlds import WELL_KNOWN, a_candidate, a_world, an_uplink, run_all, the_plan

BARE = replace(LINK, addresses6=())
INTERRUPTED = HostError("cannot read the links: Interrupted system call", errno=4)
PLAN = the_plan(a_world())


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    return player(monkeypatch)


# The world


def test_world_has_what_the_sources_know_of_the_uplinks(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        gateways, slaac = frozenset({IPv4Address("192.168.1.1")}), frozenset({IPv6Network("2001:db8:a::/64")})
        answered = Dhcp4(state=Dhcp4State.ANSWERED, since=1.0)
        alive = PlatHealth(state=PlatState.ALIVE, since=1.0)
        stage.links = (LINK, CABLE)
        stage["attachment"].gateways = dict.fromkeys(("wlan0", "eth0"), gateways)
        stage["adverts"].mtus = {"wlan0": 1400, "eth0": 1300}
        stage["adverts"].slaac = dict.fromkeys(("wlan0", "eth0"), slaac)
        stage["dhcp4"].states = {"wlan0": answered, "eth0": answered}
        stage["plats"].health = {("wlan0", WELL_KNOWN): alive}
        world = await stage.look()
        assert (world.dead_gateways, world.advertised_prefixes) == ({"wlan0": gateways}, {"wlan0": slaac})
        assert (world.advertised_mtus, world.dhcp4) == ({"wlan0": 1400}, {"wlan0": answered})
        assert world.plats == {("wlan0", WELL_KNOWN): alive}
        told = {name: [report.detail for report in reports] for name, reports in world.reports.items()}
        assert told == {"wlan0": ["adverts of wlan0", "known of wlan0", "dns64 of wlan0"]}

    play(scene)


def test_prefixes_are_those_of_all_who_know_one(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        tellers = ("adverts", "known", "dns64")
        for number, name in enumerate(tellers):
            stage[name].prefixes = {"wlan0": (a_candidate(IPv6Network(f"2001:db8:{number + 1}::/96")),)}
        stage.settings = Settings(fallback_prefix=WELL_KNOWN)
        told = [str(candidate.prefix) for candidate in (await stage.look()).prefixes["wlan0"]]
        assert told == [*(f"2001:db8:{number}::/96" for number in (1, 2, 3)), str(WELL_KNOWN)]

    play(scene)


def test_settings_of_a_connection_itself_hold_for_it(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        own = Settings(prefix=WELL_KNOWN, dns64=False, written=frozenset({"prefix", "dns64"}))
        stage.uplinks = (replace(an_uplink(), settings=own),)
        world = await stage.look()
        assert [candidate.prefix for candidate in world.prefixes["wlan0"]] == [WELL_KNOWN]
        assert not world.settings.of(an_uplink().uuid).dns64
        assert world.settings.dns64

    play(scene)


def test_plain_interfaces_are_told_what_is_somebodys(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.settings, stage.managed = Settings(interfaces=("eth*",)), None
        await stage.look()
        assert stage["plain"].last() == (("eth*",), {"wlan0": LINK}, None)
        stage.observer.without_bus()
        await stage.look()
        assert stage["plain"].last() == (("eth*",), {"wlan0": LINK}, ())
        await stage.observer.attach(None)  # type: ignore[arg-type]
        await stage.look()
        assert stage["plain"].last() == (("eth*",), {"wlan0": LINK}, None), "there is one to be asked"
        stage.managed = frozenset({"wlan0"})
        await stage.look()
        assert stage["plain"].last() == (("eth*",), {"wlan0": LINK}, {"wlan0"})

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


def test_right_of_way_begins_anew_with_the_profile_its_word_or_ipv6(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage["adverts"].prefixes = {"wlan0": (a_candidate(),)}
        stage.uplinks = (replace(an_uplink(), manager_wait_s=0.3),)
        since = [(await stage.look_again()).told_since]
        for change in ({"manager_wait_s": 1.0}, {"uuid": "another"}):
            await asyncio.sleep(1)
            stage.uplinks = (replace(stage.uplinks[0], **change),)
            since.append((await stage.look()).told_since)
        await asyncio.sleep(1)
        assert (await stage.look()).told_since == since[-1], "nothing has changed"
        stage.links = (BARE,)
        await stage.look_again()
        await asyncio.sleep(steady.PATIENCE_S * 2)
        assert (await stage.look_again()).told_since == {}
        stage.links = (LINK,)
        since.append((await stage.look_again()).told_since)
        assert [at["wlan0"] - since[0]["wlan0"] for at in since] == pytest.approx([0, 1, 2, 3 + 2 * steady.PATIENCE_S])

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
