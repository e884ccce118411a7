# SPDX-License-Identifier: GPL-2.0-or-later
"""The stateless translator of RFC 7915, complete: whole packets in, whole packets out.

IPv4 packets come from the host's side, where addresses are explicit mappings (the CLAT pair); IPv6 packets from the
network's, where they are in the NAT64 prefix; unless the configuration says that both sides are alike.
`clatnm.proto.inplace` does the common case faster, with equal results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Network

from clatnm.errors import ParseError
from clatnm.proto import icmp_codes, transport
from clatnm.proto.addresses import AddressMap
from clatnm.proto.checksum import Bytes
from clatnm.proto.eam import EamTable
from clatnm.proto.fragments import DatagramKey, Reassembler, cut_ipv4, cut_ipv6
from clatnm.proto.icmp_answers import TokenBucket, answer_v4, answer_v6
from clatnm.proto.icmp_codes import MIN_IPV4_MTU, MIN_IPV6_MTU, Mtus
from clatnm.proto.packet import (
    FRAGMENT_HEADER_BYTES,
    ICMP,
    ICMPV6,
    IPV4_HEADER_BYTES,
    IPV6_HEADER_BYTES,
    MAX_BYTES_WITHOUT_DF,
    Ipv4Header,
    Ipv4Packet,
    Ipv6Header,
    Ipv6Packet,
    parse_ipv4,
    parse_ipv6,
)
from clatnm.proto.refusal import DropReason, Refused
from clatnm.proto.siit_icmp import IcmpTranslator

__all__ = ["DropReason", "Outcome", "Siit", "SiitConfig"]

_END_OF_OPTIONS, _NO_OPERATION = 0, 1
_SOURCE_ROUTES = (131, 137)  # loose, strict (RFC 791 3.1)
DUMMY_SOURCE = IPv4Address("192.0.0.8")  # RFC 7600: a source for errors, never a destination
_GROWTH = IPV6_HEADER_BYTES - IPV4_HEADER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class SiitConfig:
    """All that translation depends on. ParseError for an MTU or a prefix that cannot be.

    prefix: NAT64 prefix of the remote side, None while there is none. eam: local addresses, for a CLAT its host pair.
    ipv6_mtu_bytes: largest IPv6 packet to send; the "lowest-ipv6-mtu" of RFC 7915 4.1 and the next hop's MTU in one.
    ipv4_mtu_bytes: the same for IPv4. icmp_source: where ICMP towards IPv4 comes from when nothing else fits
    (RFC 7600 dummy address). well_known_strict: RFC 6052 3.1, no private IPv4 by 64:ff9b::/96.
    icmp_errors_per_second, icmp_error_burst: limits for errors of our own, for each side; 0 sends none.
    symmetric: no side is the CLAT's; each address by its mapping, else by the prefix, wherever it stands (RFC 7915 6).
    """

    prefix: IPv6Network | None
    eam: EamTable
    ipv6_mtu_bytes: int
    ipv4_mtu_bytes: int
    icmp_source: IPv4Address = DUMMY_SOURCE
    well_known_strict: bool = True
    icmp_errors_per_second: float = 100.0
    icmp_error_burst: int = 50
    symmetric: bool = False

    def __post_init__(self) -> None:
        if self.ipv6_mtu_bytes < MIN_IPV6_MTU:
            raise ParseError(f"an IPv6 MTU of {self.ipv6_mtu_bytes} bytes", hint="1280 at least (RFC 8200 section 5)")
        if not MIN_IPV4_MTU <= self.ipv4_mtu_bytes <= 0xFFFF:
            raise ParseError(f"an IPv4 MTU of {self.ipv4_mtu_bytes} bytes", hint="68 to 65535 (RFC 791)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of a packet: `forward` to the other side, `reply` to the side it came from.

    Nothing at all (and no reason) means that it waits for its other fragments.
    """

    forward: tuple[bytes, ...] = ()
    reply: tuple[bytes, ...] = ()
    drop: DropReason | None = None


class Siit:
    """A translator between two links. `now` is in seconds, of a clock that does not go back; no input raises."""

    def __init__(self, config: SiitConfig, *, first_ident: int = 0) -> None:
        """`first_ident`: where IPv4 identifications start, best at random."""
        self._ident = first_ident & 0xFFFF
        self._reassembler = Reassembler()
        self.reconfigure(config)

    def reconfigure(self, config: SiitConfig) -> None:
        """From now on translate by another configuration; fragments that wait are kept."""
        self._config = config
        self._addresses = AddressMap(
            config.prefix, config.eam, well_known_strict=config.well_known_strict, symmetric=config.symmetric
        )
        mtus = Mtus(ipv4=config.ipv4_mtu_bytes, ipv6=config.ipv6_mtu_bytes)
        self._icmp = IcmpTranslator(self._addresses, mtus)
        self._errors_v4 = TokenBucket(config.icmp_errors_per_second, config.icmp_error_burst)
        self._errors_v6 = TokenBucket(config.icmp_errors_per_second, config.icmp_error_burst)

    def expire(self, now: float) -> int:
        """Give up fragments that waited too long; how many datagrams were given up since last asked."""
        return self._reassembler.expire(now)

    def next_deadline(self) -> float | None:
        """When to call `expire`; None while nothing waits."""
        return self._reassembler.next_deadline()

    def waiting(self) -> dict[DatagramKey, int]:
        """How many fragments wait of which datagram (`fragments.datagram_key`)."""
        return self._reassembler.waiting()

    def from_ipv4(self, packet: Bytes, now: float, *, known_bytes: int | None = None) -> Outcome:
        """An IPv4 packet of the host's (RFC 7915 4). An answer quotes `known_bytes` of it at most."""
        data, parsed = bytes(packet), None
        try:
            parsed = parse_ipv4(data)
            return Outcome(forward=self._to_ipv6(parsed, now))
        except Refused as refused:
            source = self._config.icmp_source.packed
            reply = None if parsed is None else answer_v4(refused, parsed, data[:known_bytes], source)
            return _dropped(refused, reply, self._errors_v4, now)

    def from_ipv6(self, packet: Bytes, now: float, *, known_bytes: int | None = None) -> Outcome:
        """An IPv6 packet from the network (RFC 7915 5). An answer quotes `known_bytes` of it at most."""
        data, parsed = bytes(packet), None
        try:
            parsed = parse_ipv6(data)
            return Outcome(forward=self._to_ipv4(parsed, now))
        except Refused as refused:
            reply = None if parsed is None else answer_v6(refused, parsed, data[:known_bytes])
            return _dropped(refused, reply, self._errors_v6, now)

    def _to_ipv6(self, packet: Ipv4Packet, now: float) -> tuple[bytes, ...]:
        source = self._source_v6(packet)
        if packet.ttl <= 1:  # RFC 7915 4.1
            raise Refused(DropReason.HOP_LIMIT)
        if _has_unexpired_source_route(packet.options):  # RFC 7915 4.1
            raise Refused(DropReason.SOURCE_ROUTE)
        destination = self._addresses.remote_to_v6(packet.destination)
        if source == destination:
            raise Refused(DropReason.LOOP)
        protocol = transport.protocol_to_v6(packet.protocol)
        mtu = self._config.ipv6_mtu_bytes
        if protocol == ICMPV6:
            if packet.fragmented:
                joined = self._reassembler.add(packet, now)
                if joined is None:
                    return ()
                # Ours to cut now, whatever its DF bit said, and in pieces no larger than those that came: their
                # sender may have learnt what the path takes.
                packet = replace(joined, df=False)
                piece = IPV6_HEADER_BYTES + FRAGMENT_HEADER_BYTES + self._reassembler.piece_bytes
                mtu = min(mtu, max(piece, MIN_IPV6_MTU))
            payload, source = self._icmp.to_v6(packet, source, destination)
        elif source is None:
            raise Refused(DropReason.SOURCE_UNMAPPED)
        else:
            payload = transport.translate(packet, source, destination)
        header = Ipv6Header(
            traffic_class=packet.tos,  # RFC 7915 4.1: the whole octet
            hop_limit=packet.ttl - 1,
            protocol=protocol,
            source=source,
            destination=destination,
        )
        return self._send_ipv6(header, payload, packet, mtu=mtu)

    def _source_v6(self, packet: Ipv4Packet) -> bytes | None:
        """None when an ICMP error comes from where no packet may come from (RFC 7915 4.1)."""
        try:
            return self._addresses.source_to_v6(packet.source)
        except Refused:
            if _is_icmp_error(packet):
                return None
            raise

    @staticmethod
    def _send_ipv6(header: Ipv6Header, payload: bytes, packet: Ipv4Packet, *, mtu: int) -> tuple[bytes, ...]:
        """A Fragment header only where there are fragments (RFC 7915 4)."""
        overhead = IPV6_HEADER_BYTES + (FRAGMENT_HEADER_BYTES if packet.fragmented else 0)
        if overhead + len(payload) > mtu:
            if packet.df:  # RFC 7915 4.1
                raise Refused(DropReason.TOO_BIG, mtu - overhead + IPV4_HEADER_BYTES)
            return cut_ipv6(header, payload, mtu=mtu, ident=packet.ident, more=packet.more, offset=packet.offset)
        if packet.fragmented:
            return (header.fragment(payload, ident=packet.ident, more=packet.more, offset=packet.offset),)
        return (header.packet(payload),)

    def _to_ipv4(self, packet: Ipv6Packet, now: float) -> tuple[bytes, ...]:
        destination = self._addresses.local_to_v4(packet.destination)
        if destination is None:
            raise Refused(DropReason.DESTINATION_UNMAPPED)
        source = self._source_v4(packet)
        if source == destination:
            raise Refused(DropReason.LOOP)
        if packet.hop_limit <= 1:  # RFC 7915 5.1
            raise Refused(DropReason.HOP_LIMIT)
        if packet.segments_left_at is not None:  # RFC 7915 5.1
            raise Refused(DropReason.ROUTING_HEADER, packet.segments_left_at)
        if packet.late_extension:  # RFC 7915 5.1.1
            raise Refused(DropReason.LATE_EXTENSION)
        protocol = transport.protocol_to_v4(packet.protocol)
        joined = False
        if protocol == ICMP:
            if packet.fragmented:
                whole = self._reassembler.add(packet, now)
                if whole is None:
                    return ()
                packet, joined = whole, True
            payload = self._icmp.to_v4(packet)
        else:
            payload = transport.translate(packet, source, destination)
        header = Ipv4Header(
            tos=packet.traffic_class,
            ttl=packet.hop_limit - 1,
            protocol=protocol,
            source=source,
            destination=destination,
        )
        return self._send_ipv4(header, payload, packet, joined=joined)

    def _source_v4(self, packet: Ipv6Packet) -> bytes:
        """Routers outside the NAT64 prefix report errors too (RFC 6791, RFC 7915 6)."""
        try:
            return self._addresses.remote_to_v4(packet.source)
        except Refused as refused:
            if refused.reason is DropReason.SOURCE_UNMAPPED and _is_icmpv6_error(packet):
                return self._config.icmp_source.packed
            raise

    def _send_ipv4(self, header: Ipv4Header, payload: bytes, packet: Ipv6Packet, *, joined: bool) -> tuple[bytes, ...]:
        """DF and identification: RFC 7915 5.1, with a Fragment header 5.1.1."""
        mtu = self._config.ipv4_mtu_bytes
        size = IPV4_HEADER_BYTES + len(payload)
        if size > mtu and packet.size > MIN_IPV6_MTU and not joined:  # RFC 7915 1.4
            raise Refused(DropReason.TOO_BIG, max(MIN_IPV6_MTU, mtu + _GROWTH))
        df = size > MAX_BYTES_WITHOUT_DF and size <= mtu and not packet.header
        if packet.header:
            ident = packet.ident
        elif df:
            ident = 0  # RFC 6864 4.1: it says nothing
        else:
            ident, self._ident = self._ident, (self._ident + 1) & 0xFFFF
        if size > mtu:  # RFC 7915 5.1.1, end
            return cut_ipv4(header, payload, mtu=mtu, ident=ident, more=packet.more, offset=packet.offset)
        return (header.packet(payload, ident=ident, df=df, more=packet.more, offset=packet.offset),)


def _dropped(refused: Refused, reply: bytes | None, bucket: TokenBucket, now: float) -> Outcome:
    if reply is None or not bucket.take(now):
        return Outcome(drop=refused.reason)
    return Outcome(drop=refused.reason, reply=(reply,))


def _is_icmp_error(packet: Ipv4Packet) -> bool:
    if packet.protocol != ICMP or packet.offset or not packet.payload:
        return False
    return icmp_codes.is_error_v4(packet.payload[0])


def _is_icmpv6_error(packet: Ipv6Packet) -> bool:
    if packet.protocol != ICMPV6 or packet.offset or not packet.payload:
        return False
    return icmp_codes.is_error_v6(packet.payload[0])


def _has_unexpired_source_route(options: bytes) -> bool:
    """RFC 791 3.1: its pointer has not passed its length. Options that make no sense end the search."""
    at = 0
    while at + 2 < len(options) and options[at] != _END_OF_OPTIONS:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        if options[at] in _SOURCE_ROUTES and options[at + 2] <= options[at + 1]:
            return True
        if options[at + 1] < 2:
            return False
        at += options[at + 1]
    return False
