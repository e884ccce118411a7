# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets cut short by a capture: as far as they are known, the same comes out as of the whole packet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clatnm.proto import nat64, snapped
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.siit import DropReason, Outcome, Siit, SiitConfig
from clatnm.proto.snapped import SnappedOutcome
from tests.unit.proto import siit_packets as pk
from tests.vectors.vector import load

CONFIG = SiitConfig(
    prefix=nat64.WELL_KNOWN,
    eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)]),
    ipv6_mtu_bytes=1280,
    ipv4_mtu_bytes=1500,
)
LONG = bytes(range(256)) * 5


def cut(packet: bytes, known: int, config: SiitConfig = CONFIG) -> SnappedOutcome:
    return snapped.translate(Siit(config), packet[:known], 0.0, version=packet[0] >> 4, length=len(packet))


def whole(packet: bytes, config: SiitConfig = CONFIG) -> Outcome:
    siit = Siit(config)
    return (siit.from_ipv4 if packet[0] >> 4 == 4 else siit.from_ipv6)(packet, 0.0)


PACKETS = [
    pytest.param(pk.summed(pk.ipv4(pk.tcp(LONG[:900]), pk.TCP)), 40, 20, id="tcp-4to6"),
    pytest.param(pk.summed(pk.ipv4(pk.udp(LONG[:900]), pk.UDP)), 28, 20, id="udp-4to6"),
    pytest.param(pk.summed(pk.ipv4(pk.icmp(8, 0, 1, LONG[:900]), pk.ICMP)), 28, 20, id="echo-4to6"),
    pytest.param(pk.ipv4(LONG[:900], 50), 20, 20, id="esp-4to6"),
    pytest.param(pk.ipv4(LONG[:904], 17, offset=8, mf=True), 20, 28, id="later-fragment-4to6"),
    pytest.param(pk.summed(pk.ipv4(pk.tcp(LONG[:900]), pk.TCP, options=bytes(8))), 48, 12, id="options-4to6"),
    pytest.param(pk.summed(pk.ipv6(pk.tcp(LONG[:900]), pk.TCP)), 60, -20, id="tcp-6to4"),
    pytest.param(pk.summed(pk.ipv6(pk.icmp(129, 0, 1, LONG[:900]), pk.ICMPV6)), 48, -20, id="echo-6to4"),
    pytest.param(pk.ipv6(b"\x32" + bytes(7) + LONG[:900], 0), 48, -28, id="extension-6to4"),
]


@pytest.mark.parametrize(("packet", "least", "growth"), PACKETS)
def test_known_part_is_that_of_the_whole_packet(packet: bytes, least: int, growth: int) -> None:
    (made,) = whole(packet).forward
    for known in (least, least + 1, 500, len(packet) - 1):
        (start,) = cut(packet, known).forward
        assert start.length == len(made)
        assert start.data == made[: known + growth]


@pytest.mark.parametrize(("packet", "least", "growth"), PACKETS)
def test_less_than_the_headers_is_too_little(packet: bytes, least: int, growth: int) -> None:
    for known in range(least):
        assert cut(packet, known) == SnappedOutcome(drop=DropReason.TRUNCATED)


QUOTED = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source=pk.PEER_V4, destination=pk.CLAT_V4))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(pk.ipv4(pk.udp(LONG), pk.UDP), id="rfc7915-4.5-udp-without-checksum"),
        pytest.param(pk.summed(pk.ipv4(pk.icmp(3, 3, 0, QUOTED), pk.ICMP)), id="rfc7915-4.3-error-4to6"),
        pytest.param(pk.summed(pk.ipv6(pk.icmp(1, 4, 0, LONG), pk.ICMPV6)), id="rfc7915-5.3-error-6to4"),
        pytest.param(pk.ipv4(pk.icmp(8, 0, 1, LONG[:992]), pk.ICMP, mf=True), id="fragmented-icmp-4to6"),
        pytest.param(pk.ipv6(pk.fragment_header(58, offset=8) + LONG, 44), id="fragmented-icmp-6to4"),
    ],
)
def test_what_needs_all_is_refused_and_leaves_no_trace(packet: bytes) -> None:
    siit = Siit(CONFIG)
    made = snapped.translate(siit, packet[:-1], 0.0, version=packet[0] >> 4, length=len(packet))
    assert made == SnappedOutcome(drop=DropReason.TRUNCATED)
    assert siit.waiting() == {}


def test_fragments_made_of_a_cut_packet_know_what_was_known() -> None:
    packet = pk.summed(pk.ipv4(pk.udp(LONG * 2), pk.UDP))
    made = whole(packet).forward
    assert len(made) == 3
    for known in (100, 1260, 1300, 2500, 2587):
        starts = cut(packet, known).forward
        assert [start.length for start in starts] == [len(piece) for piece in made]
        joined = b"".join(start.data[48:] for start in starts)
        assert joined == b"".join(piece[48:] for piece in made)[: known - 20]
        assert all(start.data[:48] == piece[:48] for start, piece in zip(starts, made, strict=True))


@pytest.mark.parametrize("known", [40, 100, 1300])
def test_answer_quotes_no_more_than_is_known(known: int) -> None:
    packet = pk.summed(pk.ipv4(pk.tcp(LONG), pk.TCP, df=True))
    outcome = cut(packet, known)
    assert outcome.drop is DropReason.TOO_BIG
    (reply,) = outcome.reply
    assert reply.length == len(reply.data)
    pk.check(reply.data)
    assert reply.data[28:] == packet[: min(known, 548)]


def test_answer_to_ipv6_quotes_no_more_than_is_known() -> None:
    packet = pk.summed(pk.ipv6(pk.tcp(LONG), pk.TCP, hop_limit=1))
    (reply,) = cut(packet, 80).reply
    pk.check(reply.data)
    assert reply.data[48:] == packet[:80]


def test_padding_cut_off_by_the_capture_is_not_missed() -> None:
    packet = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP))
    outcome = snapped.translate(Siit(CONFIG), packet, 0.0, version=4, length=46)
    assert [start.data for start in outcome.forward] == list(whole(packet).forward)


def test_packet_shorter_on_the_wire_than_it_says_is_refused() -> None:
    packet = pk.summed(pk.ipv4(pk.udp(LONG), pk.UDP))
    outcome = snapped.translate(Siit(CONFIG), packet[:100], 0.0, version=4, length=200)
    assert outcome.drop is DropReason.TRUNCATED


CORPUS = [packet for vector in load() for packet in vector.given if packet and packet[0] >> 4 in (4, 6)]


@given(st.sampled_from(CORPUS), st.integers(0, 1600), st.integers(0, 40), st.integers(0, 255))
@settings(max_examples=300)
def test_any_cut_agrees_with_the_whole_or_is_refused(packet: bytes, known: int, at: int, value: int) -> None:
    packet = packet[: at % len(packet)] + bytes([value]) + packet[at % len(packet) + 1 :]
    if packet[0] >> 4 not in (4, 6):
        return
    config = replace(CONFIG, icmp_errors_per_second=0)
    outcome = cut(packet, known, config)
    expected = whole(packet, config)
    if outcome.drop is not None:
        assert outcome.drop in (DropReason.TRUNCATED, DropReason.MALFORMED, expected.drop)
        return
    assert [start.length for start in outcome.forward] == [len(made) for made in expected.forward]
    for start, made in zip(outcome.forward, expected.forward, strict=True):
        assert made.startswith(start.data)
