# SPDX-License-Identifier: GPL-2.0-or-later
"""The vnet header's arithmetic: what the kernel wrote, and what it must read after translation."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_packets import TCP, UDP, ipv4, ipv6, tcp, udp

from clatnm.worker import vnet

ETHERNET = 14
AT = 3  # where the header is in the buffer: anywhere

Row = tuple[int, int, int, int, int, int]  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset

rewrite_to_ipv6 = vnet.rewriter(gso=vnet.TO_IPV6, transport_in=20, transport_out=ETHERNET + 40)
rewrite_to_ipv4 = vnet.rewriter(gso=vnet.TO_IPV4, transport_in=ETHERNET + 40, transport_out=20)
rewrite_plain_to_ipv6 = vnet.rewriter(gso=vnet.TO_IPV6, transport_in=20, transport_out=40)


def buffer(header: Row, packet: bytes) -> bytearray:
    return bytearray(AT) + struct.pack("=BBHHHH", *header) + packet


def unpacked(result: tuple[bytes, int] | None) -> Row | None:
    if result is None:
        return None
    row: Row = struct.unpack("=BBHHHH", result[0])
    assert row[3] == result[1]
    return row


TCP4 = ipv4(tcp(bytes(3000)), TCP)
TCP4_TIMESTAMPS = ipv4(tcp(bytes(3000), options=bytes(12)), TCP)
UDP4 = ipv4(udp(bytes(3000)), UDP)
TCP6 = bytes(ETHERNET) + ipv6(tcp(bytes(3000)), TCP)
UDP6 = bytes(ETHERNET) + ipv6(udp(bytes(3000)), UDP)


@pytest.mark.parametrize(
    ("before", "packet", "after"),
    [
        pytest.param((0, 0, 0, 0, 0, 0), TCP4, (0, 0, 0, 0, 0, 0), id="nothing-to-do"),
        pytest.param((2, 0, 0, 0, 0, 0), TCP4, (0, 0, 0, 0, 0, 0), id="data-valid-is-not-written"),
        pytest.param((0, 0, 99, 98, 97, 96), TCP4, (0, 0, 0, 0, 0, 0), id="unused-fields-are-cleared"),
        pytest.param((1, 0, 0, 0, 20, 16), TCP4, (1, 0, 0, 0, 54, 16), id="checksum-tcp"),
        pytest.param((3, 0, 0, 0, 20, 6), UDP4, (1, 0, 0, 0, 54, 6), id="checksum-udp"),
        pytest.param((1, 1, 40, 1400, 20, 16), TCP4, (1, 4, 74, 1400, 54, 16), id="tcpv4-to-tcpv6"),
        pytest.param((1, 0x81, 40, 1400, 20, 16), TCP4, (1, 0x84, 74, 1400, 54, 16), id="rfc3168-ecn-bit-stays"),
        pytest.param((1, 1, 52, 1388, 20, 16), TCP4_TIMESTAMPS, (1, 4, 86, 1388, 54, 16), id="tcp-options"),
        pytest.param((1, 1, 2960, 1400, 20, 16), TCP4, (1, 4, 74, 1400, 54, 16), id="hdr-len-is-only-a-hint"),
        pytest.param((1, 5, 28, 1400, 20, 6), UDP4, (1, 5, 62, 1400, 54, 6), id="udp-segments-stay"),
        pytest.param((0, 1, 40, 1400, 20, 16), TCP4, None, id="gso-without-checksum"),
        pytest.param((1, 4, 40, 1400, 20, 16), TCP4, None, id="tcpv6-on-the-ipv4-side"),
        pytest.param((1, 3, 28, 1400, 20, 6), UDP4, None, id="udp-fragmentation"),
        pytest.param((1, 0x80, 0, 0, 20, 16), TCP4, None, id="ecn-without-kind"),
        pytest.param((1, 0x85, 28, 1400, 20, 6), UDP4, None, id="ecn-on-udp"),
        pytest.param((1, 77, 40, 1400, 20, 16), TCP4, None, id="unknown-kind"),
        pytest.param((1, 1, 40, 0, 20, 16), TCP4, None, id="segments-of-nothing"),
        pytest.param((1, 1, 40, 1400, 20, 6), TCP4, None, id="tcp-kind-udp-checksum"),
        pytest.param((1, 5, 40, 1400, 20, 16), TCP4, None, id="udp-kind-tcp-checksum"),
        pytest.param((1, 0, 0, 0, 24, 16), TCP4, None, id="checksum-behind-ip-options"),
        pytest.param((1, 0, 0, 0, 20, 8), TCP4, None, id="sctp-crc32c"),
    ],
)
def test_header_towards_ipv6(before: Row, packet: bytes, after: Row | None) -> None:
    assert unpacked(rewrite_to_ipv6(buffer(before, packet), AT)) == after


@pytest.mark.parametrize(
    ("before", "packet", "after"),
    [
        pytest.param((2, 0, 0, 0, 0, 0), TCP6, (0, 0, 0, 0, 0, 0), id="data-valid-is-not-written"),
        pytest.param((1, 0, 0, 0, 54, 16), TCP6, (1, 0, 0, 0, 20, 16), id="checksum-tcp"),
        pytest.param((1, 4, 74, 1400, 54, 16), TCP6, (1, 1, 40, 1400, 20, 16), id="tcpv6-to-tcpv4"),
        pytest.param((3, 0x84, 74, 1400, 54, 16), TCP6, (1, 0x81, 40, 1400, 20, 16), id="rfc3168-ecn-bit-stays"),
        pytest.param((1, 5, 62, 1400, 54, 6), UDP6, (1, 5, 28, 1400, 20, 6), id="udp-segments-stay"),
        pytest.param((1, 1, 74, 1400, 54, 16), TCP6, None, id="tcpv4-on-the-ipv6-side"),
        pytest.param((1, 0, 0, 0, 40, 16), TCP6, None, id="ethernet-header-not-counted"),
        pytest.param((1, 0, 0, 0, 62, 16), TCP6, None, id="checksum-behind-extension-header"),
    ],
)
def test_header_towards_ipv4(before: Row, packet: bytes, after: Row | None) -> None:
    assert unpacked(rewrite_to_ipv4(buffer(before, packet), AT)) == after


def test_header_on_a_link_without_ethernet_counts_from_ipv6() -> None:
    header = rewrite_plain_to_ipv6(buffer((1, 1, 40, 1400, 20, 16), TCP4), AT)
    assert unpacked(header) == (1, 4, 60, 1400, 40, 16)


@given(st.binary(min_size=10, max_size=10), st.binary(max_size=120))
def test_any_header_before_anything_is_rewritten_or_declined(header: bytes, packet: bytes) -> None:
    data = bytearray(AT) + header + packet + bytes(80)
    before = bytes(data)
    for rewrite in (rewrite_to_ipv6, rewrite_to_ipv4):
        result = rewrite(data, AT)
        assert result is None or len(result[0]) == vnet.SIZE
        assert data == before


@given(st.sampled_from([1, 0x81]), st.integers(1, 1440), st.integers(0, 10).map(lambda words: bytes(4 * words)))
def test_there_and_back_is_the_same_header(kind: int, size: int, options: bytes) -> None:
    length = 20 + len(options)
    header = (1, kind, 20 + length, size, 20, 16)
    there = rewrite_to_ipv6(buffer(header, ipv4(tcp(bytes(1500), options=options), TCP)), AT)
    assert there is not None
    packet = bytes(ETHERNET) + ipv6(tcp(bytes(1500), options=options), TCP)
    assert unpacked(rewrite_to_ipv4(bytearray(AT) + there[0] + packet, AT)) == header
