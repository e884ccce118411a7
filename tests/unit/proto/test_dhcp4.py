# SPDX-License-Identifier: GPL-2.0-or-later
"""DHCPv4 messages: what real ones say, how options may be spread, and that nothing but ParseError comes out."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto.dhcp4 import Message, MessageType, parse
from tests.unit.dhcp4_messages import (
    ACK,
    DISCOVER,
    END,
    INFORM,
    MAC,
    NAK,
    OFFER,
    REQUEST,
    XID,
    answer,
    body,
    kind,
    option,
    packet,
    question,
    wait,
)

CLIENT = bytes.fromhex("020000000000")


def captured(*, ip_udp: str, fixed: str, options: str) -> bytes:
    """A packet off the wire; `fixed` ends with the six bytes of chaddr, and all up to the cookie is zero."""
    return bytes.fromhex(ip_udp + fixed) + bytes(10 + 64 + 128) + bytes.fromhex("63825363" + options)


# dnsmasq 2.90 and NetworkManager 1.42.4; the UDP checksums are still partial, as a listener sees them on veth
NETWORKMANAGER_DISCOVER = captured(
    ip_udp="45c0013400004000401138fa00000000ffffffff0044004301207a27",
    fixed="0101060068929e190001000000000000000000000000000000000000020000000000",
    options="3501013d070102000000000037110102060c0f1a1c79032128292a77f9fc11390202400c02766dff",
)
NETWORKMANAGER_REQUEST = captured(
    ip_udp="45c0014000004000401138ee00000000ffffffff00440043012c6623",
    fixed="0101060068929e190001000000000000000000000000000000000000020000000000",
    options="3501033d070102000000000037110102060c0f1a1c79032128292a77f9fc11390202403204c0a801b73604c0a801010c02766dff",
)
DISCOVER_WITH_108 = captured(
    ip_udp="45000116168e40004011234a00000000ffffffff0044004301020113",
    fixed="010106008aabfce50000800000000000000000000000000000000000020000000000",
    options="35010137040103066cff",
)
DNSMASQ_OFFER_WITH_108 = captured(
    ip_udp="45c00148f30600004011c435c0a80101ffffffff004300440134c2ee",
    fixed="020106008aabfce50000800000000000c0a801b7c0a8010100000000020000000000",
    options="3501023604c0a801013304000002583a040000012c3b040000020d0104ffffff001c04c0a801ff"
    "0304c0a801016c04000007080604c0a80101ff0000",
)
DNSMASQ_ACK = captured(
    ip_udp="45c001483fde00004011b4fec0a80101c0a801b7004300440134854e",
    fixed="0201060068929e190001000000000000c0a801b7c0a8010100000000020000000000",
    options="3501053604c0a801013304000002583a040000012c3b040000020d0104ffffff001c04c0a801ff"
    "0304c0a801010c02766d0604c0a80101ff00000000",
)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(
            NETWORKMANAGER_DISCOVER,
            Message(kind=MessageType.DISCOVER, xid=0x68929E19, client=CLIENT),
            id="networkmanager-1.42.4-discover",
        ),
        pytest.param(
            NETWORKMANAGER_REQUEST,
            Message(kind=MessageType.REQUEST, xid=0x68929E19, client=CLIENT, chosen=True),
            id="networkmanager-1.42.4-request",
        ),
        pytest.param(
            DISCOVER_WITH_108,
            Message(kind=MessageType.DISCOVER, xid=0x8AABFCE5, client=CLIENT, wants_v6only=True),
            id="rfc8925-3.2-discover",
        ),
        pytest.param(
            DNSMASQ_OFFER_WITH_108,
            Message(kind=MessageType.OFFER, xid=0x8AABFCE5, client=CLIENT, v6only_wait_s=1800),
            id="dnsmasq-2.90-offer-108",
        ),
        pytest.param(
            DNSMASQ_ACK,
            Message(kind=MessageType.ACK, xid=0x68929E19, client=CLIENT),
            id="dnsmasq-2.90-ack",
        ),
    ],
)
def test_real_message_is_read(sent: bytes, expected: Message) -> None:
    message = parse(sent)
    assert message == expected
    assert message.from_server is (message.kind in (MessageType.OFFER, MessageType.ACK))


@pytest.mark.parametrize(
    ("sent", "renewing", "chosen"),
    [
        pytest.param(question(REQUEST), False, False, id="rfc2131-4.3.2-init-reboot"),
        pytest.param(question(REQUEST, how="chosen"), False, True, id="rfc2131-4.3.2-selecting"),
        pytest.param(question(REQUEST, how="renewing"), True, False, id="rfc2131-4.3.2-renewing"),
    ],
)
def test_requests_in_different_states_are_told_apart(sent: bytes, renewing: bool, chosen: bool) -> None:
    message = parse(sent)
    assert (message.renewing, message.chosen) == (renewing, chosen)


def test_server_never_renews_nor_chooses() -> None:
    message = parse(answer(ACK))
    assert (message.renewing, message.chosen, message.wants_v6only) == (False, False, False)


# Option 108


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(wait(1800), 1800, id="rfc8925-3.1"),
        pytest.param(wait(0), 0, id="rfc8925-3.1-zero"),
        pytest.param(wait(2**32 - 1), 2**32 - 1, id="rfc8925-3.1-longest"),
        pytest.param(b"", None, id="absent"),
        pytest.param(option(108, b""), None, id="rfc8925-3.1-length-0"),
        pytest.param(option(108, bytes(3)), None, id="rfc8925-3.1-length-3"),
        pytest.param(option(108, bytes(5)), None, id="rfc8925-3.1-length-5"),
        pytest.param(wait(1800) + wait(1800), None, id="rfc3396-7-twice-is-length-8"),
        pytest.param(option(108, b"\0\0") + option(108, b"\7\x08"), 1800, id="rfc3396-7-in-two-parts"),
    ],
)
def test_v6only_wait_of_an_offer(options: bytes, expected: int | None) -> None:
    sent = packet(body(kind(OFFER) + options + END, op=2), ports=(67, 68))
    assert parse(sent).v6only_wait_s == expected


def test_v6only_wait_of_a_client_means_nothing() -> None:
    assert parse(packet(body(kind(DISCOVER) + wait(1800) + END))).v6only_wait_s is None


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        pytest.param(option(55, bytes((1, 3, 108))), True, id="rfc2132-9.8"),
        pytest.param(option(55, bytes((1, 3))), False, id="not-listed"),
        pytest.param(b"", False, id="no-list"),
        pytest.param(option(55, bytes(range(1, 100))) + option(55, bytes((108,))), True, id="rfc3396-7-split-list"),
        pytest.param(option(61, bytes((55, 1, 108))), False, id="inside-another-option"),
    ],
)
def test_parameter_request_list_is_searched_for_108(options: bytes, wanted: bool) -> None:
    assert parse(packet(body(kind(DISCOVER) + options + END))).wants_v6only is wanted


# Options


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(body(kind(OFFER) + wait(600), op=2), id="no-end"),
        pytest.param(body(b"\0\0" + kind(OFFER) + b"\0" + wait(600) + END, op=2), id="rfc2132-3.1-pad"),
        pytest.param(body(kind(OFFER) + wait(600) + END + b"\x6c\xff", op=2), id="rfc2132-3.2-rubbish-after-end"),
        pytest.param(body(kind(OFFER) + option(52, b"\1") + END, op=2, file=wait(600) + END), id="rfc2132-9.3-file"),
        pytest.param(body(kind(OFFER) + option(52, b"\2") + END, op=2, sname=wait(600) + END), id="rfc2132-9.3-sname"),
        pytest.param(body(option(52, b"\3") + END, op=2, file=kind(OFFER), sname=wait(600)), id="rfc2132-9.3-both"),
        pytest.param(
            body(
                kind(OFFER) + option(52, b"\3") + option(108, b"\0") + END,
                op=2,
                file=option(108, b"\0\2") + END,
                sname=option(108, b"\x58") + END,
            ),
            id="rfc3396-5-order",
        ),
    ],
)
def test_options_are_found_wherever_they_may_stand(offer: bytes) -> None:
    message = parse(packet(offer, ports=(67, 68)))
    assert (message.kind, message.v6only_wait_s) == (MessageType.OFFER, 600)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(b"", id="no-overload"),
        pytest.param(option(52, b"\2"), id="overload-of-the-other-field"),
        pytest.param(option(52, b"\0"), id="overload-of-neither"),
    ],
)
def test_file_name_is_not_searched_for_options(options: bytes) -> None:
    offer = body(kind(OFFER) + options + END, op=2, file=wait(600))
    assert parse(packet(offer, ports=(67, 68))).v6only_wait_s is None


def test_ip_options_and_padding_do_not_matter() -> None:
    sent = packet(body(kind(NAK) + END, op=2), ports=(67, 68), ip_options=b"\1" * 8) + bytes(30)
    assert parse(sent).kind is MessageType.NAK


# What is no message

GOOD = kind(DISCOVER) + END


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        pytest.param(b"", "IPv4 packet: truncated", id="empty"),
        pytest.param(b"\x60" + bytes(59), "IPv4 packet: malformed", id="ipv6"),
        pytest.param(packet(body(GOOD), protocol=6), "not a UDP datagram", id="tcp"),
        pytest.param(packet(body(GOOD), fragment=0x2000), "not a UDP datagram", id="first-fragment"),
        pytest.param(packet(body(GOOD), fragment=185), "not a UDP datagram", id="later-fragment"),
        pytest.param(packet(body(GOOD))[:26], "not a UDP datagram", id="cut-in-the-udp-header"),
        pytest.param(packet(body(GOOD))[:-1], "UDP datagram of 252 bytes in 251", id="cut-short"),
        pytest.param(packet(body(GOOD), length=7), "UDP datagram of 7 bytes", id="rfc768-length-below-8"),
        pytest.param(packet(body(GOOD), ports=(68, 53)), "UDP port 53", id="another-port"),
        pytest.param(packet(body(b"")[:-1]), "message of 239 bytes", id="cookie-cut"),
        pytest.param(packet(body(GOOD, magic=bytes(4))), "BOOTP message", id="rfc951-bootp"),
        pytest.param(packet(body(GOOD, address_bytes=17)), "client address of 17", id="rfc2131-2-hlen"),
        pytest.param(packet(body(GOOD, op=2)), "operation 2", id="reply-to-the-server"),
        pytest.param(packet(body(GOOD), ports=(67, 68)), "operation 1", id="request-to-the-client"),
        pytest.param(packet(body(GOOD, op=2), ports=(67, 68)), "DISCOVER in the wrong", id="server-discovers"),
        pytest.param(packet(body(kind(ACK) + END)), "ACK in the wrong direction", id="client-acknowledges"),
        pytest.param(packet(body(END)), "type missing", id="rfc2131-3-no-type"),
        pytest.param(packet(body(kind(0) + END)), "type 00", id="type-0"),
        pytest.param(packet(body(kind(9) + END)), "type 09", id="rfc3203-forcerenew"),
        pytest.param(packet(body(option(53, b"") + END)), "type missing", id="empty-type"),
        pytest.param(packet(body(kind(1) + kind(2) + END)), "type 0102", id="rfc3396-7-two-types"),
        pytest.param(packet(body(kind(1) + b"\x0c")), "option 12 is cut short", id="no-length"),
        pytest.param(packet(body(kind(1) + b"\x0c\5host")), "option 12 is cut short", id="value-cut"),
        pytest.param(packet(body(kind(1) + option(52, b"\4"))), "overload 04", id="rfc2132-9.3-unknown"),
        pytest.param(packet(body(kind(1) + option(52, b""))), "overload", id="rfc2132-9.3-empty"),
        pytest.param(
            packet(body(kind(1) + option(52, b"\2"), sname=bytes(62) + b"\x0c\1")), "option 12", id="cut-in-sname"
        ),
    ],
)
def test_malformed_message_is_refused(sent: bytes, told: str) -> None:
    with pytest.raises(ParseError, match=told):
        parse(sent)


@given(st.binary(max_size=400))
@example(b"\x45")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse(data)


CODES = st.sampled_from((0, 12, 52, 53, 54, 55, 108, 255))
OPTIONS = st.lists(st.builds(option, CODES, st.binary(max_size=20))).map(b"".join)


@given(options=OPTIONS, file=OPTIONS, sname=OPTIONS, op=st.sampled_from((1, 2)), hlen=st.integers(0, 20))
def test_any_options_are_read_or_refused(options: bytes, file: bytes, sname: bytes, op: int, hlen: int) -> None:
    sent = body(options, op=op, file=file[:128], sname=sname[:64], address_bytes=hlen)
    with contextlib.suppress(ParseError):
        message = parse(packet(sent, ports=(67, 68) if op == 2 else (68, 67)))
        assert message.xid == XID
        assert message.from_server is (op == 2)
        assert len(message.client) == hlen


@given(data=st.data(), sent=st.sampled_from((NETWORKMANAGER_REQUEST, DNSMASQ_OFFER_WITH_108, question(INFORM))))
def test_damaged_real_message_is_read_or_refused(data: st.DataObject, sent: bytes) -> None:
    damaged = bytearray(sent)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ParseError):
        parse(bytes(damaged[: data.draw(st.integers(0, len(sent)))]))


@given(st.integers(0, 2**32 - 1), st.booleans(), st.binary(min_size=6, max_size=6))
def test_question_is_read_back(xid: int, v6only: bool, mac: bytes) -> None:
    expected = Message(kind=MessageType.DISCOVER, xid=xid, client=mac, wants_v6only=v6only)
    assert parse(question(xid=xid, v6only=v6only, mac=mac)) == expected


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_answer_is_read_back(xid: int, wait_s: int) -> None:
    expected = Message(kind=MessageType.OFFER, xid=xid, client=MAC, v6only_wait_s=wait_s)
    assert parse(answer(xid=xid, v6only_wait_s=wait_s)) == expected
