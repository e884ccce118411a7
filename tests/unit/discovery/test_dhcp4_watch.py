# SPDX-License-Identifier: GPL-2.0-or-later
"""When we listen to a DHCPv4 client and its servers, whom we believe, and when we forget."""

from __future__ import annotations

import asyncio
import errno
import logging
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from clatnm.model import Dhcp4State, Link
from tests.unit.dhcp4_messages import answer, question
from tests.unit.discovery.dhcp4_stage import (
    ANSWERED,
    ASKING,
    ASKS,
    ASKS_108,
    CHOOSES,
    GIVES,
    LINK,
    OFFERS,
    OFFERS_108,
    OTHER_LINK,
    OTHER_MAC,
    REFUSED,
    SILENT,
    FakeDhcpSocket,
    Stage,
    play,
)

LEASE, LINK_LOCAL = IPv4Address("192.168.1.9"), IPv4Address("169.254.3.4")


def test_lease_is_two_changes() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        assert stage.watch.state("wlan0") is None
        await stage.hears(ASKS, OFFERS, CHOOSES, GIVES)
        assert stage.changes == [ASKING, ANSWERED]
        assert (stage.watch.heard, stage.watch.dropped) == (4, 0)

    play(scene)


def test_refusal_tells_its_end() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS_108, OFFERS_108)
        assert stage.changes == [ASKING, REFUSED]
        told = stage.watch.state("wlan0")
        assert told is not None
        assert told.until == stage.now() + 1800

    play(scene)


def test_silence_comes_by_itself_and_ends_with_an_answer() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        await asyncio.sleep(9)
        await stage.hears(question(xid=2))
        assert stage.changes == [ASKING]
        await asyncio.sleep(1.01)
        assert stage.changes == [ASKING, SILENT]
        await asyncio.sleep(20)
        await stage.hears(answer(xid=2))
        assert stage.changes == [ASKING, SILENT, ANSWERED]

    play(scene)


@pytest.mark.parametrize(
    ("packet", "sent"),
    [
        pytest.param(answer(mac=OTHER_MAC), False, id="for-another-client"),
        pytest.param(answer(xid=7), False, id="to-another-question"),
        pytest.param(OFFERS, True, id="this-host-as-a-server"),
        pytest.param(question(xid=7), False, id="a-client-of-our-address-elsewhere"),
        pytest.param(question(xid=7, mac=OTHER_MAC), True, id="another-client-on-this-host"),
    ],
)
def test_messages_of_others_say_nothing(packet: bytes, sent: bool) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        await stage.hears(packet, sent=sent)
        await stage.hears(answer(xid=7))
        assert stage.changes == [ASKING]
        assert stage.watch.dropped == 0

    play(scene)


def test_malformed_message_is_counted_and_not_told_per_packet(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(b"\x45", OFFERS[:-5], sent=False)
        assert (stage.watch.heard, stage.watch.dropped, stage.changes) == (0, 2, [])

    caplog.set_level(logging.INFO)
    play(scene)
    assert not caplog.records


def test_links_do_not_hear_each_other() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK, uplinks=("wlan0", "eth0"))
        await stage.hears(question(mac=OTHER_MAC), ifindex=3)
        assert (stage.state("wlan0"), stage.state("eth0"), stage.state("wwan0")) == (None, ASKING, None)

    play(scene)


# When it listens


@pytest.mark.parametrize(
    ("link", "uplinks"),
    [
        pytest.param(LINK, (), id="no-uplink"),
        pytest.param(replace(LINK, link_address=None), ("wlan0",), id="not-ethernet"),
    ],
)
def test_other_links_are_left_alone(link: Link, uplinks: tuple[str, ...]) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(link, uplinks=uplinks)
        assert not FakeDhcpSocket.opened

    play(scene)


def test_link_that_is_no_uplink_any_more_is_forgotten() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        stage.follow(uplinks=())
        assert (stage.watch.state("wlan0"), stage.listening()) == (None, None)
        await asyncio.sleep(60)
        assert stage.changes == [ASKING]
        stage.follow()
        assert (stage.watch.state("wlan0"), stage.listening() is None) == (None, False)

    play(scene)


def test_link_that_went_away_is_forgotten() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        stage.watch.follow({}, {"wlan0"})
        assert stage.listening() is None

    play(scene)


def test_same_links_again_change_nothing() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        for _ in range(20):
            await asyncio.sleep(0.1)
            stage.follow()
        assert len(FakeDhcpSocket.opened) == 1
        await asyncio.sleep(8)
        assert stage.changes == [ASKING, SILENT]

    play(scene)


def test_another_link_address_is_another_client() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        stage.follow(replace(LINK, link_address=OTHER_MAC))
        assert stage.watch.state("wlan0") is None
        ear = stage.listening()
        assert ear is not None
        assert ear.link_address == OTHER_MAC

    play(scene)


@pytest.mark.parametrize("spoken", [[], [ASKS, OFFERS, CHOOSES, GIVES], [ASKS_108, OFFERS_108], [ASKS]])
def test_listening_ends_70_s_after_the_last_change(spoken: list[bytes]) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await asyncio.sleep(60)
        await stage.hears(*spoken)
        await asyncio.sleep(9.9 if not spoken else 69.9)
        assert stage.listening() is not None
        state = stage.state()
        await asyncio.sleep(11)
        assert stage.listening() is None
        assert stage.state() is state
        stage.follow()
        assert stage.listening() is None

    play(scene)


def test_refused_client_is_heard_when_it_comes_back() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS_108, OFFERS_108)
        await asyncio.sleep(1799)
        assert stage.listening() is None
        await asyncio.sleep(1.5)
        await stage.hears(question(xid=2, v6only=True))
        assert stage.state() is REFUSED
        await stage.hears(answer(xid=2))
        assert stage.changes == [ASKING, REFUSED, ANSWERED]

    play(scene)


def test_refused_client_that_does_not_come_back_is_left_alone() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS_108, answer(v6only_wait_s=300))
        await asyncio.sleep(300 + 71)
        assert (stage.state(), stage.listening()) == (REFUSED, None)
        await asyncio.sleep(3600)
        assert len(FakeDhcpSocket.opened) == 2

    play(scene)


@pytest.mark.parametrize(
    ("before", "after", "listens"),
    [
        pytest.param(set(), {LEASE}, True, id="gained"),
        pytest.param({LEASE}, set(), True, id="lost"),
        pytest.param(set(), {LINK_LOCAL}, False, id="rfc3927-gained"),
        pytest.param({LINK_LOCAL}, set(), False, id="rfc3927-lost"),
    ],
)
def test_change_of_addresses_is_a_reason_to_listen(
    before: set[IPv4Address], after: set[IPv4Address], listens: bool
) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(replace(LINK, addresses4=frozenset(before)))
        await asyncio.sleep(71)
        assert stage.listening() is None
        stage.follow(replace(LINK, addresses4=frozenset(after)))
        assert (stage.listening() is not None) is listens

    play(scene)


@pytest.mark.parametrize(
    ("spoken", "told"),
    [
        pytest.param([ASKS], None, id="silent"),
        pytest.param([ASKS_108, OFFERS_108], None, id="refused"),
        pytest.param([ASKS, OFFERS], ANSWERED, id="answered"),
    ],
)
def test_address_that_comes_unheard_refutes_silence_and_refusal(spoken: list[bytes], told: Dhcp4State | None) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(*spoken)
        await asyncio.sleep(100)
        stage.follow(replace(LINK, addresses4=frozenset({LEASE})))
        assert stage.state() is told

    play(scene)


def test_lease_that_ran_out_is_followed_by_silence() -> None:
    async def scene(stage: Stage) -> None:
        leased = replace(LINK, addresses4=frozenset({LEASE}))
        stage.follow()
        await stage.hears(ASKS, OFFERS, CHOOSES, GIVES)
        stage.follow(leased)
        await asyncio.sleep(600)
        stage.follow()
        await stage.hears(question(xid=2))
        await asyncio.sleep(10.1)
        assert stage.changes == [ASKING, ANSWERED, ASKING, SILENT]

    play(scene)


def test_refused_socket_is_tried_again_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(FakeDhcpSocket, "refuse", errno.ENODEV)
        stage.follow()
        assert stage.listening() is None
        monkeypatch.setattr(FakeDhcpSocket, "refuse", 0)
        stage.follow()
        await stage.hears(ASKS)
        assert stage.changes == [ASKING]

    play(scene)


def test_close_ends_every_timer() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(ASKS)
        stage.watch.close()
        await asyncio.sleep(600)
        assert stage.changes == [ASKING]

    play(scene)
