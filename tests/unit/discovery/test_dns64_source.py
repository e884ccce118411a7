# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS64 as a source of prefixes (RFC 7050): what is asked, when, and how long an answer holds."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import dns.flags
import dns.rcode
import pytest

from clatnm.model import Address6, PrefixSource
from clatnm.proto.nat64 import LENGTHS
from tests.unit.discovery.resolvers import (
    FIRST,
    LINK,
    OWN_PREFIX,
    SECOND,
    WELL_KNOWN,
    Asked,
    Reply,
    Script,
    Stage,
    answer,
    denies,
    fails,
    is_silent,
    play,
    synthesised,
    tells,
)

LAN = IPv4Address("192.168.2.1")
DUAL_STACK = replace(LINK, addresses4=frozenset({IPv4Address("192.168.2.7")}))
HOUR_S = 3600


def test_question_is_the_one_of_rfc7050() -> None:
    async def scene(stage: Stage) -> None:
        await stage.hear(DUAL_STACK, ask=(FIRST, LAN))
        (asked,) = stage.resolvers.asked
        (question,) = asked.message.question
        assert question.to_text() == "ipv4only.arpa. IN AAAA"
        assert asked.message.flags == dns.flags.RD  # no Checking Disabled: RFC 7050 section 3
        assert asked.message.edns == -1
        assert (asked.interface, asked.ifindex, asked.transport) == ("wlan0", 2, "udp")
        await asyncio.sleep(1)
        assert stage.asked() == [(0, FIRST), (1, LAN)]

    play(scene)


@pytest.mark.parametrize("length", LENGTHS)
def test_prefix_of_every_length_is_told_with_its_ttl(length: int) -> None:
    prefix = IPv6Network(("2001:db8:1:200::", length), strict=False)

    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells(prefix))
        assert not stage.report().detail.startswith("asking")
        stage.follow()
        assert stage.report().detail == f"asking {FIRST}"
        assert not stage.report().settled
        await stage.hear()
        assert stage.changes == 1
        (candidate,) = stage.source.candidates("wlan0", stage.now())
        assert (candidate.prefix, candidate.source, candidate.router) == (prefix, PrefixSource.DNS64, FIRST)
        assert candidate.heard_at == stage.began
        assert candidate.expires_at == stage.began + 300
        assert not candidate.fading
        await asyncio.sleep(20)
        assert stage.report().detail == f"{FIRST} tells {prefix}, 280 s left"
        assert stage.report().settled
        assert stage.report().since == stage.began
        assert stage.open_sockets() == 0

    play(scene)


def test_ipv4_resolver_is_not_named_as_a_router() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(LAN, tells())
        await stage.hear(DUAL_STACK, ask=(LAN,))
        (candidate,) = stage.source.candidates("wlan0", stage.now())
        assert candidate.router is None
        assert stage.report().detail == f"{LAN} tells {WELL_KNOWN}, 300 s left"

    play(scene)


def test_several_prefixes_come_in_the_order_told_and_a_shuffled_answer_keeps_it() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells(OWN_PREFIX, WELL_KNOWN))
        await stage.hear()
        assert stage.prefixes() == [OWN_PREFIX, WELL_KNOWN]
        new = IPv6Network("2001:db8:65::/96")
        stage.script(FIRST, tells(new, WELL_KNOWN, OWN_PREFIX))
        await asyncio.sleep(291)
        assert stage.prefixes() == [OWN_PREFIX, WELL_KNOWN, new]
        stage.script(FIRST, tells(WELL_KNOWN))
        await asyncio.sleep(290)
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_no_more_than_four_prefixes_are_kept() -> None:
    async def scene(stage: Stage) -> None:
        many = [IPv6Network(f"2001:db8:{number}::/96") for number in range(9)]
        stage.script(FIRST, tells(*many))
        await stage.hear()
        assert stage.prefixes() == many[:4]

    play(scene)


def test_alias_is_followed_and_the_shortest_ttl_counts() -> None:
    def script(asked: Asked) -> list[Reply]:
        aliases = [("ipv4only.arpa.", "a.example.", 400), ("a.example.", "b.example.", 200)]
        return [answer(asked.message, *synthesised(WELL_KNOWN), aliases=aliases, owner="b.example.", ttl_s=300)]

    async def scene(stage: Stage) -> None:
        stage.script(FIRST, script)
        await stage.hear()
        (candidate,) = stage.source.candidates("wlan0", stage.now())
        assert candidate.expires_at == stage.began + 200

    play(scene)


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(0, 60), (59, 60), (61, 61), (86401, 86400), (2**31 - 1, 86400)])
def test_ttl_is_a_minute_at_least_and_a_day_at_most(ttl_s: int, kept_s: int) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells(ttl_s=ttl_s))
        await stage.hear()
        (candidate,) = stage.source.candidates("wlan0", stage.now())
        assert candidate.expires_at == stage.began + kept_s

    play(scene)


# Refreshing


def test_prefix_is_confirmed_ten_seconds_before_its_ttl_ends() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        await asyncio.sleep(1000)
        assert stage.asked() == [(0, FIRST), (290, FIRST), (580, FIRST), (870, FIRST)]
        (candidate,) = stage.source.candidates("wlan0", stage.now())
        assert candidate.heard_at == pytest.approx(stage.began + 870, abs=0.1)
        assert stage.report().since == stage.began

    play(scene)


def test_follow_asks_by_itself_after_time_that_timers_did_not_see() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.source._clock = lambda: stage.now() + 295  # as after a suspend, which CLOCK_MONOTONIC does not count
        await stage.hear()
        assert len(stage.asked()) == 2

    play(scene)


@pytest.mark.parametrize("script", [is_silent, fails()], ids=["silent", "servfail"])
def test_prefix_outlives_its_ttl_by_an_hour_while_nobody_confirms_it(script: Script) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.script(FIRST, script)
        await asyncio.sleep(330)
        assert stage.prefixes() == [WELL_KNOWN]
        (candidate,) = stage.source.candidates("wlan0", stage.now())
        assert candidate.expires_at == stage.began + 300 + HOUR_S
        assert candidate.heard_at == stage.began
        said = "does not answer" if script is is_silent else "says SERVFAIL"
        assert stage.report().detail == f"{FIRST} told {WELL_KNOWN}, until 30 s ago; {FIRST} {said}"
        assert stage.report().settled
        await asyncio.sleep(HOUR_S - 31)
        assert stage.prefixes() == [WELL_KNOWN]
        await asyncio.sleep(2)
        assert stage.prefixes() == []
        assert stage.report().detail == f"{FIRST} {said}"
        stage.script(FIRST, tells())
        await asyncio.sleep(64)
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_denial_drops_the_prefix_at_once() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, tells())
        await stage.hear()
        stage.script(FIRST, denies())
        await asyncio.sleep(291)
        assert stage.prefixes() == []
        assert stage.changes == 2

    play(scene)


# No DNS64 here


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(denies(), "says NXDOMAIN", id="rfc2308-2.1-nxdomain"),
        pytest.param(denies(rcode=dns.rcode.NOERROR), "says NODATA", id="rfc2308-2.2-nodata"),
        pytest.param(
            lambda asked: [answer(asked.message, "2001:db8::1", ttl_s=900)],
            "tells no synthesised address",
            id="rfc7050-3-not-synthesised",
        ),
        pytest.param(
            lambda asked: [answer(asked.message, "fe80::c000:aa", "ff0e::c000:aa", ttl_s=900)],
            "tells no synthesised address",
            id="rfc6052-3.2-impossible-prefixes",
        ),
    ],
)
def test_network_without_dns64_is_settled_and_asked_again_after_the_negative_ttl(script: Script, words: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, script)
        await stage.hear()
        assert stage.prefixes() == []
        assert stage.changes == 1
        assert (stage.report().settled, stage.report().detail) == (True, f"{FIRST} {words}")
        await asyncio.sleep(1000)
        assert stage.asked() == [(0, FIRST), (900, FIRST)]
        assert stage.report().since == stage.began

    play(scene)


@pytest.mark.parametrize(("soa_ttl_s", "again_s"), [(None, 60), (1, 60), (86400, HOUR_S)])
def test_negative_ttl_is_a_minute_at_least_and_an_hour_at_most(soa_ttl_s: int | None, again_s: float) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, denies(soa_ttl_s))
        await stage.hear()
        await asyncio.sleep(again_s + 1)
        assert stage.asked() == [(0, FIRST), (again_s, FIRST)]

    play(scene)


def test_resolver_with_dns64_beside_one_without_is_found() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, denies())
        stage.script(SECOND, tells())
        await stage.hear(ask=(FIRST, SECOND))
        assert stage.prefixes() == [WELL_KNOWN]
        assert stage.asked() == [(0, FIRST), (0, SECOND)]

    play(scene)


def test_denial_stands_when_the_others_are_silent() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, denies())
        await stage.hear(ask=(FIRST, SECOND))
        assert not stage.report().settled
        await asyncio.sleep(1)
        assert stage.report().detail == f"{FIRST} says NXDOMAIN"
        await asyncio.sleep(100)
        assert stage.asked() == [(0, FIRST), (0, SECOND)]

    play(scene)


# Silence


def test_silent_resolvers_are_asked_in_turns_for_three_rounds_and_then_less_and_less() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(ask=(FIRST, SECOND))
        await asyncio.sleep(5.9)
        assert not stage.report().settled
        assert stage.report().detail == f"asking {SECOND}"
        await asyncio.sleep(0.2)
        assert stage.asked() == [(turn, (FIRST, SECOND)[turn % 2]) for turn in range(6)]
        assert stage.report().settled
        assert stage.report().detail == f"{FIRST} does not answer, {SECOND} does not answer"
        assert stage.changes == 1
        await asyncio.sleep(230)
        began = [at_s for at_s, resolver in stage.asked()[::6]]
        assert began == [0, 6 + 10, 22 + 30, 58 + 60, 124 + 60]
        assert stage.open_sockets() == 0

    play(scene)


def test_late_answer_of_an_earlier_turn_counts() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, lambda asked: [(2.5, answer(asked.message, *synthesised(WELL_KNOWN)).to_wire())])
        stage.follow(ask=(FIRST, SECOND))
        await asyncio.sleep(2.6)
        assert stage.prefixes() == [WELL_KNOWN]
        # The second question of the same resolver is the first one again.
        ids = {asked.message.id for asked in stage.resolvers.asked if asked.resolver == FIRST}
        assert len(ids) == 1

    play(scene)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.ENODEV, errno.EPERM, errno.EADDRNOTAVAIL])
def test_question_that_cannot_be_sent_is_tried_again_when_the_link_has_changed(number: int) -> None:
    tentative = replace(LINK.addresses6[0], tentative=True)

    async def scene(stage: Stage) -> None:
        stage.resolvers.refuse = number
        young = replace(LINK, addresses6=(tentative,))
        stage.follow(young)
        await asyncio.sleep(2.9)
        assert not stage.report().settled
        await asyncio.sleep(0.2)
        assert stage.report().settled
        assert stage.report().detail.startswith(f"{FIRST} cannot be asked: ")
        stage.resolvers.refuse = 0
        stage.script(FIRST, tells())
        await stage.hear(young)
        assert stage.asked() == []
        await stage.hear(LINK)
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_address_that_comes_is_no_reason_to_ask_again_after_an_answer() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, denies())
        await stage.hear()
        another = Address6(address=IPv6Address("2001:db8:a::6"), prefixlen=64)
        await stage.hear(replace(LINK, addresses6=(*LINK.addresses6, another)))
        assert len(stage.asked()) == 1

    play(scene)
