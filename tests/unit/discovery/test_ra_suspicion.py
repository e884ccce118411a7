# SPDX-License-Identifier: GPL-2.0-or-later
"""A roam from one access point to another, and what the daemon is told of it and of other things that time brings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv6Address

from tests.unit.discovery.adverts import OTHER_ROUTER, OWN_PREFIX, WELL_KNOWN, advert, mtu, pref64, rdnss, slaac
from tests.unit.discovery.stage import LINK, OTHER_LINK, Play, Stage

RESOLVER = IPv6Address("2001:db8:a::53")
ALL = advert(pref64(), mtu(1400), slaac(), rdnss(str(RESOLVER)))


async def joined(stage: Stage) -> int:
    """The link has told all; how often another look was wanted so far."""
    stage.follow()
    await stage.hears(ALL)
    await asyncio.sleep(1)
    return stage.changes


def test_roam_asks_at_once_and_sooner_again(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await joined(stage)
        stage.adverts.suspect(2)
        await asyncio.sleep(100)
        stage.follow()
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (1, 2), (1.6, 2), (2.6, 2)]

    play(scene)


def test_confirmed_roam_is_no_news(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        before = await joined(stage)
        stage.adverts.suspect(2)
        assert stage.prefixes() == [WELL_KNOWN]
        await stage.hears(ALL)
        await asyncio.sleep(100)
        assert (stage.prefixes(), stage.changes) == ([WELL_KNOWN], before)
        assert stage.adverts.resolvers("wlan0", stage.now()) == (RESOLVER,)
        assert stage.asked() == [(0, 2), (1, 2)]

    play(scene)


def test_roam_to_another_network_takes_its_prefix_with_one_change(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        before = await joined(stage)
        stage.adverts.suspect(2)
        await stage.hears(advert(pref64(OWN_PREFIX)), router=OTHER_ROUTER)
        await asyncio.sleep(100)
        assert (stage.prefixes(), stage.changes) == ([OWN_PREFIX], before + 1)
        assert stage.adverts.mtu("wlan0") is None
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == frozenset()
        assert stage.adverts.resolvers("wlan0", stage.now()) == ()

    play(scene)


def test_roam_to_silence_forgets_after_five_seconds(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        before = await joined(stage)
        stage.adverts.suspect(2)
        await asyncio.sleep(4.9)
        assert (stage.prefixes(), stage.changes) == ([WELL_KNOWN], before)
        await asyncio.sleep(0.2)
        assert (stage.prefixes(), stage.changes) == ([], before + 1)
        assert stage.adverts.mtu("wlan0") is None
        assert stage.adverts.report("wlan0", stage.now()).settled
        await asyncio.sleep(100)
        assert stage.adverts.report("wlan0", stage.now()).detail == "no router answers"
        assert stage.changes == before + 1

    play(scene)


def test_late_answer_after_a_roam_is_still_heard(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await joined(stage)
        stage.adverts.suspect(2)
        await asyncio.sleep(30)
        await stage.hears(ALL)
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_what_waited_to_be_read_at_the_roam_confirms_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await joined(stage)
        stage.socket.deliver(ALL)
        stage.adverts.suspect(2)
        await asyncio.sleep(6)
        assert stage.prefixes() == []

    play(scene)


def test_second_roam_begins_from_the_start(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await joined(stage)
        stage.adverts.suspect(2)
        await asyncio.sleep(3)
        stage.adverts.suspect(2)
        await asyncio.sleep(4)
        assert stage.prefixes() == [WELL_KNOWN]
        await asyncio.sleep(100)
        assert stage.prefixes() == []
        assert stage.asked() == [(0, 2), (1, 2), (1.6, 2), (2.6, 2), (4, 2), (4.6, 2), (5.6, 2)]

    play(scene)


def test_roam_of_one_link_is_nothing_to_others(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK)
        await stage.hears(ALL, ifindex=3)
        stage.adverts.suspect(2)
        stage.adverts.suspect(77)
        await asyncio.sleep(100)
        assert stage.prefixes("eth0") == [WELL_KNOWN]

    play(scene)


def test_flap_forgets_at_once_even_after_a_roam(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await joined(stage)
        stage.adverts.suspect(2)
        await asyncio.sleep(0.5)
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.prefixes() == []
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (1, 2), (1.5, 2), (5.5, 2), (9.5, 2)]

    play(scene)


def test_roam_is_over_with_the_link_and_with_us(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, uplinks=())
        stage.adverts.suspect(2)
        stage.adverts.suspect(3)
        stage.follow(OTHER_LINK, uplinks=())
        stage.adverts.close()
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (0, 3)]
        assert stage.changes == 0

    play(scene)


def test_link_without_carrier_is_not_asked_on_after_a_roam(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(replace(LINK, carrier=False))
        stage.adverts.suspect(2)
        await asyncio.sleep(100)
        assert stage.asked() == []

    play(scene)


# Forgetting one link


def test_one_link_can_be_forgotten_alone(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        await stage.hears(ALL, ifindex=2)
        await stage.hears(ALL, ifindex=3)
        before = stage.changes
        stage.adverts.forget(2)
        assert (stage.prefixes("wlan0"), stage.prefixes("eth0")) == ([], [WELL_KNOWN])
        assert stage.changes == before + 1
        await asyncio.sleep(1)
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        assert stage.asked() == [(0, 2), (0, 3), (1, 2)]

    play(scene)


# Reports


def test_third_unanswered_question_settles_and_is_told(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(11.9)
        assert (stage.adverts.report("wlan0", stage.now()).settled, stage.changes) == (False, 0)
        await asyncio.sleep(0.2)
        report = stage.adverts.report("wlan0", stage.now())
        assert (report.settled, report.detail, stage.changes) == (True, "no router answers", 1)
        assert report.since == stage.began + 12

    play(scene)


def test_router_without_a_prefix_settles_and_is_told(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert())
        report = stage.adverts.report("wlan0", stage.now())
        assert (report.settled, report.detail, stage.changes) == (True, "fe80::1 announces none", 1)

    play(scene)


def test_report_of_an_unknown_link_is_that_it_was_not_asked(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(uplinks=())
        for interface in ("wlan0", "wwan0"):
            report = stage.adverts.report(interface, stage.now())
            assert (report.settled, report.detail) == (False, "not asked")

    play(scene)


def test_new_resolver_is_a_change(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        before = await joined(stage)
        await stage.hears(advert(rdnss("2001:db8:a::54")))
        assert stage.changes == before + 1
        assert stage.adverts.resolvers("eth0", stage.now()) == ()

    play(scene)
