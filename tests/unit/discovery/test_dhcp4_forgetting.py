# SPDX-License-Identifier: GPL-2.0-or-later
"""What was overheard of DHCPv4 is forgotten with the network it came from, and not a message more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.unit.dhcp4_messages import answer, question
from tests.unit.discovery.dhcp4_stage import (
    ANSWERED,
    ASKING,
    ASKS,
    CHOOSES,
    GIVES,
    LINK,
    OFFERS,
    OTHER_LINK,
    REFUSED,
    SILENT,
    Stage,
    play,
)


def test_carrier_that_went_takes_the_state_along() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS, OFFERS)
        await asyncio.sleep(100)
        stage.follow()
        stage.follow(replace(LINK, carrier=False, carrier_changes=3))
        assert stage.state() is None
        await asyncio.sleep(600)
        stage.follow(replace(LINK, carrier=False, carrier_changes=3))
        # Still there when the carrier comes back, so that the first question is not missed.
        await stage.hears(question(xid=2))
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.state() is ASKING
        await stage.hears(answer(xid=2))
        assert stage.changes[-1] is ANSWERED

    play(scene)


def test_flap_nobody_saw_takes_the_state_along() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS, OFFERS)
        stage.follow()
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.state() is None
        await stage.hears(CHOOSES, GIVES)
        assert stage.state() is ANSWERED

    play(scene)


def test_question_heard_before_the_flap_was_known_still_counts() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        stage.follow()
        await asyncio.sleep(11)
        assert stage.state() is SILENT
        await stage.hears(question(xid=2, v6only=True))
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.state() is ASKING
        await stage.hears(answer())
        assert stage.state() is ASKING
        await stage.hears(answer(xid=2, v6only_wait_s=600))
        assert stage.state() is REFUSED

    play(scene)


def test_question_long_before_the_flap_does_not_count() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        await asyncio.sleep(3)
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.state() is None
        await stage.hears(OFFERS)
        assert stage.state() is None

    play(scene)


@pytest.mark.parametrize("ifindex", [None, 2])
def test_forgotten_link_is_listened_to_anew(ifindex: int | None) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS, OFFERS)
        await asyncio.sleep(100)
        assert stage.listening() is None
        stage.watch.forget(ifindex)
        assert stage.changes == [ASKING, ANSWERED, None]
        await stage.hears(CHOOSES)
        stage.watch.forget(ifindex)
        assert stage.changes == [ASKING, ANSWERED, None]
        await stage.hears(GIVES)
        assert stage.state() is None

    play(scene)


def test_forgetting_one_link_leaves_the_others() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        await stage.hears(ASKS)
        stage.watch.forget(3)
        assert stage.changes == [ASKING]
        assert stage.state() is ASKING

    play(scene)


def test_what_was_forgotten_does_not_come_back_with_the_carrier() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        stage.watch.forget()
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.state() is None

    play(scene)
