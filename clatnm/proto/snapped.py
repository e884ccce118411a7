# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of which only the start is known, as captures have them: translated where the rest does not matter.

What is missing is taken for zeros on the way through the translator, whose checksums are updated, not computed
(RFC 1624), and is cut off again from what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clatnm.proto import icmp_codes, transport
from clatnm.proto.packet import (
    FRAGMENT,
    FRAGMENT_HEADER_BYTES,
    ICMP,
    ICMPV6,
    IPV4_HEADER_BYTES,
    IPV6_HEADER_BYTES,
    UDP,
    Ipv4Packet,
    Packet,
    parse_ipv4,
    parse_ipv6,
)
from clatnm.proto.refusal import DropReason, Refused
from clatnm.proto.siit import Siit
from clatnm.proto.siit_icmp import HEADER_BYTES


class Start(NamedTuple):
    """The first bytes of a packet that has `length`."""

    data: bytes
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnappedOutcome:
    """As `siit.Outcome`, of packets that may be known in part."""

    forward: tuple[Start, ...] = ()
    reply: tuple[Start, ...] = ()
    drop: DropReason | None = None


def translate(siit: Siit, data: bytes, now: float, *, version: int, length: int | None = None) -> SnappedOutcome:
    """An IPv4 or IPv6 packet (`version` 4 or 6) through the translator.

    length: bytes of it on the wire, when only the first ones are here. Refused as `TRUNCATED` when more is needed:
    the transport header, and everything of an ICMP error, of fragmented ICMP and of UDP without a checksum.
    """
    known = len(data)
    try:
        packet: Packet | None = None if length is None else _parse(data, version, length)
    except Refused as refused:
        return SnappedOutcome(drop=refused.reason)
    if packet is not None:
        data += bytes(packet.size - known)
    send = siit.from_ipv4 if version == 4 else siit.from_ipv6
    outcome = send(data, now, known_bytes=known)
    reply = tuple(Start(made, len(made)) for made in outcome.reply)
    if packet is None:
        return SnappedOutcome(
            forward=tuple(Start(made, len(made)) for made in outcome.forward), reply=reply, drop=outcome.drop
        )
    return SnappedOutcome(forward=_cut(outcome.forward, len(packet.payload)), reply=reply, drop=outcome.drop)


def _parse(data: bytes, version: int, length: int) -> Packet | None:
    """A packet with its payload cut short; None when it is whole, or was too short on the wire already."""
    packet: Packet = parse_ipv4(data, quoted=True) if version == 4 else parse_ipv6(data, quoted=True)
    if packet.size <= len(data) or packet.size > length:
        return None
    if _needs_more(packet):
        raise Refused(DropReason.TRUNCATED)
    return packet


def _needs_more(packet: Packet) -> bool:
    known = packet.payload
    if packet.protocol == (ICMP if isinstance(packet, Ipv4Packet) else ICMPV6):
        is_error = icmp_codes.is_error_v4 if packet.protocol == ICMP else icmp_codes.is_error_v6
        return packet.fragmented or len(known) < HEADER_BYTES or is_error(known[0])
    if packet.offset:
        return False
    if len(known) < transport.header_bytes(packet.protocol):
        return True
    # RFC 7915 4.5; that of a first fragment is not computed
    unsummed = isinstance(packet, Ipv4Packet) and packet.protocol == UDP and known[6:8] == b"\0\0"
    return unsummed and not packet.more


def _cut(made: tuple[bytes, ...], known: int) -> tuple[Start, ...]:
    """The packets made of one payload, without what is not known of it."""
    starts = []
    for packet in made:
        head = _header_bytes(packet)
        starts.append(Start(packet[: head + max(0, known)], len(packet)))
        known -= len(packet) - head
    return tuple(starts)


def _header_bytes(packet: bytes) -> int:
    """Of a packet that the translator made."""
    if packet[0] >> 4 == 4:
        return IPV4_HEADER_BYTES
    return IPV6_HEADER_BYTES + (FRAGMENT_HEADER_BYTES if packet[6] == FRAGMENT else 0)
