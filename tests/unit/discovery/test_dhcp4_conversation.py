# SPDX-License-Identifier: GPL-2.0-or-later
"""What a DHCPv4 client and its servers say to each other, and what that comes to."""

from __future__ import annotations

import pytest

from clatnm.discovery.dhcp4 import Conversation
from clatnm.model import Dhcp4, Dhcp4State
from clatnm.proto.dhcp4 import parse
from tests.unit.dhcp4_messages import DECLINE, INFORM, NAK, RELEASE, REQUEST, answer, question
from tests.unit.discovery.dhcp4_stage import (
    ANSWERED,
    ASKING,
    ASKS,
    ASKS_108,
    CHOOSES,
    CHOOSES_108,
    GIVES,
    GIVES_108,
    OFFERS,
    OFFERS_108,
    REFUSED,
    RENEWS,
    RESTARTS,
    RESTARTS_108,
    SILENT,
)

RENEWS_108 = question(REQUEST, how="renewing", v6only=True)

Spoken = tuple[float, bytes]


def converse(*spoken: Spoken, until: float | None = None) -> Conversation:
    """Messages at their times, time passing in between and up to `until`."""
    conversation = Conversation()
    for at, sent in spoken:
        conversation.tick(at)
        conversation.take(parse(sent), at)
    if until is not None:
        conversation.tick(until)
    return conversation


# What messages come to


@pytest.mark.parametrize(
    ("spoken", "state", "since"),
    [
        pytest.param([], None, None, id="nothing"),
        pytest.param([ASKS], ASKING, 0, id="discover"),
        pytest.param([RESTARTS], ASKING, 0, id="rfc2131-3.2-init-reboot"),
        pytest.param([ASKS, OFFERS], ANSWERED, 1, id="offer"),
        pytest.param([ASKS, OFFERS, CHOOSES], ANSWERED, 1, id="offer-taken"),
        pytest.param([ASKS, OFFERS, CHOOSES, GIVES], ANSWERED, 1, id="rfc2131-3.1-lease"),
        pytest.param([ASKS, OFFERS, ASKS], ANSWERED, 1, id="same-question-after-an-offer"),
        pytest.param([ASKS, GIVES], ANSWERED, 1, id="rfc4039-rapid-commit"),
        pytest.param([RESTARTS, GIVES], ANSWERED, 1, id="rfc2131-3.2-init-reboot-ack"),
        pytest.param([CHOOSES], None, None, id="heard-from-the-middle-on"),
        pytest.param([CHOOSES, GIVES], ANSWERED, 1, id="heard-from-the-middle-on-ack"),
        pytest.param([RENEWS], None, None, id="renewal-is-no-question"),
        pytest.param([RENEWS, GIVES], ANSWERED, 1, id="renewal-answered"),
        pytest.param([ASKS, OFFERS, RENEWS], ANSWERED, 1, id="renewal-changes-nothing"),
        pytest.param([RESTARTS, answer(NAK)], ASKING, 0, id="rfc2131-3.2-nak"),
        pytest.param([RENEWS, GIVES, RENEWS, answer(NAK)], ASKING, 3, id="nak-to-a-renewal"),
        pytest.param([RESTARTS, GIVES, answer(NAK)], ANSWERED, 1, id="nak-of-another-server-after-the-ack"),
        pytest.param([ASKS, OFFERS, question(xid=2)], ASKING, 2, id="new-question-after-an-offer"),
        pytest.param([question(DECLINE)], None, None, id="decline"),
        pytest.param([question(RELEASE)], None, None, id="release"),
        pytest.param([question(INFORM), GIVES], None, None, id="rfc2131-3.4-inform"),
        pytest.param([ASKS, answer(xid=2)], ASKING, 0, id="answer-to-another-question"),
        pytest.param([OFFERS], None, None, id="answer-to-no-question"),
        pytest.param([OFFERS_108], REFUSED, 0, id="rfc8925-3.3-offer-to-who-asked-unheard"),
        pytest.param([OFFERS_108, CHOOSES_108, GIVES_108], ANSWERED, 2, id="asked-unheard-and-takes-it-all-the-same"),
        pytest.param([GIVES_108], None, None, id="ack-with-108-to-no-question"),
        pytest.param([ASKS_108, OFFERS_108], REFUSED, 1, id="rfc8925-3.2-offer"),
        pytest.param([RESTARTS_108, GIVES_108], REFUSED, 1, id="rfc8925-3.2-init-reboot-ack"),
        pytest.param([ASKS, OFFERS_108], ANSWERED, 1, id="rfc8925-3.2-client-did-not-ask"),
        pytest.param([RESTARTS, GIVES_108], ANSWERED, 1, id="rfc8925-3.2-client-did-not-ask-ack"),
        pytest.param([RENEWS_108, GIVES_108], ANSWERED, 1, id="ack-with-108-to-a-renewal"),
        pytest.param([ASKS_108, OFFERS], ANSWERED, 1, id="rfc8925-3.2-network-does-not-want"),
        pytest.param([ASKS_108, OFFERS, CHOOSES_108, GIVES_108], ANSWERED, 1, id="ack-with-108-to-who-has-chosen"),
        pytest.param([ASKS_108, OFFERS_108, CHOOSES_108, GIVES_108], ANSWERED, 3, id="client-takes-it-all-the-same"),
        pytest.param([ASKS_108, OFFERS_108, OFFERS], REFUSED, 1, id="another-server-too-late"),
        pytest.param([ASKS_108, OFFERS, OFFERS_108], REFUSED, 2, id="another-server-refuses"),
        pytest.param([ASKS_108, OFFERS_108, question(xid=2, v6only=True)], REFUSED, 1, id="refused-client-asks-again"),
        pytest.param([ASKS_108, OFFERS_108, question(xid=2), answer(xid=2)], ANSWERED, 3, id="refused-client-insists"),
    ],
)
def test_state_after_messages_one_a_second(spoken: list[bytes], state: Dhcp4State | None, since: float | None) -> None:
    conversation = converse(*((float(second), sent) for second, sent in enumerate(spoken)))
    assert conversation.known is state
    assert (conversation.state.since if conversation.state else None) == since


@pytest.mark.parametrize(
    ("wait_s", "until"),
    [
        pytest.param(1800, 1801.0, id="rfc8925-3.2"),
        pytest.param(300, 301.0, id="rfc8925-3.4-shortest"),
        pytest.param(299, 301.0, id="rfc8925-3.4-too-short"),
        pytest.param(0, 301.0, id="rfc8925-3.1-zero"),
        pytest.param(2**32 - 1, float(2**32), id="longest"),
    ],
)
def test_refusal_lasts_as_long_as_the_server_says_but_300_s(wait_s: int, until: float) -> None:
    state = converse((0.0, ASKS_108), (1.0, answer(v6only_wait_s=wait_s))).state
    assert state == Dhcp4(state=REFUSED, since=1.0, until=until)


def test_only_a_refusal_has_an_end() -> None:
    again = question(xid=2)
    state = converse((0.0, ASKS_108), (1.0, OFFERS_108), (2.0, again), (3.0, answer(xid=2))).state
    assert state == Dhcp4(state=ANSWERED, since=3.0, until=None)


@pytest.mark.parametrize(
    ("spoken", "until", "state"),
    [
        pytest.param([(0.0, ASKS)], 9.9, ASKING, id="not-yet"),
        pytest.param([(0.0, ASKS)], 10.0, SILENT, id="10-s"),
        pytest.param([(0.0, RESTARTS)], 10.0, SILENT, id="10-s-after-a-request"),
        pytest.param([(0.0, ASKS), (9.0, ASKS)], 10.0, SILENT, id="since-the-first-question"),
        pytest.param([(0.0, ASKS), (4.0, question(xid=2))], 10.0, SILENT, id="networkmanager-new-xid-each-time"),
        pytest.param([(0.1 * n, ASKS) for n in range(4)], 1.0, ASKING, id="4-questions"),
        pytest.param([(0.1 * n, ASKS) for n in range(5)], 1.0, SILENT, id="fifth-question"),
        pytest.param(
            [*((0.1 * n, ASKS) for n in range(4)), (0.5, OFFERS), (0.6, question(xid=2))], 1.0, ASKING, id="count-anew"
        ),
        pytest.param([(0.0, ASKS), (9.9, OFFERS)], 100.0, ANSWERED, id="answer-in-time"),
        pytest.param([(0.0, ASKS), (20.0, OFFERS)], 100.0, ANSWERED, id="late-answer"),
        pytest.param([(0.0, ASKS_108), (20.0, OFFERS_108)], 100.0, REFUSED, id="late-refusal"),
        pytest.param([(0.0, ASKS), (20.0, question(xid=2))], 25.0, SILENT, id="silent-stays-silent"),
        pytest.param([(0.0, ASKS), (20.0, question(xid=2)), (21.0, OFFERS)], 25.0, ANSWERED, id="answer-to-the-first"),
        pytest.param([(0.0, ASKS), (1.0, OFFERS), (50.0, question(xid=2))], 60.0, SILENT, id="silent-later-on"),
        pytest.param([(0.0, RESTARTS), (5.0, answer(NAK))], 14.9, ASKING, id="nak-is-an-answer"),
        pytest.param([(0.0, RESTARTS), (5.0, answer(NAK))], 15.0, SILENT, id="nothing-after-the-nak"),
        pytest.param([(0.0, ASKS), (1.0, OFFERS), (2.0, CHOOSES)], 100.0, ANSWERED, id="no-ack"),
        pytest.param(
            [(0.0, ASKS_108), (1.0, OFFERS_108), (1801.0, question(xid=2))], 1811.0, SILENT, id="refused-then-silent"
        ),
    ],
)
def test_silence(spoken: list[Spoken], until: float, state: Dhcp4State) -> None:
    assert converse(*spoken, until=until).known is state


def test_silence_begins_when_it_is_found_and_lasts() -> None:
    assert converse((0.0, ASKS), (20.0, ASKS), (30.0, ASKS), until=40.0).state == Dhcp4(state=SILENT, since=20.0)


def test_old_questions_are_forgotten() -> None:
    questions = [(0.01 * xid, question(xid=xid)) for xid in range(20)]
    assert converse(*questions, (1.0, answer(xid=11))).known is SILENT
    assert converse(*questions, (1.0, answer(xid=12))).known is ANSWERED


def test_doubt_leaves_the_answer_to_come() -> None:
    conversation = converse((0.0, ASKS), until=10.0)
    conversation.doubt()
    assert conversation.state is None
    conversation.take(parse(OFFERS), 11.0)
    assert conversation.known is ANSWERED
