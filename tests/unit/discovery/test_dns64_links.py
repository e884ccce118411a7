# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS64 as a source of prefixes, while resolvers and links come, go and change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from clatnm.model import Link
from tests.unit.discovery.resolvers import (
    FIRST,
    LINK,
    OTHER_LINK,
    OWN_PREFIX,
    SECOND,
    WELL_KNOWN,
    Script,
    Stage,
    answer,
    denies,
    is_silent,
    play,
    synthesised,
    tells,
)

# Resolvers that change


def test_changed_resolvers_are_asked_at_once_after_a_denial_or_silence() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, denies())
        stage.script(SECOND, tells())
        await stage.hear()
        await stage.hear(ask=(SECOND,))
        assert stage.prefixes() == [WELL_KNOWN]
        third = IPv6Address("2001:db8::55")
        stage.follow(OTHER_LINK, LINK, ask=(third,), interface="eth0")
        stage.follow(OTHER_LINK, LINK, ask=(SECOND,), interface="eth0")
        await asyncio.sleep(0.5)
        assert stage.prefixes("eth0") == [WELL_KNOWN]

    play(scene)


def test_settled_stays_settled_while_other_resolvers_are_asked() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, denies())
        await stage.hear()
        stage.follow(ask=(FIRST, SECOND))
        assert (stage.report().settled, stage.report().detail) == (True, f"{FIRST} says NXDOMAIN")

    play(scene)


def test_more_resolvers_or_another_order_are_nothing_while_the_teller_is_there() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        await stage.hear(ask=(SECOND, FIRST))
        assert stage.asked() == [(0, FIRST)]
        stage.script(SECOND, tells())
        await asyncio.sleep(290)
        assert stage.asked()[1:] == [(290, SECOND)]

    play(scene)


def test_prefix_of_a_resolver_that_went_away_holds_until_the_others_answer() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        stage.script(SECOND, lambda asked: [(0.5, answer(asked.message, *synthesised(OWN_PREFIX)).to_wire())])
        await stage.hear()
        await stage.hear(ask=(SECOND,))
        assert stage.prefixes() == [WELL_KNOWN]
        await asyncio.sleep(1)
        assert stage.prefixes() == [OWN_PREFIX]

    play(scene)


def test_without_a_resolver_it_is_settled_after_three_seconds() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(ask=())
        await asyncio.sleep(2.9)
        assert (stage.report().settled, stage.report().detail) == (False, "no resolver known")
        await asyncio.sleep(0.2)
        assert stage.report().settled
        assert stage.changes == 1
        stage.script(FIRST, tells())
        await stage.hear()
        assert stage.prefixes() == [WELL_KNOWN]
        stage.follow(ask=())
        assert stage.prefixes() == [WELL_KNOWN]
        await asyncio.sleep(300)
        assert stage.prefixes() == []
        assert stage.asked() == [(3.1, FIRST)]

    play(scene)


def test_resolvers_that_are_none_are_not_asked_and_four_at_most() -> None:
    async def scene(stage: Stage) -> None:
        strange = map(IPv6Address, ("::", "ff02::fb", "fe80::1%7", "fe80::1%2"))
        many = [IPv6Address(f"2001:db8::{number}") for number in range(9)]
        stage.follow(ask=(IPv4Address("0.0.0.0"), *strange, *many))
        await asyncio.sleep(3.9)
        assert [resolver for _, resolver in stage.asked()] == [IPv6Address("fe80::1"), *many[:3]]

    play(scene)


def test_ipv4_resolver_is_asked_as_soon_as_the_link_has_ipv4() -> None:
    lan = IPv4Address("192.168.2.1")

    async def scene(stage: Stage) -> None:
        stage.script(lan, tells())
        await stage.hear(ask=(lan,))
        assert stage.report().detail == "no resolver known"
        await stage.hear(replace(LINK, addresses4=frozenset({IPv4Address("192.168.2.7")})), ask=(lan,))
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_resolver_on_this_machine_is_asked_without_ipv4_on_the_link() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(IPv4Address("127.0.0.1"), tells())
        await stage.hear(ask=(IPv4Address("127.0.0.1"),))
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


# Links


def test_link_is_asked_on_only_where_it_is_wanted_and_has_a_carrier() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, ask=None)
        assert (stage.report().settled, stage.report().detail) == (True, "not asked")
        down = replace(LINK, carrier=False)
        stage.follow(down, OTHER_LINK)
        assert (stage.report().settled, stage.report().detail) == (False, "no carrier")
        await asyncio.sleep(100)
        assert stage.asked() == []
        stage.follow(LINK, OTHER_LINK)
        await asyncio.sleep(0.1)
        assert {asked.interface for asked in stage.resolvers.asked} == {"wlan0"}

    play(scene)


def test_unwanted_prefix_holds_until_its_ttl_ends_and_is_not_confirmed() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.follow(ask=None)
        await asyncio.sleep(299)
        assert stage.prefixes() == [WELL_KNOWN]
        assert stage.report().detail == f"{FIRST} tells {WELL_KNOWN}, 1 s left"
        await asyncio.sleep(1)
        assert stage.prefixes() == []
        assert stage.report().detail == "not asked"
        assert stage.asked() == [(0, FIRST)]
        stage.script(FIRST, is_silent)
        await stage.hear()
        assert stage.prefixes() == []
        assert len(stage.asked()) == 2

    play(scene)


def test_prefix_wanted_again_in_time_is_not_asked_for() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.follow(ask=None)
        await asyncio.sleep(100)
        await stage.hear()
        assert stage.asked() == [(0, FIRST)]
        await asyncio.sleep(200)
        assert stage.asked()[1:] == [(290, FIRST)]

    play(scene)


def test_asking_ends_when_nobody_wants_it_any_more() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(0.5)
        stage.follow(ask=None)
        assert stage.open_sockets() == 0
        await asyncio.sleep(100)
        assert stage.asked() == [(0, FIRST)]

    play(scene)


FLAPS: dict[str, list[Link]] = {
    "seen": [replace(LINK, carrier=False, carrier_changes=3), replace(LINK, carrier_changes=4)],
    "over-before-anybody-looked": [replace(LINK, carrier_changes=4)],
    "switched-off-without-a-count": [replace(LINK, carrier=False), LINK],
    "device-made-anew": [replace(LINK, index=9)],
}


@pytest.mark.parametrize("course", FLAPS.values(), ids=FLAPS)
@pytest.mark.parametrize("script", [tells(), denies(), is_silent], ids=["told", "denied", "asking"])
def test_flap_forgets_all_and_asks_anew(course: list[Link], script: Script) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, script)
        await stage.hear()
        stage.script(FIRST, tells(OWN_PREFIX))
        for link in course:
            stage.follow(link)
        assert stage.prefixes() == []
        assert not stage.report().settled
        assert stage.open_sockets() == 1
        await asyncio.sleep(0.1)
        assert stage.prefixes() == [OWN_PREFIX]
        assert stage.resolvers.asked[-1].ifindex == course[-1].index

    play(scene)


def test_everything_else_about_a_link_may_change_without_forgetting() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        renamed = replace(LINK, name="wifi0", ipv6_mtu_bytes=1280, addresses6=())
        stage.follow(renamed, interface="wifi0")
        assert stage.prefixes("wifi0") == [WELL_KNOWN]
        assert stage.prefixes("wlan0") == []
        assert len(stage.asked()) == 1

    play(scene)


def test_link_that_went_away_is_forgotten() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.follow(OTHER_LINK)
        assert stage.prefixes() == []
        await asyncio.sleep(400)
        assert len(stage.asked()) == 1

    play(scene)


@pytest.mark.parametrize(("ifindex", "left"), [(None, []), (2, ["eth0"]), (7, ["wlan0", "eth0"])])
def test_forgotten_links_are_asked_on_at_the_next_look(ifindex: int | None, left: list[str]) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        links = {link.name: link for link in (LINK, OTHER_LINK)}
        wanted = dict.fromkeys(links, (FIRST,))
        stage.source.follow(links, wanted)
        await asyncio.sleep(1)
        changes = stage.changes
        stage.source.forget(ifindex)
        assert stage.changes == changes + 1
        assert [name for name in links if stage.prefixes(name)] == left
        stage.source.follow(links, wanted)
        await asyncio.sleep(1)
        assert [name for name in links if stage.prefixes(name)] == list(links)
        assert len(stage.asked()) == 4 - len(left)

    play(scene)


# Doubt


@pytest.mark.parametrize(
    ("script", "during", "after"),
    [
        pytest.param(tells(), [WELL_KNOWN], [WELL_KNOWN], id="the-same-network"),
        pytest.param(tells(OWN_PREFIX), [OWN_PREFIX], [OWN_PREFIX], id="another-network"),
        pytest.param(denies(), [], [], id="network-without-dns64"),
        pytest.param(is_silent, [WELL_KNOWN], [], id="silence"),
    ],
)
def test_suspected_link_is_asked_on_again_and_believed_until_then(
    script: Script, during: list[IPv6Network], after: list[IPv6Network]
) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.script(FIRST, script)
        changes = stage.changes
        stage.source.suspect(LINK.index)
        assert stage.changes == changes + 1
        assert stage.prefixes() == [WELL_KNOWN]
        await stage.hear()
        assert len(stage.asked()) == 2
        assert stage.prefixes() == during
        assert stage.report().settled
        await asyncio.sleep(3.1)
        assert stage.prefixes() == after

    play(scene)


def test_doubt_while_asking_begins_from_the_start() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(1.5)
        stage.source.suspect(LINK.index)
        assert stage.open_sockets() == 0
        stage.source.suspect(99)
        stage.follow()
        await asyncio.sleep(4)
        assert stage.asked() == [(0, FIRST), (1, FIRST), (1.5, FIRST), (2.5, FIRST), (3.5, FIRST)]

    play(scene)
