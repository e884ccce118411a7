# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a translator that is not ours do what it was told? One packet each way, and a look at what comes out."""

from __future__ import annotations

import abc
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from clatnm.model import Plan
from clatnm.proto.checksum import checksum, transport_checksum
from clatnm.proto.nat64 import embed

# Any global address will do, since some translators take no others: nothing is sent there.
ANYWHERE = IPv4Address("198.41.0.4")

_IDENT = 0xC1A7
# Should it get out in spite of all, it ends at the first router.
_HOPS = 2
_ICMP, _ICMPV6 = 1, 58
_ECHO, _ECHO_REPLY6 = 8, 129


class Probe(abc.ABC):
    """A packet for the translator. `source` and `destination`: what its translation must have."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address

    @abc.abstractmethod
    def packet(self, sequence: int) -> bytes:
        """An ICMP message with this sequence number."""

    def fault(self, packet: bytes) -> str:
        """What is wrong with a packet that came out; empty when nothing is."""
        seen = _addresses(packet)
        if seen is None:
            return "it makes packets that are neither IPv4 nor IPv6"
        if seen == (self.source, self.destination):
            return ""
        return f"it makes a packet from {seen[0]} to {seen[1]}, not from {self.source} to {self.destination}"

    def sequence(self, packet: bytes) -> int:
        """The sequence number of a packet without fault."""
        at = (20 if self.source.version == 4 else 40) + 6
        return int.from_bytes(packet[at : at + 2], "big")


class Outwards(Probe):
    """An echo request from the CLAT address."""

    def __init__(self, plan: Plan) -> None:
        self._from = plan.clat_v4
        self.source, self.destination = plan.clat_v6, embed(plan.prefix, ANYWHERE)

    def packet(self, sequence: int) -> bytes:
        message = _echo(_ECHO, sequence, 0)
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0x4000, _HOPS, _ICMP, 0)
        header += self._from.packed + ANYWHERE.packed
        return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + message


class Inwards(Probe):
    """An echo reply to the CLAT address."""

    def __init__(self, plan: Plan) -> None:
        self._from, self._to = embed(plan.prefix, ANYWHERE).packed, plan.clat_v6.packed
        self.source, self.destination = ANYWHERE, plan.clat_v4

    def packet(self, sequence: int) -> bytes:
        message = _echo(_ECHO_REPLY6, sequence, 0)
        message = _echo(_ECHO_REPLY6, sequence, transport_checksum(self._from, self._to, _ICMPV6, message))
        return struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, _HOPS) + self._from + self._to + message


def _echo(kind: int, sequence: int, field: int) -> bytes:
    return struct.pack("!BBHHH", kind, 0, field, _IDENT, sequence)


def _addresses(packet: bytes) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address] | None:
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 28:
        return ip_address(packet[12:16]), ip_address(packet[16:20])
    if version == 6 and len(packet) >= 48:
        return ip_address(packet[8:24]), ip_address(packet[24:40])
    return None
