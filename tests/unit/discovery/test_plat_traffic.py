# SPDX-License-Identifier: GPL-2.0-or-later
"""What the counters of the translators tell about their PLATs, on a clock that costs no time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from clatnm.discovery.plat import user_packets
from clatnm.model import PlatState
from tests.unit.aio import settle
from tests.unit.discovery.plats import LINK, OWN, THROUGH_WKP, WKP, Act, Stage


async def read(stage: Stage, *counters: tuple[int, int], who: str = "clat", prefix: IPv6Network = WKP) -> None:
    """Readings five seconds apart."""
    for sent, received in counters:
        await asyncio.sleep(5)
        stage.probe.traffic(who, "wlan0", prefix, sent=sent, received=received)


def test_packets_that_come_back_are_life(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await read(stage, (10, 20), (10, 20))
        assert stage.state() is PlatState.SILENT  # the first reading may be about another prefix
        await read(stage, (11, 21))
        assert stage.state() is PlatState.ALIVE
        assert stage.detail() == "translated packets come back"

    act(scene)


def test_one_way_traffic_raises_a_doubt_that_an_answer_removes(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.serve(*THROUGH_WKP)
        stage.follow()
        await read(stage, (0, 0), (5, 0), (10, 0), (15, 0))
        assert stage.rounds == [0, 20]
        await settle()
        assert stage.state() is PlatState.ALIVE
        assert stage.changes == 1

    act(scene)


def test_one_way_traffic_through_a_plat_that_fell_silent_is_its_death(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.serve(*THROUGH_WKP)
        stage.follow()
        await settle()
        stage.net.answers.clear()
        await read(stage, *((5 * n, 0) for n in range(8)))
        assert stage.state() is PlatState.DEAD
        assert stage.changes == 2

    act(scene)


def test_what_a_translator_did_with_another_prefix_is_no_life(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.refuse(*THROUGH_WKP)
        stage.follow(prefixes=(WKP, OWN))
        await read(stage, (1, 0), (2, 0))
        await read(stage, (50, 70), (60, 90), prefix=OWN)
        await read(stage, (60, 95))
        assert (stage.state(WKP), stage.state(OWN)) == (PlatState.DEAD, PlatState.ALIVE)

    act(scene)


def test_new_translator_of_the_same_name_counts_from_the_start(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await read(stage, (100, 100), (1, 3), (1, 3))
        assert stage.state() is PlatState.SILENT
        await read(stage, (2, 4))
        assert stage.state() is PlatState.ALIVE

    act(scene)


def test_two_translators_of_one_interface_are_told_apart(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        for _ in range(4):
            await read(stage, (100, 100), who="old")
            await read(stage, (0, 0), who="new")
        assert stage.state() is PlatState.SILENT

    act(scene)


def test_packets_of_a_link_without_ipv6_raise_no_doubt(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        stage.net.serve(*THROUGH_WKP)
        stage.follow()
        await settle()
        stage.follow(replace(LINK, default6=()))
        await read(stage, *((9 * n, 0) for n in range(8)))
        stage.follow()
        await asyncio.sleep(60)
        assert stage.rounds == [0]

    act(scene)


def test_reading_about_what_nobody_follows_is_ignored(act: Act) -> None:
    async def scene(stage: Stage) -> None:
        await read(stage, (1, 1), (9, 9))
        stage.follow(prefixes=(OWN,))
        await read(stage, (10, 10))
        assert set(stage.probe.healths(stage.now())) == {("wlan0", OWN)}

    act(scene)


def row(**packets: int) -> dict[str, object]:
    return {"protocols": {name: {"packets": count, "bytes": 100 * count} for name, count in packets.items()}}


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ({}, None),
        ({"ipv4_to_ipv6": row(), "ipv6_to_ipv4": row()}, (0, 0)),
        ({"ipv4_to_ipv6": row(tcp=3, udp=4, icmp=5, other=1), "ipv6_to_ipv4": row(icmp=9, tcp=2)}, (8, 2)),
    ],
)
def test_icmp_is_left_out_of_the_users_packets(counters: dict[str, object], expected: tuple[int, int] | None) -> None:
    assert user_packets(counters) == expected
