# SPDX-License-Identifier: GPL-2.0-or-later
"""Resolvers that lie, fail or answer at length, and those who pretend to be one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.discovery.asking import Answer, Failure, Unusable
from clatnm.discovery.question import Question
from tests.unit.discovery.resolvers import (
    FIRST,
    OWN_PREFIX,
    SECOND,
    WELL_KNOWN,
    Asked,
    Reply,
    Script,
    Stage,
    answer,
    fails,
    framed,
    play,
    synthesised,
    tells,
    truncated,
)


def told(query: dns.message.Message) -> dns.message.Message:
    return answer(query, *synthesised(WELL_KNOWN))


def lie(query: dns.message.Message, change: Callable[[dns.message.Message], None] = lambda _: None) -> bytes:
    """An answer with a wrong prefix, and what else is wrong with it."""
    made = answer(query, *synthesised(OWN_PREFIX))
    change(made)
    return made.to_wire()


def other_id(message: dns.message.Message) -> None:
    message.id ^= 1


def other_name(message: dns.message.Message) -> None:
    message.question = dns.message.make_query("ipv4only.example", "AAAA").question


def other_type(message: dns.message.Message) -> None:
    message.question = dns.message.make_query("ipv4only.arpa", "A").question


def no_question(message: dns.message.Message) -> None:
    message.question = []


def no_answer(message: dns.message.Message) -> None:
    message.flags &= ~dns.flags.QR


def other_opcode(message: dns.message.Message) -> None:
    message.set_opcode(dns.opcode.STATUS)


FORGERIES: dict[str, Callable[[dns.message.Message], bytes]] = {
    "rfc5452-9.1-id": lambda query: lie(query, other_id),
    "rfc5452-9.1-name": lambda query: lie(query, other_name),
    "rfc5452-9.1-type": lambda query: lie(query, other_type),
    "rfc5452-9.1-no-question": lambda query: lie(query, no_question),
    "rfc1035-4.1.1-query": lambda query: lie(query, no_answer),
    "rfc1035-4.1.1-opcode": lambda query: lie(query, other_opcode),
    "rfc1035-4.1.1-header-cut": lambda query: lie(query)[:11],
    "garbage": lambda query: bytes(100),
    "truncated-with-another-id": lambda query: bytes([query.to_wire()[0] ^ 1, 0, 0x82, 0]) + bytes(8),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_forged_answer_is_ignored_and_the_true_one_awaited(forge: Callable[[dns.message.Message], bytes]) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, lambda asked: [*[forge(asked.message)] * 3, (0.5, told(asked.message).to_wire())])
        await stage.hear(ask=(FIRST, SECOND))
        assert stage.prefixes() == []
        await asyncio.sleep(0.6)
        assert stage.prefixes() == [WELL_KNOWN]
        assert stage.asked() == [(0, FIRST)]

    play(scene)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (fails(), "says SERVFAIL"),
        (fails(dns.rcode.REFUSED), "says REFUSED"),
        (fails(dns.rcode.NOTIMP), "says NOTIMP"),
        (lambda asked: [lie(asked.message, lambda made: made.set_rcode(dns.rcode.NXDOMAIN))], "answers garbage"),
        (lambda asked: [told(asked.message).to_wire()[:-3]], "answers garbage"),
        (lambda asked: [told(asked.message).to_wire() + b"\0"], "answers garbage"),
        (lambda asked: [asked.message.to_wire()[:2] + b"\x81\x80" + b"\xff" * 40], "answers garbage"),
        (lambda asked: [asked.message.to_wire()[:2] + b"\x81\x82" + bytes(8)], "says SERVFAIL"),
        (
            lambda asked: [answer(asked.message, aliases=[("ipv4only.arpa.", "ipv4only.arpa.", 60)])],
            "answers garbage",
        ),
    ],
    ids=[
        "servfail",
        "refused",
        "notimp",
        "answer-to-nxdomain",
        "cut-short",
        "more-than-a-message",
        "no-records-where-they-are-said-to-be",
        "servfail-without-question",
        "alias-of-itself",
    ],
)
def test_resolver_that_fails_is_followed_by_the_next_at_once(script: Script, words: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, script)
        stage.script(SECOND, tells())
        await stage.hear(ask=(FIRST, SECOND))
        assert stage.asked() == [(0, FIRST), (0, SECOND)]
        assert stage.prefixes() == [WELL_KNOWN]
        assert stage.report().detail.startswith(f"{SECOND} tells")

    play(scene)
    play_alone(script, f"{FIRST} {words}")


def play_alone(script: Script, detail: str) -> None:
    """With nobody else to ask, there are three rounds, one a second however fast it fails."""

    async def scene(stage: Stage) -> None:
        stage.script(FIRST, script)
        stage.follow()
        await asyncio.sleep(2.9)
        assert stage.asked() == [(0, FIRST), (1, FIRST), (2, FIRST)]
        assert not stage.report().settled
        await asyncio.sleep(0.2)
        assert (stage.report().settled, stage.report().detail) == (True, detail)

    play(scene)


# TCP


def at_length(tcp: Script) -> Script:
    """Over UDP truncated, over TCP as `tcp` says."""
    return lambda asked: tcp(asked) if asked.transport == "tcp" else [truncated(asked.message)]


def test_truncated_answer_is_asked_for_over_tcp() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, at_length(tells(WELL_KNOWN, OWN_PREFIX)))
        await stage.hear()
        assert stage.prefixes() == [WELL_KNOWN, OWN_PREFIX]
        assert [asked.transport for asked in stage.resolvers.asked] == ["udp", "tcp"]
        assert stage.open_sockets() == 0

    play(scene)


def test_answer_cut_in_the_middle_of_a_record_is_asked_for_over_tcp() -> None:
    def script(asked: Asked) -> list[Reply]:
        wire = bytearray(told(asked.message).to_wire())
        wire[2] |= 0x02
        return [told(asked.message)] if asked.transport == "tcp" else [bytes(wire[:-5])]

    async def scene(stage: Stage) -> None:
        stage.script(FIRST, script)
        await stage.hear()
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_answer_over_tcp_may_come_in_pieces() -> None:
    def pieces(asked: Asked) -> list[Reply]:
        wire = framed(told(asked.message))
        return [(number / 50, wire[number : number + 1]) for number in range(len(wire))]

    async def scene(stage: Stage) -> None:
        stage.script(FIRST, at_length(pieces))
        stage.follow()
        await asyncio.sleep(2)
        assert stage.prefixes() == [WELL_KNOWN]
        assert [asked.transport for asked in stage.resolvers.asked] == ["udp", "tcp", "udp"]

    play(scene)


@pytest.mark.parametrize(
    ("tcp", "words"),
    [
        (lambda asked: [b""], "ends the TCP connection without an answer"),
        (lambda asked: [b"\0"[:1], b""], "ends the TCP connection without an answer"),
        (lambda asked: [b"\xff\xff"], "answers with 65535 bytes"),
        (lambda asked: [b"\0\0"], "answers something else"),
        (lambda asked: [truncated(asked.message)], "answers something else"),
        (lambda asked: [b"\0\x64" + lie(asked.message, other_id)[:100].ljust(100)], "answers something else"),
        (fails(), "says SERVFAIL"),
    ],
    ids=["end", "end-in-the-length", "too-long", "empty", "truncated-again", "another-id", "servfail"],
)
def test_resolver_that_fails_over_tcp_is_followed_by_the_next_at_once(tcp: Script, words: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, at_length(tcp))
        stage.script(SECOND, tells())
        await stage.hear(ask=(FIRST, SECOND))
        assert stage.prefixes() == [WELL_KNOWN]

    async def alone(stage: Stage) -> None:
        stage.script(FIRST, at_length(tcp))
        stage.follow()
        await asyncio.sleep(3.1)
        assert stage.report().detail == f"{FIRST} {words}"

    play(scene)
    play(alone)


def test_silence_over_tcp_is_silence() -> None:
    async def scene(stage: Stage) -> None:
        stage.script(FIRST, at_length(lambda _: []))
        stage.follow(ask=(FIRST,))
        await asyncio.sleep(3.1)
        assert stage.report().detail == f"{FIRST} does not answer"
        assert [asked.transport for asked in stage.resolvers.asked] == ["udp", "tcp", "udp", "udp"]

    play(scene)


# Any bytes

ANSWER_BYTES = told(dns.message.from_wire(Question().wire)).to_wire()


@given(st.binary(max_size=600))
def test_any_bytes_after_the_right_id_are_read_without_complaint(data: bytes) -> None:
    query = Question()
    assert isinstance(query.read(query.wire[:2] + data), (Answer, Failure, Unusable))
    assert isinstance(query.read(query.wire[:2] + b"\x81\x80" + data), (Answer, Failure, Unusable))
    assert query.read(data) is Unusable.UNRELATED or data[:2] == query.wire[:2]


@given(st.lists(st.tuples(st.integers(2, len(ANSWER_BYTES) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_altered_answer_is_read_without_complaint(changes: list[tuple[int, int]]) -> None:
    query = Question()
    data = bytearray(query.wire[:2] + ANSWER_BYTES[2:])
    for place, value in changes:
        data[place] = value
    assert isinstance(query.read(bytes(data)), (Answer, Failure, Unusable))
