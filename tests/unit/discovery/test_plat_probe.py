# SPDX-License-Identifier: GPL-2.0-or-later
"""Pings through the PLATs of several links, on a clock that costs no time."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from clatnm.kernel.echo import EchoError, EchoReply
from clatnm.model import Link, PlatState
from tests.unit.aio import settle
from tests.unit.discovery.plats import HERE, LINK, OTHER_LINK, OWN, ROUTER, THROUGH_WKP, WKP, Act, Stage

TENTATIVE = replace(LINK, addresses6=(LINK.addresses6[0], replace(LINK.addresses6[1], tentative=True)))


def test_every_target_is_asked_through_the_prefix_and_a_reply_ends_it(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.serve(THROUGH_WKP[1])
        stage.follow()
        assert stage.state() is PlatState.UNKNOWN
        await settle()
        assert [destination for _, _, destination in stage.net.asked] == THROUGH_WKP
        assert stage.state() is PlatState.ALIVE
        assert stage.detail() == "8.8.8.8 answered in 0 ms"
        assert stage.changes == 1
        await asyncio.sleep(3600)
        assert stage.rounds == [0]
        assert stage.probe.sent == 3

    act(scene)


def test_prefix_of_another_length_is_asked_as_rfc6052_says(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(prefixes=(OWN,), targets=(IPv4Address("192.0.2.33"),))
        assert [destination for _, _, destination in stage.net.asked] == [IPv6Address("2001:db8:64:0:c0:2:2100:0")]

    act(scene)


def test_well_known_prefix_is_not_asked_for_private_targets(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(prefixes=(WKP, OWN), targets=(IPv4Address("10.0.0.1"),))
        await asyncio.sleep(20)
        assert {destination for _, _, destination in stage.net.asked} == {IPv6Address("2001:db8:64:0:a:0:100:0")}
        assert (stage.state(WKP), stage.state(OWN)) == (PlatState.UNKNOWN, PlatState.SILENT)

    act(scene)


def test_silence_is_told_once_and_asked_about_ever_less(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(700)
        assert stage.rounds == [0, 2, 5, 10, 310, 610]
        assert stage.state() is PlatState.SILENT
        assert stage.changes == 1

    act(scene)


def test_refusal_by_a_router_is_death_until_it_answers(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.refuse(*THROUGH_WKP)
        stage.follow()
        await asyncio.sleep(3)
        assert stage.state() is PlatState.DEAD
        assert stage.detail() == f"no route (from {ROUTER})"
        stage.net.wrong.clear()
        stage.net.serve(*THROUGH_WKP)
        await asyncio.sleep(3)
        assert stage.state() is PlatState.ALIVE
        assert stage.changes == 2

    act(scene)


def test_own_opinion_of_the_next_hop_is_silence(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.refuse(*THROUGH_WKP, code=3, by=HERE)
        stage.follow()
        await asyncio.sleep(20)
        assert stage.state() is PlatState.SILENT

    act(scene)


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (errno.ENETUNREACH, PlatState.DEAD),
        (errno.EACCES, PlatState.DEAD),
        (errno.EPERM, PlatState.UNKNOWN),
        (errno.ENOBUFS, PlatState.UNKNOWN),
        (errno.EINVAL, PlatState.UNKNOWN),
    ],
)
def test_ping_that_cannot_be_sent_counts_only_when_there_is_no_way(act: Act, number: int, state: PlatState) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.refuse_sending = number
        stage.follow()
        await asyncio.sleep(20)
        assert stage.state() is state

    act(scene)


def test_refused_socket_says_nothing_about_the_plat(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.refuse_socket = errno.EPERM
        stage.follow()
        await asyncio.sleep(20)
        assert stage.state() is PlatState.UNKNOWN
        stage.net.refuse_socket = 0
        stage.net.serve(*THROUGH_WKP)
        await asyncio.sleep(300)
        assert stage.state() is PlatState.ALIVE

    act(scene)


@pytest.mark.parametrize(
    "unready",
    [
        pytest.param(TENTATIVE, id="rfc4862-5.4-tentative"),
        pytest.param(replace(LINK, default6=()), id="no-default-route"),
        pytest.param(replace(LINK, addresses6=LINK.addresses6[:1]), id="link-local-only"),
    ],
)
def test_link_without_ipv6_is_not_asked_until_it_has_some(act: Act, unready: Link) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(unready)
        await asyncio.sleep(50)
        assert stage.rounds == []
        stage.follow(LINK)
        assert stage.rounds == [50]

    act(scene)


def test_silence_while_the_link_has_no_ipv6_says_nothing(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(1)
        stage.follow(replace(LINK, default6=()))
        await asyncio.sleep(100)
        assert stage.rounds == [0]
        assert stage.state() is PlatState.UNKNOWN

    act(scene)


def test_late_answer_counts(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(3.5)
        (line,) = stage.net.sockets
        line.answer(EchoReply(source=THROUGH_WKP[0], sequence=line.sequences[0]))
        await settle()
        assert stage.detail() == "1.1.1.1 answered in 3.5 s"

    act(scene)


def test_answer_from_elsewhere_or_to_nothing_does_not_count(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.answers = dict.fromkeys(THROUGH_WKP, ROUTER)
        stage.follow()
        (line,) = stage.net.sockets
        line.answer(EchoReply(source=THROUGH_WKP[0], sequence=999))
        line.fail(EchoError(destination=ROUTER, sequence=line.sequences[0], kind=1, code=0, offender=ROUTER))
        await asyncio.sleep(1)
        assert stage.state() is PlatState.UNKNOWN
        line.answer(EchoReply(source=THROUGH_WKP[0], sequence=line.sequences[0]))
        await settle()
        assert stage.state() is PlatState.ALIVE

    act(scene)


def test_carrier_that_came_back_begins_anew(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.refuse(*THROUGH_WKP)
        stage.follow()
        await asyncio.sleep(3)
        assert stage.state() is PlatState.DEAD
        stage.net.wrong.clear()
        stage.follow(replace(LINK, carrier_changes=4))
        assert stage.state() is PlatState.UNKNOWN
        assert stage.rounds == [0, 2, 3]
        assert [each.closed for each in stage.net.sockets] == [True, False]

    act(scene)


def test_forgetting_one_link_leaves_the_other(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.serve(*THROUGH_WKP)
        stage.follow(LINK, OTHER_LINK)
        await settle()
        changes = stage.changes
        stage.probe.forget(LINK.index)
        assert stage.changes == changes + 1
        assert (stage.state(), stage.state(interface="eth0")) == (None, PlatState.ALIVE)
        await asyncio.sleep(5)
        stage.follow(LINK, OTHER_LINK)
        assert [name for when, name, _ in stage.net.asked if when > stage.began] == ["wlan0"] * 3
        stage.probe.forget()
        assert stage.probe.healths(stage.now()) == {}

    act(scene)


def test_link_that_went_away_is_forgotten(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK)
        stage.follow(OTHER_LINK)
        assert [each.closed for each in stage.net.sockets] == [True, False]
        assert set(stage.probe.healths(stage.now())) == {("eth0", WKP)}

    act(scene)


def test_dead_prefix_stays_dead_while_another_is_in_use(act: Act) -> None:
    """Else it would be unknown again as soon as it is not asked about, and so be chosen again."""

    async def scene(stage: Stage) -> None:
        stage.net.refuse(*THROUGH_WKP)
        stage.net.serve(IPv6Address("2001:db8:64:0:1:101:100:0"))
        stage.follow(prefixes=(WKP, OWN))
        await asyncio.sleep(3)
        assert (stage.state(WKP), stage.state(OWN)) == (PlatState.DEAD, PlatState.ALIVE)
        before = len(stage.net.asked)
        stage.follow(prefixes=(OWN,))
        await asyncio.sleep(1000)
        assert (stage.state(WKP), len(stage.net.asked)) == (PlatState.DEAD, before)
        stage.follow(prefixes=(WKP, OWN))
        assert [destination for _, _, destination in stage.net.asked[before:]] == THROUGH_WKP

    act(scene)


def test_prefix_needed_again_after_a_while_is_asked_again(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.serve(*THROUGH_WKP)
        stage.follow()
        await settle()
        stage.follow(prefixes=())
        await asyncio.sleep(10)
        stage.follow()
        assert stage.rounds == [0]
        stage.follow(prefixes=())
        assert all(each.closed for each in stage.net.sockets)
        await asyncio.sleep(90)
        stage.follow()
        assert stage.rounds == [0, 100]
        await asyncio.sleep(3600)
        assert stage.rounds == [0, 100]

    act(scene)


def test_flood_of_prefixes_is_bounded(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        many = [IPv6Network((0x20010DB8 << 96 | number << 64, 96)) for number in range(1, 61)]
        stage.follow(prefixes=many)
        assert len(stage.net.asked) == 4 * 3
        for first in range(0, 60, 4):
            stage.follow(prefixes=many[first : first + 4])
        assert len(stage.probe.healths(stage.now())) == 16
        assert stage.state(many[59]) is PlatState.UNKNOWN

    act(scene)


def test_same_world_again_sends_nothing(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(5):
            stage.follow()
        assert len(stage.net.asked) == 3
        assert len(stage.net.sockets) == 1
        assert stage.changes == 0

    act(scene)
