# SPDX-License-Identifier: GPL-2.0-or-later
"""Asking for routers (RFC 4861 sections 6.3.7 and 10), and forgetting what those of another network said."""

from __future__ import annotations

import asyncio
import errno
import logging
from dataclasses import replace

import pytest

from clatnm.model import Link
from tests.unit.discovery.adverts import WELL_KNOWN, advert, mtu, pref64, slaac
from tests.unit.discovery.stage import LINK, OTHER_LINK, Play, Stage


def test_router_is_asked_for_three_times_four_seconds_apart(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(100)
        stage.follow()
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (4, 2), (8, 2)]

    play(scene)


def test_answer_ends_the_asking_even_without_a_prefix(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(5)
        await stage.hears(advert())
        await asyncio.sleep(100)
        stage.follow()
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (4, 2)]

    play(scene)


def test_only_uplinks_with_a_carrier_are_asked_on(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        down = replace(LINK, index=4, name="wlan1", carrier=False)
        stage.follow(LINK, OTHER_LINK, down, uplinks=("wlan0", "wlan1"))
        await asyncio.sleep(1)
        assert stage.asked() == [(0, 2)]
        stage.follow(LINK, OTHER_LINK, down, uplinks=("wlan0", "wlan1", "eth0"))
        assert stage.asked() == [(0, 2), (1, 3)]

    play(scene)


def test_link_that_has_heard_already_is_not_asked_on_when_it_becomes_an_uplink(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(uplinks=())
        await stage.hears(advert(pref64()))
        stage.follow()
        await asyncio.sleep(100)
        assert stage.asked() == []
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


@pytest.mark.parametrize("number", [errno.ENETDOWN, errno.EPERM, errno.ENODEV])
def test_question_that_cannot_be_sent_is_asked_again_in_silence(
    play: Play, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    async def scene(stage: Stage) -> None:
        stage.socket.refuse = number
        stage.follow()
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (4, 2), (8, 2)]

    with caplog.at_level(logging.INFO):
        play(scene)
    assert not caplog.records


def test_asking_ends_with_the_link_and_with_us(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        await asyncio.sleep(1)
        stage.follow(OTHER_LINK, uplinks=("eth0",))
        await asyncio.sleep(1)
        stage.adverts.close()
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (0, 3)]

    play(scene)


# Forgetting


def flapped(link: Link = LINK, *, times: int = 2) -> Link:
    return replace(link, carrier_changes=link.carrier_changes + times)


FLAPS: dict[str, list[Link]] = {
    "seen": [replace(LINK, carrier=False, carrier_changes=3), replace(LINK, carrier_changes=4)],
    "over-before-anybody-looked": [flapped()],
    "switched-off-without-a-count": [replace(LINK, carrier=False), LINK],
    "device-made-anew": [replace(LINK, index=9)],
}


@pytest.mark.parametrize("course", FLAPS.values(), ids=FLAPS)
def test_flap_forgets_all_and_asks_anew(play: Play, course: list[Link]) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64(), mtu(1400), slaac()))
        assert stage.prefixes() == [WELL_KNOWN]
        await asyncio.sleep(1)
        for link in course:
            stage.follow(link)
        assert stage.prefixes() == []
        assert stage.adverts.mtu("wlan0") is None
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == frozenset()
        await asyncio.sleep(100)
        index = course[-1].index
        assert stage.asked() == [(0, 2), (1, index), (5, index), (9, index)]

    play(scene)


def test_flap_of_one_link_is_nothing_to_another(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK)
        await stage.hears(advert(pref64()), ifindex=3)
        stage.follow(flapped(), OTHER_LINK)
        assert stage.prefixes("eth0") == [WELL_KNOWN]

    play(scene)


def test_flap_while_asking_begins_from_the_start(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(6)
        stage.follow(flapped())
        await asyncio.sleep(100)
        assert stage.asked() == [(0, 2), (4, 2), (6, 2), (10, 2), (14, 2)]

    play(scene)


def test_everything_else_about_a_link_may_change_without_forgetting(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64()))
        renamed = replace(LINK, name="wifi0", ipv6_mtu_bytes=1280, link_address=bytes(5) + b"\7", addresses6=())
        stage.follow(renamed, uplinks=("wifi0",))
        assert stage.prefixes("wifi0") == [WELL_KNOWN]
        assert stage.prefixes("wlan0") == []

    play(scene)


def test_resume_forgets_all_links_and_asks_at_the_next_look(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        await stage.hears(advert(pref64()), ifindex=2)
        await stage.hears(advert(pref64()), ifindex=3)
        await asyncio.sleep(1)
        before = stage.changes
        stage.adverts.forget()
        assert stage.changes == before + 1
        assert stage.prefixes("wlan0") == stage.prefixes("eth0") == []
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        assert stage.asked() == [(0, 2), (0, 3), (1, 2), (1, 3)]

    play(scene)
