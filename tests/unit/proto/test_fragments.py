# SPDX-License-Identifier: GPL-2.0-or-later
"""Reassembly within bounds, and cutting."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto.fragments import TIMEOUT_S, Reassembler, cut_ipv4, cut_ipv6, datagram_key
from clatnm.proto.packet import Ipv4Header, Ipv4Packet, Ipv6Header, Ipv6Packet, Packet, parse_ipv4, parse_ipv6
from clatnm.proto.refusal import DropReason, Refused
from tests.unit.proto import siit_packets as pk

V4 = Ipv4Header(tos=0, ttl=64, protocol=1, source=pk.CLAT_V4.packed, destination=pk.PEER_V4.packed)
V6 = Ipv6Header(traffic_class=0, hop_limit=64, protocol=58, source=pk.CLAT_V6.packed, destination=pk.PEER_V6.packed)


def piece(offset: int, size: int, *, more: bool = True, ident: int = 1, fill: int = 0) -> Ipv4Packet:
    return parse_ipv4(pk.ipv4(bytes([fill]) * size, 1, mf=more, offset=offset, ident=ident))


def pieces_v4(payload: bytes, mtu: int, ident: int = 1) -> list[Ipv4Packet]:
    return [parse_ipv4(data) for data in cut_ipv4(V4, payload, mtu=mtu, ident=ident, more=False, offset=0)]


def pieces_v6(payload: bytes, mtu: int, ident: int = 1) -> list[Ipv6Packet]:
    return [parse_ipv6(data) for data in cut_ipv6(V6, payload, mtu=mtu, ident=ident, more=False, offset=0)]


def refused(reassembler: Reassembler, packet: Ipv4Packet, now: float = 0.0) -> DropReason:
    with pytest.raises(Refused) as caught:
        reassembler.add(packet, now)
    return caught.value.reason


@given(st.data())
def test_joins_in_any_order(data: st.DataObject) -> None:
    payload = data.draw(st.binary(min_size=1, max_size=600))
    four = pieces_v4(payload, data.draw(st.integers(28, 120)))
    six = pieces_v6(payload, data.draw(st.integers(56, 160)))
    packets: Sequence[Packet]
    for packets in (four, six):
        reassembler = Reassembler(max_fragments=100)
        order: list[Any] = data.draw(st.permutations(packets))
        results: list[Packet | None] = [reassembler.add(packet, 0.0) for packet in order]
        assert results[:-1] == [None] * (len(packets) - 1)
        whole = results[-1]
        assert whole is not None
        assert (whole.payload, whole.length, whole.fragmented) == (payload, len(payload), False)
        assert reassembler.next_deadline() is None


@given(st.binary(min_size=1, max_size=3000), st.integers(1280, 1500), st.booleans(), st.integers(0, 1000))
def test_cut_pieces_fit_and_cover(payload: bytes, mtu: int, more: bool, start: int) -> None:
    four = cut_ipv4(V4, payload, mtu=mtu, ident=0xABCD, more=more, offset=start * 8)
    six = cut_ipv6(V6, payload, mtu=mtu, ident=0xABCD, more=more, offset=start * 8)
    assert all(len(packet) <= mtu for packet in four + six)
    parsed: Sequence[Packet]
    for parsed in ([parse_ipv4(packet) for packet in four], [parse_ipv6(packet) for packet in six]):
        assert b"".join(packet.payload for packet in parsed) == payload
        assert [packet.more for packet in parsed] == [True] * (len(parsed) - 1) + [more]
        assert {packet.ident for packet in parsed} == {0xABCD}
        offset = start * 8
        for packet in parsed:
            assert packet.offset == offset
            offset += len(packet.payload)


def test_header_comes_from_the_first_fragment() -> None:
    reassembler = Reassembler()
    tail = parse_ipv4(pk.ipv4(bytes(8), 1, offset=8, ident=1, ttl=9, tos=7))
    head = parse_ipv4(pk.ipv4(bytes(8), 1, mf=True, ident=1, ttl=33, tos=5))
    assert reassembler.add(tail, 0.0) is None
    whole = reassembler.add(head, 0.0)
    assert whole is not None
    assert (whole.ttl, whole.tos) == (33, 5)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"source": "192.0.0.3"}, id="rfc791-3.2-source"),
        pytest.param({"destination": "8.8.4.4"}, id="rfc791-3.2-destination"),
        pytest.param({"ident": 2}, id="rfc791-3.2-identification"),
    ],
)
def test_other_datagrams_are_kept_apart(change: dict[str, object]) -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8), 0.0)
    other = parse_ipv4(pk.ipv4(bytes(8), 1, **{"offset": 8, "ident": 1, **change}))  # type: ignore[arg-type]
    assert reassembler.add(other, 0.0) is None


def test_waits_no_longer_than_the_timeout() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8), 100.0)
    assert reassembler.next_deadline() == 100.0 + TIMEOUT_S
    assert reassembler.expire(100.0 + TIMEOUT_S - 0.1) == 0
    assert reassembler.expire(100.0 + TIMEOUT_S) == 1
    assert reassembler.expire(100.0 + TIMEOUT_S) == 0
    assert reassembler.next_deadline() is None
    assert reassembler.add(piece(8, 8, more=False), 101.0 + TIMEOUT_S) is None


def test_later_fragments_do_not_prolong_the_wait() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8), 0.0)
    reassembler.add(piece(8, 8), TIMEOUT_S - 1)
    assert reassembler.next_deadline() == TIMEOUT_S


def test_times_out_without_being_asked() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8), 0.0)
    assert reassembler.add(piece(8, 8, more=False), TIMEOUT_S) is None
    assert reassembler.expire(TIMEOUT_S) == 1


def test_oldest_datagram_gives_way() -> None:
    reassembler = Reassembler(max_datagrams=2)
    for ident in (1, 2, 3):
        reassembler.add(piece(0, 8, ident=ident), float(ident))
    assert reassembler.expire(3.0) == 1
    assert reassembler.add(piece(8, 8, more=False, ident=2), 3.0) is not None
    assert reassembler.add(piece(8, 8, more=False, ident=3), 3.0) is not None
    assert reassembler.add(piece(8, 8, more=False, ident=1), 3.0) is None


def test_bytes_are_bounded() -> None:
    reassembler = Reassembler(max_bytes=1000)
    for ident in range(8):
        reassembler.add(piece(0, 496, ident=ident), 0.0)
    assert reassembler.expire(0.0) == 6
    assert reassembler.add(piece(496, 8, more=False, ident=7), 0.0) is not None


def test_one_datagram_may_not_take_all() -> None:
    reassembler = Reassembler(max_bytes=1000)
    reassembler.add(piece(0, 600), 0.0)
    assert refused(reassembler, piece(600, 600)) is DropReason.REASSEMBLY_FULL
    assert reassembler.next_deadline() is None
    # and what it held is free again
    for ident in (2, 3):
        reassembler.add(piece(0, 496, ident=ident), 0.0)
    assert reassembler.expire(0.0) == 1


def test_fragments_are_bounded() -> None:
    reassembler = Reassembler(max_fragments=3)
    for index in range(3):
        reassembler.add(piece(index * 8, 8), 0.0)
    assert refused(reassembler, piece(24, 8)) is DropReason.REASSEMBLY_FULL
    assert refused(reassembler, piece(32, 8, more=False)) is DropReason.REASSEMBLY_OVERLAP


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 16), (8, 16), (24, 16), (16, 8), (8, 32), (0, 64)],
    ids=str,
)
def test_overlap_ends_a_datagram_for_good(offset: int, size: int) -> None:
    """RFC 5722 3."""
    reassembler = Reassembler()
    reassembler.add(piece(8, 24, fill=1), 0.0)
    assert refused(reassembler, piece(offset, size, fill=2)) is DropReason.REASSEMBLY_OVERLAP
    assert refused(reassembler, piece(0, 8)) is DropReason.REASSEMBLY_OVERLAP
    assert refused(reassembler, piece(72, 8, more=False)) is DropReason.REASSEMBLY_OVERLAP
    assert reassembler.expire(TIMEOUT_S) == 1
    assert reassembler.add(piece(0, 8), TIMEOUT_S) is None


def test_waiting_counts_what_may_still_be_joined() -> None:
    reassembler = Reassembler()
    for packet in (piece(0, 8), piece(16, 8), piece(0, 8, ident=2), piece(0, 8, ident=3)):
        reassembler.add(packet, 0.0)
    expected = {datagram_key(piece(0, 8, ident=ident)): count for ident, count in ((1, 2), (2, 1), (3, 1))}
    assert reassembler.waiting() == expected
    refused(reassembler, piece(0, 16, ident=2))  # an overlap
    reassembler.add(piece(8, 8, more=False, ident=3), 0.0)
    assert reassembler.waiting() == {datagram_key(piece(0, 8)): 2}
    reassembler.expire(TIMEOUT_S)
    assert reassembler.waiting() == {}


def test_neighbours_do_not_overlap() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(8, 8), 0.0)
    assert reassembler.add(piece(16, 8, more=False), 0.0) is None
    assert reassembler.add(piece(0, 8), 0.0) is not None


def test_exact_duplicate_does_no_harm() -> None:
    """RFC 8200 4.5."""
    reassembler = Reassembler()
    reassembler.add(piece(0, 8), 0.0)
    assert refused(reassembler, piece(0, 8)) is DropReason.REASSEMBLY_DUPLICATE
    assert reassembler.add(piece(8, 8, more=False), 0.0) is not None


def test_key_holds_full_ipv6_identification() -> None:
    reassembler = Reassembler()
    first = pieces_v6(bytes(16), 56, ident=0x10001)
    second = pieces_v6(bytes(16), 56, ident=0x20001)
    assert reassembler.add(first[0], 0.0) is None
    assert reassembler.add(second[1], 0.0) is None
    assert first[0].source == IPv6Address(pk.CLAT_V6).packed


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 40), st.booleans(), st.integers(0, 30), st.integers(0, 3)),
        max_size=60,
    )
)
def test_never_raises_anything_else_and_stays_bounded(steps: list[tuple[int, int, bool, int, int]]) -> None:
    reassembler = Reassembler(max_datagrams=4, max_fragments=5, max_bytes=100)
    now = 0.0
    for offset, size, more, wait, ident in steps:
        now += wait / 10
        try:
            whole = reassembler.add(piece(offset * 8, size, more=more, ident=ident), now)
        except Refused:
            continue
        if whole is not None:
            assert len(whole.payload) <= 100
    deadline = reassembler.next_deadline()
    assert deadline is None or now < deadline <= now + TIMEOUT_S
    reassembler.expire(now + TIMEOUT_S)
    assert reassembler.next_deadline() is None
