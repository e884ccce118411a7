# SPDX-License-Identifier: GPL-2.0-or-later
"""Checksums and segments done in software: what comes out would pass any receiver, and adds up to what went in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_packets import (
    CLAT_V4,
    CLAT_V6,
    PEER_V4,
    PEER_V6,
    SCTP,
    TCP,
    UDP,
    filled,
    ipv4,
    ipv6,
    tcp,
    udp,
    verifies,
)

from clatnm.worker import offload

OPTIONS = bytes((1, 1, 1, 0))  # three no-operations and the end
DESTINATION_OPTIONS = bytes((TCP, 0, 1, 4, 0, 0, 0, 0))  # an extension header with padding in it


def header(flags: int = 1, kind: int = 0, size: int = 0, start: int = 20, offset: int = 16) -> bytes:
    return struct.pack("=BBHHHH", flags, kind, 0, size, start, offset)


def partial4(segment: bytes, protocol: int, *, options: bytes = b"", ident: int = 7) -> bytes:
    whole = filled(segment, protocol, CLAT_V4, PEER_V4, partial=True)
    return ipv4(whole, protocol, options=options, ident=ident)


def partial6(segment: bytes, protocol: int) -> bytes:
    return ipv6(filled(segment, protocol, PEER_V6, CLAT_V6, partial=True), protocol)


def test_finished_packet_is_itself() -> None:
    packet = ipv4(filled(udp(b"x"), UDP, CLAT_V4, PEER_V4), UDP)
    assert offload.complete(packet, header=header(flags=2, start=0, offset=0), link_bytes=0) == (packet,)


@given(
    st.binary(max_size=300), st.sampled_from([(TCP, 16), (UDP, 6)]), st.sampled_from([4, 6]), st.sampled_from([0, 14])
)
def test_checksum_is_completed(payload: bytes, protocol: tuple[int, int], version: int, link_bytes: int) -> None:
    number, offset = protocol
    segment = tcp(payload) if number == TCP else udp(payload)
    packet = partial4(segment, number) if version == 4 else partial6(segment, number)
    start = link_bytes + (20 if version == 4 else 40)
    result = offload.complete(packet, header=header(start=start, offset=offset), link_bytes=link_bytes)
    assert result is not None and len(result) == 1
    assert verifies(result[0])
    at = len(packet) - len(segment) + offset
    assert result[0][:at] + result[0][at + 2 :] == packet[:at] + packet[at + 2 :]


def test_udp_checksum_of_zero_is_sent_as_ones() -> None:
    # the payload makes everything else add up to 0xffff
    blank = filled(udp(bytes(2)), UDP, CLAT_V4, PEER_V4)
    payload = blank[6:8]
    result = offload.complete(partial4(udp(payload), UDP), header=header(offset=6), link_bytes=0)
    assert result is not None
    assert result[0][26:28] == b"\xff\xff"


def test_checksum_behind_ip_options_is_completed() -> None:
    segment = filled(tcp(b"hello"), TCP, CLAT_V4, PEER_V4, partial=True)
    result = offload.complete(ipv4(segment, TCP, options=OPTIONS), header=header(start=24), link_bytes=0)
    assert result is not None and verifies(result[0])


def test_padding_behind_the_packet_is_not_summed() -> None:
    packet = partial6(udp(b"abc"), UDP) + b"\xaa" * 9
    result = offload.complete(packet, header=header(start=54, offset=6), link_bytes=14)
    assert result is not None and verifies(result[0][:-9])


def test_sctp_checksum_is_its_own() -> None:
    # RFC 9260 6.8: the CRC of "123456789" is the well-known check value of CRC-32C
    assert offload.crc32c(b"123456789") == 0xE3069283
    packet = ipv4(struct.pack("!HHII", 1, 2, 3, 0) + bytes(range(16)), SCTP)
    result = offload.complete(packet, header=header(offset=8), link_bytes=0)
    assert result is not None
    value = offload.crc32c(packet[20:28] + bytes(4) + packet[32:])
    assert result[0] == packet[:28] + value.to_bytes(4, "little") + packet[32:]


@pytest.mark.parametrize("options", [b"", OPTIONS], ids=["plain", "ip-options"])
@pytest.mark.parametrize("size", [1, 7, 1400, 2999, 3000, 5000])
def test_tcp_is_cut_into_segments(size: int, options: bytes) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(3000 if size > 7 else 300))
    packet = partial4(
        tcp(payload, sequence=0xFFFFFF00, flags=0x99, options=bytes(12)), TCP, options=options, ident=0xFFFF
    )
    result = offload.complete(packet, header=header(kind=0x81, size=size, start=20 + len(options)), link_bytes=0)
    assert result is not None
    begin = 20 + len(options)
    flags = [part[begin + 13] for part in result]
    sequences = [int.from_bytes(part[begin + 4 : begin + 8], "big") for part in result]
    assert all(verifies(part) for part in result)
    assert b"".join(part[begin + 32 :] for part in result) == payload
    assert {len(part) - begin - 32 for part in result[:-1]} <= {size}
    assert sequences == [(0xFFFFFF00 + i * size) & 0xFFFFFFFF for i in range(len(result))]
    assert [part[20:begin] for part in result] == [options] * len(result)
    # RFC 9293 3.1: the end is said at the end; RFC 3168 6.1.2: the reduction is said once
    assert [f & 0x09 for f in flags] == [0] * (len(result) - 1) + [0x09]
    assert [f & 0x80 for f in flags] == [0x80] + [0] * (len(result) - 1)
    assert [int.from_bytes(part[4:6], "big") for part in result] == [(0xFFFF + i) & 0xFFFF for i in range(len(result))]


def test_udp_is_cut_into_datagrams() -> None:
    payload = bytes(i & 0xFF for i in range(2500))
    packet = partial6(udp(payload), UDP)
    result = offload.complete(packet, header=header(kind=5, size=1000, start=54, offset=6), link_bytes=14)
    assert result is not None
    assert [len(part) - 48 for part in result] == [1000, 1000, 500]
    assert all(verifies(part) for part in result)
    assert b"".join(part[48:] for part in result) == payload


def test_tcp_behind_an_extension_header_is_cut() -> None:
    segment = filled(tcp(bytes(range(200))), TCP, PEER_V6, CLAT_V6, partial=True)
    packet = ipv6(DESTINATION_OPTIONS + segment, 60)
    result = offload.complete(packet, header=header(kind=4, size=150, start=62), link_bytes=14)
    assert result is not None
    assert [int.from_bytes(part[4:6], "big") for part in result] == [8 + 20 + 150, 8 + 20 + 50]
    without = [part[:4] + struct.pack("!HB", len(part) - 48, TCP) + part[7:40] + part[48:] for part in result]
    assert all(part[40:48] == DESTINATION_OPTIONS for part in result)
    assert all(verifies(part) for part in without)


@pytest.mark.parametrize(
    ("packet", "vnet_header"),
    [
        pytest.param(partial4(tcp(bytes(50)), TCP), header(flags=0, kind=1, size=10), id="gso-without-checksum"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(kind=4, size=10), id="tcpv6-in-ipv4"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(kind=3, size=10, offset=6), id="udp-fragmentation"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(kind=1, size=0), id="segments-of-nothing"),
        pytest.param(partial4(tcp(b""), TCP), header(kind=1, size=10), id="nothing-to-cut"),
        pytest.param(partial4(tcp(bytes(600)), TCP), header(kind=1, size=1), id="too-many-segments"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(start=19), id="checksum-in-the-ip-header"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(start=90), id="checksum-past-the-end"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(start=65535), id="checksum-far-past-the-end"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(offset=8), id="sctp-checksum-on-tcp"),
        pytest.param(partial4(tcp(bytes(50)), TCP), header(offset=2), id="checksum-of-nothing-known"),
        pytest.param(partial4(tcp(bytes(50)), TCP)[:60], header(), id="packet-cut-short"),
        pytest.param(b"", header(), id="no-packet"),
        pytest.param(bytes(60), header(), id="neither-ipv4-nor-ipv6"),
    ],
)
def test_contradiction_is_declined(packet: bytes, vnet_header: bytes) -> None:
    assert offload.complete(packet, header=vnet_header, link_bytes=0) is None


@given(
    st.binary(max_size=100) | st.binary(max_size=120).map(lambda b: partial4(tcp(b), TCP)),
    st.tuples(*[st.integers(0, 255)] * 2, *[st.integers(0, 80) | st.integers(0, 65535)] * 4),
    st.sampled_from([0, 14]),
)
def test_any_header_before_anything_is_done_or_declined(
    packet: bytes, fields: tuple[int, int, int, int, int, int], link_bytes: int
) -> None:
    result = offload.complete(packet, header=struct.pack("=BBHHHH", *fields), link_bytes=link_bytes)
    assert result is None or all(isinstance(part, bytes) for part in result)
