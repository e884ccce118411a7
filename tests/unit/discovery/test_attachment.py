# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the IPv4 we have from here (RFC 4436)? On a clock that costs no time, with gateways that answer or do not."""

from __future__ import annotations

import asyncio
import errno
import itertools
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from clatnm.discovery import attachment
from clatnm.model import Link
from tests.unit.aio import run_virtual, settle
from tests.unit.discovery.ether import GATEWAY, OTHER, Ether, FakeArpSocket, Play, Scene, Stage, a_link, reply


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def on_stage(scene: Scene) -> None:
        async def work() -> None:
            stage = Stage(ether)
            await scene(stage)
            stage.attachment.close()
            assert all(one.closed for one in ether.sockets)

        run_virtual(work())

    ether = Ether()
    monkeypatch.setattr(FakeArpSocket, "ether", ether, raising=False)
    monkeypatch.setattr(attachment, "ArpSocket", FakeArpSocket)
    return on_stage


def test_gateway_is_not_asked_for_without_a_flap(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.follow(a_link(GATEWAY, OTHER))
        await asyncio.sleep(100)
        assert (stage.ether.asked, stage.dead) == ([], frozenset())

    play(scene)


def test_gateway_that_is_silent_after_a_flap_is_dead(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=4))
        assert stage.dead == {GATEWAY}
        assert stage.changes == 1
        assert stage.attachment.dead("eth3") == frozenset()

    play(scene)


def test_verdict_comes_after_three_questions_within_a_tenth_of_a_second(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.follow(a_link(GATEWAY, changes=4))
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.07)
        assert stage.dead == frozenset()
        await asyncio.sleep(0.03)
        assert stage.dead == {GATEWAY}
        times = [when - began for when, _ in stage.ether.asked]
        assert [round(time, 3) for time in times[:3]] == [0.0, 0.025, 0.05]

    play(scene)


def test_dead_gateway_is_asked_again_with_growing_pauses(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.follow(a_link(GATEWAY, changes=4))
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(30)
        times = [when - began for when, _ in stage.ether.asked][3:]
        pauses = [round(later - sooner, 3) for sooner, later in itertools.pairwise(times)]
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]

    play(scene)


def test_gateway_asked_before_the_network_lets_us_through_is_dead_for_a_moment_only(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.follow(a_link(GATEWAY, changes=4))
        await asyncio.sleep(0.15)
        assert stage.dead == {GATEWAY}
        stage.ether.there = {GATEWAY}
        await asyncio.sleep(0.1)
        assert stage.dead == frozenset()

    play(scene)


def test_gateway_that_answers_is_alive(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.ether.there = {GATEWAY}
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=4))
        await asyncio.sleep(100)
        assert stage.dead == frozenset()
        assert len(stage.ether.asked) == 1
        assert all(one.closed for one in stage.ether.sockets)

    play(scene)


def test_dead_gateway_that_comes_back_is_alive(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=4))
        assert stage.dead == {GATEWAY}
        stage.ether.there = {GATEWAY}
        await asyncio.sleep(6)
        assert stage.dead == frozenset()
        assert stage.changes == 2

    play(scene)


def test_gateway_that_came_after_the_flap_is_from_here(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(a_link(GATEWAY), a_link(OTHER, changes=4))
        assert stage.dead == frozenset()
        assert stage.ether.asked == []

    play(scene)


def test_route_that_was_away_with_the_carrier_is_still_suspect(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.follow(a_link(changes=3, carrier=False))
        stage.follow(a_link(changes=4))
        await asyncio.sleep(1)
        stage.follow(a_link(GATEWAY, changes=4))
        await asyncio.sleep(1)
        assert stage.dead == {GATEWAY}

    play(scene)


def test_dead_gateway_whose_route_goes_is_no_longer_asked_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=4))
        stage.follow(a_link(changes=4))
        asked = len(stage.ether.asked)
        await asyncio.sleep(100)
        assert stage.dead == frozenset()
        assert len(stage.ether.asked) == asked

    play(scene)


def test_only_the_silent_one_of_two_is_dead(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.ether.there = {OTHER}
        await stage.plug(a_link(GATEWAY, OTHER), a_link(GATEWAY, OTHER, changes=4))
        assert stage.dead == {GATEWAY}

    play(scene)


def test_silence_without_a_carrier_says_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=3, carrier=False))
        assert stage.dead == frozenset()

    play(scene)


@pytest.mark.parametrize("where", ["refuse_socket", "refuse_sending"])
def test_question_that_could_not_be_asked_condemns_nobody(play: Play, where: str) -> None:
    async def scene(stage: Stage) -> None:
        setattr(stage.ether, where, errno.EPERM)
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=4))
        await asyncio.sleep(100)
        assert (stage.dead, stage.changes) == (frozenset(), 0)
        assert len(stage.ether.sockets) <= 1
        setattr(stage.ether, where, 0)
        await asyncio.sleep(20)
        assert stage.dead == {GATEWAY}

    play(scene)


@pytest.mark.parametrize(
    "link",
    [
        pytest.param(replace(a_link(GATEWAY), link_address=None), id="no-ethernet"),
        pytest.param(a_link(None), id="point-to-point"),
        pytest.param(a_link(), id="no-route"),
    ],
)
def test_link_without_arp_or_gateway_is_left_alone(play: Play, link: Link) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(link, replace(link, carrier_changes=4))
        assert (stage.ether.asked, stage.dead) == ([], frozenset())

    play(scene)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(reply(GATEWAY)[:27], id="cut"),
        pytest.param(reply(GATEWAY, operation=1), id="rfc826-request"),
        pytest.param(b"\x00\x06" + reply(GATEWAY)[2:], id="other-hardware"),
        pytest.param(reply(OTHER), id="somebody-else"),
    ],
)
def test_other_messages_are_no_answer(play: Play, message: bytes) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.follow(a_link(GATEWAY, changes=4))
        stage.ether.sockets[0].hear(message)
        await settle()
        await asyncio.sleep(1)
        assert stage.dead == {GATEWAY}

    play(scene)


def test_end_of_the_link_ends_the_asking(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.plug(a_link(GATEWAY), a_link(GATEWAY, changes=4))
        stage.follow()
        asked = len(stage.ether.asked)
        await asyncio.sleep(100)
        assert len(stage.ether.asked) == asked
        assert stage.dead == frozenset()

    play(scene)


def test_suspects_do_not_grow_for_ever(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        for n in range(200):
            stage.follow(a_link(IPv4Address("10.0.0.0") + n, changes=n))
        watch = stage.attachment._watches[2]
        assert len(watch.suspects) <= 17

    play(scene)


# Another access point


def test_roam_asks_for_the_known_gateways_with_more_patience(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        began = asyncio.get_running_loop().time()
        stage.attachment.suspect(2)
        await asyncio.sleep(1)
        assert (stage.dead, stage.changes) == (frozenset(), 0)
        await asyncio.sleep(1)
        assert (stage.dead, stage.changes) == ({GATEWAY}, 1)
        times = [round(when - began, 3) for when, _ in stage.ether.asked]
        assert times[:3] == [0.0, 0.4, 0.8]

    play(scene)


def test_gateway_that_answers_after_a_roam_was_never_dead(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.ether.there = {GATEWAY}
        stage.follow(a_link(GATEWAY))
        stage.attachment.suspect(2)
        await asyncio.sleep(100)
        stage.follow(a_link(GATEWAY))
        assert stage.dead == frozenset()
        assert len(stage.ether.asked) == 1
        assert all(one.closed for one in stage.ether.sockets)

    play(scene)


def test_gateway_that_came_after_the_roam_is_from_here(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.attachment.suspect(2)
        stage.follow(a_link(OTHER))
        await asyncio.sleep(100)
        assert stage.dead == frozenset()
        assert OTHER not in {gateway for _, gateway in stage.ether.asked}

    play(scene)


def test_flap_after_a_roam_is_as_quick_as_ever(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.attachment.suspect(2)
        stage.follow(a_link(GATEWAY, changes=4))
        await asyncio.sleep(0.5)
        assert stage.dead == {GATEWAY}

    play(scene)


def test_second_roam_asks_from_the_start_and_no_more_often(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(GATEWAY))
        stage.attachment.suspect(2)
        await asyncio.sleep(0.5)
        stage.attachment.suspect(2)
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(1.1)
        assert stage.dead == frozenset()
        times = [round(when - began, 3) for when, _ in stage.ether.asked if when >= began]
        assert times == [0.0, 0.4, 0.8]

    play(scene)


@pytest.mark.parametrize("gateways", [(), (GATEWAY,)])
def test_roam_of_another_or_without_gateway_asks_nothing(play: Play, gateways: tuple[IPv4Address, ...]) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(a_link(*gateways))
        stage.attachment.suspect(3 if gateways else 2)
        await asyncio.sleep(100)
        assert (stage.ether.asked, stage.ether.sockets, stage.dead) == ([], [], frozenset())

    play(scene)
