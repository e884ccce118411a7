# SPDX-License-Identifier: GPL-2.0-or-later
"""What was said at an access point counts as soon as the link is back there, until an advertisement says otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from clatnm.discovery.ra import _MAX_PLACES
from tests.unit.discovery.adverts import OWN_PREFIX, SLAAC, WELL_KNOWN, advert, mtu, pref64, slaac
from tests.unit.discovery.stage import LINK, Play, Stage

HERE, THERE = "02:00:00:00:02:00", "02:00:00:00:03:00"
IN_HERE = advert(pref64(WELL_KNOWN), slaac(), mtu(1400))
IN_THERE = advert(pref64(OWN_PREFIX))


async def roam(stage: Stage, place: str, *said: bytes) -> None:
    """To an access point, which is named at once and answers after a while."""
    stage.adverts.suspect(2)
    stage.adverts.arrive({2: place})
    await asyncio.sleep(0.5)
    await stage.hears(*said)
    await asyncio.sleep(5)


async def been_around(stage: Stage) -> None:
    """The link is THERE, and has been HERE."""
    stage.follow()
    stage.adverts.arrive({2: HERE})
    await stage.hears(IN_HERE)
    await roam(stage, THERE, IN_THERE)
    assert stage.prefixes() == [OWN_PREFIX]


def test_where_it_was_before_it_need_not_wait(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == [WELL_KNOWN]
        assert stage.adverts.mtu("wlan0") == 1400
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == {SLAAC}
        before = stage.changes
        await stage.hears(IN_HERE)
        await asyncio.sleep(10)
        assert (stage.prefixes(), stage.changes) == ([WELL_KNOWN], before), "it was right"
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: THERE})
        assert stage.prefixes() == [OWN_PREFIX]

    play(scene)


def test_routers_are_asked_all_the_same(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        began = stage.now() - stage.began
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        await asyncio.sleep(100)
        asked = [round(at - began, 3) for at, _ in stage.asked() if at >= began]
        assert asked == [0, 0.6, 1.6]

    play(scene)


@pytest.mark.parametrize("said", [[IN_THERE], []], ids=["another-network", "silence"])
def test_what_was_remembered_is_only_believed_for_a_while(play: Play, said: list[bytes]) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        await roam(stage, HERE, *said)
        assert stage.prefixes() == ([OWN_PREFIX] if said else [])

    play(scene)


def test_prefix_dies_in_memory_too(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        await asyncio.sleep(700)
        await stage.hears(IN_THERE)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == []

    play(scene)


def test_router_that_is_none_any_more_is_not_remembered(play: Play) -> None:
    """Then nothing is known of that place, and it may be the same network as well as another one."""

    async def scene(stage: Stage) -> None:
        await been_around(stage)
        await asyncio.sleep(2000)
        await stage.hears(IN_THERE)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == [OWN_PREFIX]

    play(scene)


def test_place_without_a_name_is_not_remembered(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        await roam(stage, "", IN_HERE)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: ""})
        assert stage.prefixes() == [WELL_KNOWN], "as anywhere new, what was known last"

    play(scene)


def test_what_nobody_confirmed_at_a_place_is_not_remembered_of_it(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: "02:00:00:00:04:00"})
        await roam(stage, HERE, IN_HERE)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: "02:00:00:00:04:00"})
        assert stage.prefixes() == [WELL_KNOWN], "not what was known THERE, before"

    play(scene)


def test_name_that_comes_after_the_advertisement_changes_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        stage.adverts.suspect(2)
        await stage.hears(IN_THERE)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == [OWN_PREFIX]

    play(scene)


@pytest.mark.parametrize("forget", ["carrier", "sleep"])
def test_memory_ends_with_the_carrier_and_with_sleep(play: Play, forget: str) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        if forget == "sleep":
            stage.adverts.forget()
        stage.follow(replace(LINK, carrier_changes=4))
        await stage.hears(IN_THERE)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == [OWN_PREFIX]

    play(scene)


def test_memory_is_bounded_and_keeps_the_latest(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await been_around(stage)
        for number in range(_MAX_PLACES):
            await roam(stage, f"02:00:00:00:10:{number:02x}", IN_THERE)
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == [OWN_PREFIX]
        post = stage.adverts._posts[2]
        assert len(post._remembered) == _MAX_PLACES

    play(scene)


def test_leaving_is_noticed_by_the_other_place_alone(play: Play) -> None:
    """Before the carrier is back, and whether it comes back or not."""

    async def scene(stage: Stage) -> None:
        await been_around(stage)
        stage.adverts.arrive({2: HERE, 77: THERE})
        assert stage.prefixes() == [WELL_KNOWN]
        stage.adverts.arrive({2: HERE})
        stage.adverts.suspect(2)
        stage.adverts.arrive({2: HERE})
        assert stage.prefixes() == [WELL_KNOWN]
        await asyncio.sleep(5.1)
        assert stage.prefixes() == []

    play(scene)
