# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets built and checked for the worker's tests, with checksums summed the slow and obvious way."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

CLAT_V4, CLAT_V6 = IPv4Address("192.0.0.2"), IPv6Address("2001:db8:1::c1a7")
PEER_V4, PEER_V6 = IPv4Address("203.0.114.9"), IPv6Address("64:ff9b::203.0.114.9")
Address = IPv4Address | IPv6Address

TCP, UDP, ICMP, ICMPV6, SCTP = 6, 17, 1, 58, 132
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def word_by_word(data: bytes) -> int:
    """RFC 1071 as it is written: 16-bit words, end-around carry, not complemented."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    return source.packed + destination.packed + struct.pack("!II", length, protocol)


def ipv4(
    payload: bytes,
    protocol: int,
    *,
    source: IPv4Address = CLAT_V4,
    destination: IPv4Address = PEER_V4,
    options: bytes = b"",
    ident: int = 7,
    flags: int = 0x4000,
    ttl: int = 64,
) -> bytes:
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(payload), ident, flags, ttl, protocol, 0)
    head += source.packed + destination.packed + options
    return head[:10] + struct.pack("!H", 0xFFFF - word_by_word(head)) + head[12:] + payload


def ipv6(
    payload: bytes,
    protocol: int,
    *,
    source: IPv6Address = PEER_V6,
    destination: IPv6Address = CLAT_V6,
    hop_limit: int = 64,
) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return head + source.packed + destination.packed + payload


def tcp(payload: bytes, *, sequence: int = 1000, flags: int = 0x10, options: bytes = b"", checksum: int = 0) -> bytes:
    offset = (20 + len(options)) // 4
    return struct.pack("!HHIIBBHHH", 80, 40000, sequence, 5, offset << 4, flags, 500, checksum, 0) + options + payload


def udp(payload: bytes, *, checksum: int = 0) -> bytes:
    return struct.pack("!HHHH", 53, 40000, 8 + len(payload), checksum) + payload


def icmp_echo(payload: bytes, *, kind: int = 8) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, 77, 1) + payload


def filled(segment: bytes, protocol: int, source: Address, destination: Address, *, partial: bool = False) -> bytes:
    """The segment with its checksum field right: complete, or as the kernel leaves it for hardware to complete."""
    at = CHECKSUM_AT[protocol]
    blank = segment[:at] + b"\0\0" + segment[at + 2 :]
    pseudo = b"" if protocol == ICMP else pseudo_header(source, destination, protocol, len(segment))
    value = word_by_word(pseudo) if partial else 0xFFFF - word_by_word(pseudo + blank)
    if protocol == UDP and not partial and value == 0:
        value = 0xFFFF
    return segment[:at] + value.to_bytes(2, "big") + segment[at + 2 :]


def verifies(packet: bytes) -> bool:
    """Are all checksums of a TCP, UDP or ICMP packet right, and do its lengths agree?"""
    if packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        source: Address = IPv4Address(packet[12:16])
        destination: Address = IPv4Address(packet[16:20])
        protocol, length = packet[9], int.from_bytes(packet[2:4], "big") - size
        if word_by_word(packet[:size]) != 0xFFFF:
            return False
    else:
        size, protocol, length = 40, packet[6], int.from_bytes(packet[4:6], "big")
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    segment = packet[size:]
    if length != len(segment) or (protocol == UDP and int.from_bytes(segment[4:6], "big") != length):
        return False
    pseudo = b"" if protocol == ICMP else pseudo_header(source, destination, protocol, length)
    return word_by_word(pseudo + segment) == 0xFFFF
