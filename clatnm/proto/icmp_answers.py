# SPDX-License-Identifier: GPL-2.0-or-later
"""The ICMP errors a translator itself owes (RFC 7915 4.4, 5.4), when it may send them, and how often."""

from __future__ import annotations

import struct

from clatnm.proto import icmp_codes
from clatnm.proto.addresses import is_link_local_v6, is_martian_v4, is_unicast_v6
from clatnm.proto.checksum import checksum, transport_checksum
from clatnm.proto.packet import (
    ICMP,
    ICMPV6,
    IPV4_HEADER_BYTES,
    IPV6_HEADER_BYTES,
    Ipv4Header,
    Ipv4Packet,
    Ipv6Header,
    Ipv6Packet,
)
from clatnm.proto.refusal import DropReason, Refused
from clatnm.proto.siit_icmp import HEADER_BYTES, MAX_ERROR_V4_BYTES, MAX_ERROR_V6_BYTES

_TTL = 64
_TOS = 0xC0  # RFC 1812 4.3.2.5: internetwork control
_REDIRECT_V6 = 137

_PROHIBITED_V4 = (3, 13)  # RFC 7915 4.4
_PROHIBITED_V6 = (1, 1)  # RFC 7915 5.4

# Type and code; a reason that is not here is passed over in silence.
_ANSWER_V4 = {
    DropReason.HOP_LIMIT: (11, 0),  # RFC 7915 4.1
    DropReason.SOURCE_ROUTE: (3, 5),  # RFC 7915 4.1
    DropReason.TOO_BIG: (3, 4),  # RFC 7915 4.1
    DropReason.SOURCE_UNMAPPED: _PROHIBITED_V4,
    DropReason.DESTINATION_UNMAPPED: _PROHIBITED_V4,
    DropReason.DESTINATION_ILLEGAL: _PROHIBITED_V4,
    DropReason.NOT_GLOBAL: _PROHIBITED_V4,
    DropReason.PROTOCOL: _PROHIBITED_V4,
    DropReason.UDP_ZERO_CHECKSUM: _PROHIBITED_V4,
}
# NOT_GLOBAL is missing: the answer would go to an address that must not be used (RFC 6052 3.1).
_ANSWER_V6 = {
    DropReason.HOP_LIMIT: (3, 0),  # RFC 7915 4.1 by way of 5.1
    DropReason.TOO_BIG: (2, 0),  # RFC 7915 1.4
    DropReason.ROUTING_HEADER: (4, 0),  # RFC 7915 5.1
    DropReason.SOURCE_UNMAPPED: _PROHIBITED_V6,
    DropReason.LATE_EXTENSION: _PROHIBITED_V6,
    DropReason.PROTOCOL: _PROHIBITED_V6,
}


class TokenBucket:
    """A rate limit with bursts (RFC 4443 2.4 f); a rate of 0 lets nothing through."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst if per_second else 0
        self._tokens = float(self._burst)
        self._last: float | None = None

    def take(self, now: float) -> bool:
        """May one more be sent at `now` (seconds)?"""
        if self._last is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._last) * self._per_second)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def answer_v4(refused: Refused, packet: Ipv4Packet, original: bytes, source: bytes) -> bytes | None:
    """The ICMPv4 error owed to the sender of an IPv4 packet; None when there is none to send."""
    answer = _ANSWER_V4.get(refused.reason)
    if answer is None or not _answerable_v4(packet):
        return None
    quoted = original[: min(packet.size, MAX_ERROR_V4_BYTES - IPV4_HEADER_BYTES - HEADER_BYTES)]
    message = struct.pack("!BBHI", *answer, 0, refused.info) + quoted
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    header = Ipv4Header(tos=_TOS, ttl=_TTL, protocol=ICMP, source=source, destination=packet.source)
    return header.packet(message, ident=0)


def answer_v6(refused: Refused, packet: Ipv6Packet, original: bytes) -> bytes | None:
    """The ICMPv6 error owed to the sender of an IPv6 packet, from the address it was sent to (RFC 4443 2.2 a)."""
    answer = _ANSWER_V6.get(refused.reason)
    if answer is None or not _answerable_v6(packet, answer):
        return None
    quoted = original[: min(packet.size, MAX_ERROR_V6_BYTES - IPV6_HEADER_BYTES - HEADER_BYTES)]
    message = struct.pack("!BBHI", *answer, 0, refused.info) + quoted
    field = transport_checksum(packet.destination, packet.source, ICMPV6, message)
    message = message[:2] + field.to_bytes(2, "big") + message[4:]
    return Ipv6Header(
        traffic_class=0,
        hop_limit=_TTL,
        protocol=ICMPV6,
        source=packet.destination,
        destination=packet.source,
    ).packet(message)


def _answerable_v4(packet: Ipv4Packet) -> bool:
    """RFC 1812 4.3.2.7: not about an ICMP error, a later fragment, a broadcast, or a sender that is no host."""
    if packet.offset or packet.destination[0] & 0xF0 == 0xE0 or packet.destination == b"\xff\xff\xff\xff":
        return False
    if packet.protocol == ICMP and (not packet.payload or icmp_codes.is_error_v4(packet.payload[0])):
        return False
    return not is_martian_v4(packet.source)


def _answerable_v6(packet: Ipv6Packet, answer: tuple[int, int]) -> bool:
    """RFC 4443 2.4 e, RFC 7915 5.4; a link-local sender cannot be answered from a global address' scope."""
    if packet.offset or not is_unicast_v6(packet.source) or is_link_local_v6(packet.source):
        return False
    if packet.protocol == ICMPV6:
        if not packet.payload or icmp_codes.is_error_v6(packet.payload[0]) or packet.payload[0] == _REDIRECT_V6:
            return False
        return answer != _PROHIBITED_V6  # RFC 7915 5.4: not about ICMPv6 messages at all
    return True
