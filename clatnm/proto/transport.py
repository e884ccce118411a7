# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol numbers, and transport checksums across a change of the pseudo header (RFC 7915 4.5, 5.5)."""

from __future__ import annotations

from clatnm.proto.checksum import transport_checksum, update, update_nonzero, word_sum
from clatnm.proto.packet import (
    DCCP,
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IGMP,
    ROUTING,
    TCP,
    UDP,
    UDP_LITE,
    Ipv4Packet,
    Packet,
)
from clatnm.proto.refusal import DropReason, Refused

# Where the checksum is, and the shortest header. All others are passed as they are (RFC 7915 4.5).
_CHECKSUM_AT = {TCP: 16, UDP: 6, UDP_LITE: 6, DCCP: 6}
_HEADER_BYTES = {TCP: 20, UDP: 8, UDP_LITE: 8, DCCP: 12}

# In IPv4 a payload of unknown kind; copied to IPv6 it would be taken for extension headers, or for ICMPv6.
_ONLY_IPV6 = (HOP_BY_HOP, ROUTING, FRAGMENT, ICMPV6, DESTINATION)


def protocol_to_v6(protocol: int) -> int:
    """The Next Header for an IPv4 protocol (RFC 7915 4.1). May be Refused."""
    if protocol == ICMP:
        return ICMPV6
    if protocol == IGMP:  # RFC 7915 4.2
        raise Refused(DropReason.GROUP_MANAGEMENT)
    if protocol in _ONLY_IPV6:
        raise Refused(DropReason.PROTOCOL)
    return protocol


def protocol_to_v4(protocol: int) -> int:
    """The Protocol for an IPv6 Next Header (RFC 7915 5.1). May be Refused."""
    if protocol == ICMPV6:
        return ICMP
    if protocol == IGMP:
        raise Refused(DropReason.GROUP_MANAGEMENT)
    if protocol == ICMP:
        raise Refused(DropReason.PROTOCOL)
    return protocol


def header_bytes(protocol: int) -> int:
    """How much of a message must be there to keep its checksum right; 0 where there is none to keep."""
    return _HEADER_BYTES.get(protocol, 0)


def translate(packet: Packet, source: bytes, destination: bytes) -> bytes:
    """The packet's payload for its new addresses. Refused when its checksum cannot be kept right."""
    if packet.offset:
        if packet.protocol == TCP and packet.offset == 8:  # RFC 3128: it would overlay the checksum and flags
            raise Refused(DropReason.TINY_FRAGMENT)
        return packet.payload
    if packet.protocol not in _CHECKSUM_AT:
        return packet.payload
    if len(packet.payload) < _HEADER_BYTES[packet.protocol]:
        raise Refused(DropReason.TINY_FRAGMENT if packet.more else DropReason.TRUNCATED)
    if _lacks_checksum(packet):
        if packet.more:  # RFC 7915 4.5
            raise Refused(DropReason.UDP_ZERO_CHECKSUM)
        return _compute_udp(packet.payload, source, destination)
    return _updated(packet, source, destination)


def translate_quoted(packet: Packet, source: bytes, destination: bytes) -> bytes:
    """`translate` for a packet inside an ICMP error, of which any length may be there (RFC 7915 4.3, 5.3)."""
    at = _CHECKSUM_AT.get(packet.protocol)
    if packet.offset or at is None or len(packet.payload) < at + 2:
        return packet.payload
    if _lacks_checksum(packet):
        whole = len(packet.payload) == packet.length and not packet.more
        return _compute_udp(packet.payload, source, destination) if whole else packet.payload
    return _updated(packet, source, destination)


def _lacks_checksum(packet: Packet) -> bool:
    """UDP without a checksum, which only IPv4 has in general; from IPv6 (RFC 6935) it stays without one."""
    return packet.protocol == UDP and packet.payload[6:8] == b"\0\0" and isinstance(packet, Ipv4Packet)


def _updated(packet: Packet, source: bytes, destination: bytes) -> bytes:
    at = _CHECKSUM_AT[packet.protocol]
    field = int.from_bytes(packet.payload[at : at + 2], "big")
    if packet.protocol == UDP and not field:
        return packet.payload
    delta = word_sum(source) + word_sum(destination) - word_sum(packet.source) - word_sum(packet.destination)
    # RFC 3828 3.1: UDP-Lite knows no zero either
    new = update_nonzero(field, delta) if packet.protocol in (UDP, UDP_LITE) else update(field, delta)
    return packet.payload[:at] + new.to_bytes(2, "big") + packet.payload[at + 2 :]


def _compute_udp(payload: bytes, source: bytes, destination: bytes) -> bytes:
    """RFC 7915 4.5, second choice: give it the checksum that IPv6 wants."""
    length = int.from_bytes(payload[4:6], "big")
    if not 8 <= length <= len(payload):
        raise Refused(DropReason.MALFORMED)
    new = transport_checksum(source, destination, UDP, payload[:length])
    return payload[:6] + new.to_bytes(2, "big") + payload[8:]
