# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets for the translator's tests, and a plain second opinion on their checksums."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

CLAT_V4 = IPv4Address("192.0.0.2")
CLAT_V6 = IPv6Address("2001:db8:1::c1a7")
PEER_V4 = IPv4Address("8.8.8.8")
PEER_V6 = IPv6Address("64:ff9b::8.8.8.8")

ICMP, TCP, UDP, ICMPV6, UDP_LITE, DCCP = 1, 6, 17, 58, 136, 33
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMPV6: 2, UDP_LITE: 6, DCCP: 6}
EXTENSIONS = (0, 43, 60)


def plain_sum(data: bytes) -> int:
    """RFC 1071 4.1, word by word with end-around carry."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) & 1)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ipv4(
    payload: bytes,
    protocol: int,
    *,
    source: str | IPv4Address = CLAT_V4,
    destination: str | IPv4Address = PEER_V4,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0,
    df: bool = False,
    mf: bool = False,
    offset: int = 0,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet around payload as it is; `offset` in bytes."""
    size = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | size // 4,
        tos,
        size + len(payload),
        ident,
        df << 14 | mf << 13 | offset >> 3,
        ttl,
        protocol,
        0,
        IPv4Address(source).packed,
        IPv4Address(destination).packed,
    )
    head += options
    return head[:10] + struct.pack("!H", 0xFFFF - plain_sum(head)) + head[12:] + payload


def ipv6(
    payload: bytes,
    next_header: int,
    *,
    source: str | IPv6Address = PEER_V6,
    destination: str | IPv6Address = CLAT_V6,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow: int = 0,
) -> bytes:
    """An IPv6 packet around payload as it is."""
    head = struct.pack("!IHBB", 0x60000000 | traffic_class << 20 | flow, len(payload), next_header, hop_limit)
    return head + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def fragment_header(next_header: int, *, offset: int = 0, more: bool = False, ident: int = 0) -> bytes:
    """RFC 8200 4.5; `offset` in bytes."""
    return struct.pack("!BBHI", next_header, 0, offset | more, ident)


def tcp(payload: bytes = b"", *, source: int = 40000, destination: int = 443, field: int = 0) -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, 1, 2, 0x50, 0x18, 1000, field, 0) + payload


def udp(payload: bytes = b"", *, source: int = 40000, destination: int = 53, field: int = 0) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), field) + payload


def icmp(kind: int, code: int = 0, rest: int = 0, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", kind, code, 0, rest) + body


def upper(packet: bytes) -> tuple[int, int, bool]:
    """(protocol, offset of the transport header, is all of the message here) behind options and extension headers."""
    if packet[0] >> 4 == 4:
        return packet[9], (packet[0] & 15) * 4, not struct.unpack_from("!H", packet, 6)[0] & 0x3FFF
    protocol, at, whole = packet[6], 40, True
    while protocol in (*EXTENSIONS, 44):
        if protocol == 44:
            whole = whole and not struct.unpack_from("!H", packet, at + 2)[0] & 0xFFF9
            protocol, at = packet[at], at + 8
        else:
            protocol, at = packet[at], at + 8 * (packet[at + 1] + 1)
    return protocol, at, whole


def transport_sum(packet: bytes) -> int:
    """The sum over pseudo header and transport message as it stands; 0xffff when its checksum is right."""
    protocol, at, _ = upper(packet)
    message = packet[at:]
    if protocol == ICMP:
        return plain_sum(message)
    if packet[0] >> 4 == 4:
        return plain_sum(packet[12:20] + struct.pack("!HH", protocol, len(message)) + message)
    return plain_sum(packet[8:40] + struct.pack("!II", len(message), protocol) + message)


def summed(packet: bytes) -> bytes:
    """The packet with its transport checksum filled in, as its sender would."""
    protocol, at, _ = upper(packet)
    at += CHECKSUM_AT[protocol]
    blank = packet[:at] + b"\0\0" + packet[at + 2 :]
    field = 0xFFFF - transport_sum(blank)
    if field == 0 and protocol == UDP:
        field = 0xFFFF
    return packet[:at] + struct.pack("!H", field) + packet[at + 2 :]


def check(packet: bytes) -> None:
    """Lengths, the IPv4 header checksum and, where the whole message is there, the transport checksum are right."""
    if packet[0] >> 4 == 4:
        assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
        assert plain_sum(packet[: (packet[0] & 15) * 4]) == 0xFFFF
    else:
        assert packet[0] >> 4 == 6
        assert struct.unpack_from("!H", packet, 4)[0] == len(packet) - 40
    protocol, _, whole = upper(packet)
    if whole and protocol in CHECKSUM_AT:
        assert transport_sum(packet) == 0xFFFF


def with_ident(packet: bytes, ident: int) -> bytes:
    """An IPv4 packet with another identification."""
    head = packet[:4] + struct.pack("!H", ident) + packet[6:10] + b"\0\0" + packet[12:20]
    return head[:10] + struct.pack("!H", 0xFFFF - plain_sum(head)) + head[12:] + packet[20:]
