# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4 and IPv6 packets, read into records and written from header templates."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from clatnm.proto.checksum import checksum
from clatnm.proto.refusal import DropReason, Refused

ICMP, IGMP, TCP, UDP, DCCP, ICMPV6, UDP_LITE = 1, 2, 6, 17, 33, 58, 136

IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, FRAGMENT_HEADER_BYTES = 20, 40, 8

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
_SKIPPED = (HOP_BY_HOP, ROUTING, DESTINATION)  # RFC 7915 5.1
# RFC 7915 5.1.1: every extension header (RFC 7045 4) but ESP
_NOT_BEHIND_FRAGMENT = (*_SKIPPED, FRAGMENT, AUTHENTICATION, 135, 139, 140)
_MAX_EXTENSIONS = 8  # RFC 8504 5.3 lets a node set a limit

# RFC 7915 5.1: up to here routers may fragment what we send, beyond it the sender is told the path MTU.
MAX_BYTES_WITHOUT_DF = 1260

# Largest payload of an IPv4 datagram; one reassembling to more is an attack or cannot be translated.
MAX_IPV4_PAYLOAD_BYTES = 0xFFFF - IPV4_HEADER_BYTES

_V4 = struct.Struct("!BBHHHBBH4s4s")
_V6 = struct.Struct("!IHBB16s16s")
_FRAGMENT = struct.Struct("!BBHI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4Packet:
    """One IPv4 packet. `offset` in bytes, addresses packed; `length` is the payload's by the header."""

    tos: int
    ident: int
    df: bool
    more: bool
    offset: int
    ttl: int
    protocol: int
    source: bytes
    destination: bytes
    options: bytes
    length: int
    payload: bytes

    @property
    def fragmented(self) -> bool:
        return self.more or self.offset > 0

    @property
    def size(self) -> int:
        """Of the packet by its header, in bytes."""
        return IPV4_HEADER_BYTES + len(self.options) + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6Packet:
    """One IPv6 packet. `protocol`, `length` and `payload` are what follows the extension headers.

    header: there is a Fragment header (an atomic fragment has one, RFC 6946). segments_left_at: where an unfinished
    Routing header says so, in bytes from the start. size: of the packet by its header, in bytes.
    """

    traffic_class: int
    header: bool
    ident: int
    more: bool
    offset: int
    hop_limit: int
    protocol: int
    source: bytes
    destination: bytes
    segments_left_at: int | None
    late_extension: bool
    size: int
    length: int
    payload: bytes

    @property
    def fragmented(self) -> bool:
        return self.more or self.offset > 0


Packet: TypeAlias = "Ipv4Packet | Ipv6Packet"


def parse_ipv4(data: bytes, *, quoted: bool = False) -> Ipv4Packet:
    """Read a packet; bytes after its end are ignored. One quoted in an ICMP error may be cut short. May be Refused."""
    if len(data) < IPV4_HEADER_BYTES:
        raise Refused(DropReason.TRUNCATED)
    version, tos, total, ident, flags, ttl, protocol, _, source, destination = _V4.unpack_from(data)
    head = (version & 15) * 4
    if version >> 4 != 4 or head < IPV4_HEADER_BYTES or total < head:
        raise Refused(DropReason.MALFORMED)
    if len(data) < (head if quoted else total):
        raise Refused(DropReason.TRUNCATED)
    if not quoted and checksum(data[:head]):  # RFC 1812 5.2.2
        raise Refused(DropReason.CHECKSUM)
    offset = (flags & 0x1FFF) * 8
    if offset + total - head > MAX_IPV4_PAYLOAD_BYTES:
        raise Refused(DropReason.MALFORMED)
    return Ipv4Packet(
        tos=tos,
        ident=ident,
        df=bool(flags & 0x4000),
        more=bool(flags & 0x2000),
        offset=offset,
        ttl=ttl,
        protocol=protocol,
        source=source,
        destination=destination,
        options=data[IPV4_HEADER_BYTES:head],
        length=total - head,
        payload=data[head:total],
    )


def parse_ipv6(data: bytes, *, quoted: bool = False) -> Ipv6Packet:
    """Read a packet as `parse_ipv4` does, extension headers skipped (RFC 7915 5.1). May be Refused."""
    if len(data) < IPV6_HEADER_BYTES:
        raise Refused(DropReason.TRUNCATED)
    flow, length, protocol, hop_limit, source, destination = _V6.unpack_from(data)
    size = IPV6_HEADER_BYTES + length
    if flow >> 28 != 6:
        raise Refused(DropReason.MALFORMED)
    if len(data) < size and not quoted:
        raise Refused(DropReason.TRUNCATED)
    data = data[:size]
    protocol, at, segments_left_at = _skip_extensions(data, protocol)
    header, offset, more, ident = protocol == FRAGMENT, 0, False, 0
    if header:
        if len(data) < at + FRAGMENT_HEADER_BYTES:
            raise Refused(DropReason.TRUNCATED)
        protocol, _, position, ident = _FRAGMENT.unpack_from(data, at)
        offset, more = position & 0xFFF8, bool(position & 1)
        at += FRAGMENT_HEADER_BYTES
        if offset + size - at > MAX_IPV4_PAYLOAD_BYTES:
            raise Refused(DropReason.MALFORMED)
    return Ipv6Packet(
        traffic_class=flow >> 20 & 0xFF,
        header=header,
        ident=ident,
        more=more,
        offset=offset,
        hop_limit=hop_limit,
        protocol=protocol,
        source=source,
        destination=destination,
        segments_left_at=segments_left_at,
        late_extension=header and protocol in _NOT_BEHIND_FRAGMENT,
        size=size,
        length=size - at,
        payload=data[at:],
    )


def _skip_extensions(data: bytes, protocol: int) -> tuple[int, int, int | None]:
    """First header that is not skipped, where it starts, and where an unfinished Routing header says so."""
    at, segments_left_at = IPV6_HEADER_BYTES, None
    for _ in range(_MAX_EXTENSIONS + 1):
        if protocol not in _SKIPPED:
            return protocol, at, segments_left_at
        if len(data) < at + 8 or len(data) < at + 8 * (data[at + 1] + 1):
            raise Refused(DropReason.TRUNCATED)
        if protocol == ROUTING and data[at + 3] and segments_left_at is None:
            segments_left_at = at + 3
        protocol, at = data[at], at + 8 * (data[at + 1] + 1)
    raise Refused(DropReason.MALFORMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4Header:
    """What the packets of one datagram share."""

    tos: int
    ttl: int
    protocol: int
    source: bytes
    destination: bytes

    def packet(
        self,
        payload: bytes,
        *,
        ident: int,
        df: bool = False,
        more: bool = False,
        offset: int = 0,
        length: int | None = None,
    ) -> bytes:
        """A packet; `length` when the payload is only the start of what the header shall announce."""
        total = IPV4_HEADER_BYTES + (len(payload) if length is None else length)
        flags = df << 14 | more << 13 | offset >> 3
        fields = (0x45, self.tos, total, ident & 0xFFFF, flags, self.ttl, self.protocol)
        blank = _V4.pack(*fields, 0, self.source, self.destination)
        return _V4.pack(*fields, checksum(blank), self.source, self.destination) + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6Header:
    """What the packets of one datagram share; the flow label is zero (RFC 7915 4.1)."""

    traffic_class: int
    hop_limit: int
    protocol: int
    source: bytes
    destination: bytes

    def packet(self, payload: bytes, *, length: int | None = None) -> bytes:
        """A packet without a Fragment header; `length` as in `Ipv4Header.packet`."""
        return self._head(self.protocol, len(payload) if length is None else length) + payload

    def fragment(self, payload: bytes, *, ident: int, more: bool, offset: int, length: int | None = None) -> bytes:
        """A packet with a Fragment header (RFC 8200 4.5)."""
        size = FRAGMENT_HEADER_BYTES + (len(payload) if length is None else length)
        return self._head(FRAGMENT, size) + _FRAGMENT.pack(self.protocol, 0, offset | more, ident) + payload

    def _head(self, next_header: int, length: int) -> bytes:
        flow = 0x60000000 | self.traffic_class << 20
        return _V6.pack(flow, length, next_header, self.hop_limit, self.source, self.destination)
