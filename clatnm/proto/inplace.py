# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast user-space path: a header is rewritten in front of its payload, which is never touched (RFC 7915).

It takes unfragmented TCP, UDP and ICMP echo without options or extension headers, GSO-sized packets included, and
declines all else for `clatnm.proto.siit`. An accepted packet equals, byte for byte, what `Siit` would forward.
What looks repeated or unrolled here is so because a call costs more than the work it would hide.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from struct import Struct
from typing import Protocol, TypeAlias

from clatnm.proto.addresses import AddressMap
from clatnm.proto.checksum import word_sum
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.refusal import Refused

DECLINED = -1
HEADROOM_BYTES = 20  # an IPv6 header is that much longer
MAX_PEERS = 4096
MAX_ENDS = 16384

_read_v4 = Struct("!BBHHHBBHII").unpack_from
_write_v4 = Struct("!BBHHHBBH4s4s").pack_into
_read_v6 = Struct("!IHBB16s16s").unpack_from
_write_v6 = Struct("!IHBB16s16s").pack_into
_read_u16 = Struct("!H").unpack_from
_write_u16 = Struct("!H").pack_into

_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58


class Translate(Protocol):
    """The packet in buf[start:end] is translated in place; returns its new start, or `DECLINED`."""

    def __call__(self, buf: bytearray, start: int, end: int, partial: bool, gso_size: int = 0, /) -> int: ...


class InPlace:
    """Both directions for one CLAT, or for all that is mapped: `to_ipv6` and `to_ipv4`, called as `Translate` says.

    The new start is 20 bytes before the old one in `to_ipv6` (which needs `HEADROOM_BYTES` there), 20 after it in
    `to_ipv4`; the end stays. A declined packet is left untouched.

    partial: the checksum field holds the pseudo header's sum (vnet header flag NEEDS_CSUM).
    gso_size: payload bytes of each segment the packet will be cut into (vnet header), 0 when it goes out whole.
      The MTU then binds each segment, and the DF bit is chosen by a segment's size; it needs `partial`.

    A changed prefix, address or MTU takes a new object.
    """

    def __init__(
        self,
        clat_v4: IPv4Address,
        clat_v6: IPv6Address,
        prefix: IPv6Network,
        *,
        ipv6_mtu_bytes: int,
        ipv4_mtu_bytes: int,
        well_known_strict: bool = True,
        first_ident: int = 0,
        mappings: EamTable | None = None,
    ) -> None:
        """MTUs of the uplink and of the IPv4 device; `first_ident` should be random. ParseError for a bad prefix.

        With `mappings` these are the local addresses, in place of the pair.
        """
        eam = EamTable([host_pair(clat_v4, clat_v6)]) if mappings is None else mappings
        addresses = AddressMap(prefix, eam, well_known_strict=well_known_strict)
        v4, v6 = clat_v4.packed, clat_v6.packed
        meet_v4 = _remote_v4(v4, v6, addresses) if mappings is None else _both_v4(addresses)
        meet_v6 = _remote_v6(v4, v6, addresses) if mappings is None else _both_v6(addresses)
        self.to_ipv6: Translate = _make_to_ipv6(meet_v4, ipv6_mtu_bytes)
        self.to_ipv4: Translate = _make_to_ipv4(meet_v6, ipv4_mtu_bytes, first_ident)


# Source and destination in the other family, change of the pseudo header's sum, its new sum; and its old sum
_V4Peer: TypeAlias = "tuple[bytes, bytes, int, int]"
_V6Peer: TypeAlias = "tuple[bytes, bytes, int, int, int]"
_MeetV4: TypeAlias = "Callable[[int, int], _V4Peer | None]"
_MeetV6: TypeAlias = "Callable[[bytes, bytes], _V6Peer | None]"


def _remote_v4(own_v4: bytes, own_v6: bytes, addresses: AddressMap) -> _MeetV4:
    """What to know of our source and a destination, as numbers; remembered for `MAX_PEERS` destinations."""
    peers: dict[int, _V4Peer] = {}
    own = int.from_bytes(own_v4, "big")

    def meet(source: int, number: int) -> _V4Peer | None:
        if source != own:
            return None
        if number in peers:
            return peers[number]
        v4 = number.to_bytes(4, "big")
        try:
            v6 = addresses.remote_to_v6(v4)
        except Refused:
            return None
        if v6 == own_v6:
            return None
        if len(peers) >= MAX_PEERS:
            peers.clear()
        total = word_sum(own_v6) + word_sum(v6)
        peers[number] = peer = (own_v6, v6, total - word_sum(own_v4) - word_sum(v4), total)
        return peer

    return meet


def _remote_v6(own_v4: bytes, own_v6: bytes, addresses: AddressMap) -> _MeetV6:
    """What to know of a source and our destination, packed; remembered for `MAX_PEERS` sources."""
    peers: dict[bytes, _V6Peer] = {}

    def meet(v6: bytes, destination: bytes) -> _V6Peer | None:
        if destination != own_v6:
            return None
        if v6 in peers:
            return peers[v6]
        try:
            v4 = addresses.remote_to_v4(v6)
        except Refused:
            return None
        if v4 == own_v4:
            return None
        if len(peers) >= MAX_PEERS:
            peers.clear()
        new, old = word_sum(own_v4) + word_sum(v4), word_sum(own_v6) + word_sum(v6)
        peers[v6] = peer = (v4, own_v4, new - old, new, old)
        return peer

    return meet


# An address in the other family, its sum there and its sum here
_End: TypeAlias = "tuple[bytes, int, int]"


def _both_v4(addresses: AddressMap) -> _MeetV4:
    """The same where many addresses are local. Ends are remembered, not pairs of them: those may be far more."""
    sources: dict[int, _End] = {}
    destinations: dict[int, _End] = {}

    def learn(ends: dict[int, _End], number: int, translate: Callable[[bytes], bytes]) -> _End | None:
        v4 = number.to_bytes(4, "big")
        try:
            v6 = translate(v4)
        except Refused:
            return None
        if len(ends) >= MAX_ENDS:
            ends.clear()
        ends[number] = end = (v6, word_sum(v6), word_sum(v4))
        return end

    def meet(source: int, destination: int) -> _V4Peer | None:
        one = sources.get(source) or learn(sources, source, addresses.source_to_v6)
        other = destinations.get(destination) or learn(destinations, destination, addresses.remote_to_v6)
        if one is None or other is None or one[0] == other[0]:
            return None
        total = one[1] + other[1]
        return one[0], other[0], total - one[2] - other[2], total

    return meet


def _both_v6(addresses: AddressMap) -> _MeetV6:
    """The same from IPv6."""
    sources: dict[bytes, _End] = {}
    destinations: dict[bytes, _End] = {}

    def learn(ends: dict[bytes, _End], v6: bytes, translate: Callable[[bytes], bytes | None]) -> _End | None:
        try:
            v4 = translate(v6)
        except Refused:
            return None
        if v4 is None:
            return None
        if len(ends) >= MAX_ENDS:
            ends.clear()
        ends[v6] = end = (v4, word_sum(v4), word_sum(v6))
        return end

    def meet(source: bytes, destination: bytes) -> _V6Peer | None:
        other = destinations.get(destination) or learn(destinations, destination, addresses.local_to_v4)
        one = sources.get(source) or learn(sources, source, addresses.remote_to_v4)
        if one is None or other is None or one[0] == other[0]:
            return None
        new, old = one[1] + other[1], one[2] + other[2]
        return one[0], other[0], new - old, new, old

    return meet


def _make_to_ipv6(meet: _MeetV4, mtu: int) -> Translate:
    def to_ipv6(  # noqa: PLR0912 - one pass without calls
        buf: bytearray, start: int, end: int, partial: bool, gso_size: int = 0
    ) -> int:
        size = end - start
        if size < 28 or start < HEADROOM_BYTES:
            return DECLINED
        version, tos, length, ident, frag, ttl, protocol, check, source, destination = _read_v4(buf, start)
        if version != 0x45 or length != size or frag & 0x3FFF or ttl < 2:
            return DECLINED
        # RFC 1812 5.2.2; 2**16 leaves 1 modulo 0xffff, so whole 32-bit addresses may be added
        if (0x4500 + tos + length + ident + frag + (ttl << 8) + protocol + check + source + destination) % 0xFFFF:
            return DECLINED
        peer = meet(source, destination)
        if peer is None:
            return DECLINED
        upper = start + 20
        if protocol == _TCP and size >= 40:
            at, delta, header = upper + 16, peer[2], buf[upper + 12] >> 2 & 60
        elif protocol == _UDP:
            at, delta, header = upper + 6, peer[2], 8
        elif protocol == _ICMP and buf[upper] in (8, 0) and not partial:
            # RFC 7915 4.2: the type, and a pseudo header that ICMPv4 does not have
            at, protocol, header = upper + 2, _ICMPV6, 8
            delta = peer[3] + size - 20 + _ICMPV6 + (0x7800 if buf[upper] else 0x8100)
        else:
            return DECLINED
        if (40 + header + gso_size if gso_size else size + 20) > mtu:  # RFC 7915 4.1
            return DECLINED
        (field,) = _read_u16(buf, at)
        if partial:
            field = (field + delta) % 0xFFFF
        elif gso_size or (protocol == _UDP and not field):  # RFC 7915 4.5: to be computed in full
            return DECLINED
        else:
            field = (field - delta) % 0xFFFF or (0xFFFF if protocol == _UDP else 0)
        _write_u16(buf, at, field)
        if protocol == _ICMPV6:
            buf[upper] = 128 if buf[upper] else 129
        _write_v6(buf, start - 20, 0x60000000 | tos << 20, size - 20, protocol, ttl - 1, peer[0], peer[1])
        return start - 20

    return to_ipv6


def _make_to_ipv4(meet: _MeetV6, mtu: int, ident: int) -> Translate:
    def to_ipv4(buf: bytearray, start: int, end: int, partial: bool, gso_size: int = 0) -> int:  # noqa: PLR0912 - as above
        nonlocal ident
        size = end - start
        if size < 48 or size > 65555:  # 65535 in IPv4
            return DECLINED
        flow, length, protocol, hop_limit, source, destination = _read_v6(buf, start)
        if flow >> 28 != 6 or length != size - 40 or hop_limit < 2:
            return DECLINED
        peer = meet(source, destination)
        if peer is None:
            return DECLINED
        upper, total = start + 40, size - 20
        if protocol == _TCP and size >= 60:
            at, delta, header = upper + 16, peer[2], buf[upper + 12] >> 2 & 60
        elif protocol == _UDP:
            at, delta, header = upper + 6, peer[2], 8
        elif protocol == _ICMPV6 and buf[upper] in (128, 129) and not partial:
            at, protocol, header = upper + 2, _ICMP, 8  # RFC 7915 5.2
            delta = -peer[4] - length - _ICMPV6 - (0x7800 if buf[upper] == 128 else 0x8100)
        else:
            return DECLINED
        largest = 20 + header + gso_size if gso_size else total
        (field,) = _read_u16(buf, at)
        if largest > mtu or (not partial and (gso_size or (protocol == _UDP and not field))):
            return DECLINED
        if partial:
            field = (field + delta) % 0xFFFF
        else:
            field = (field - delta) % 0xFFFF or (0 if protocol == _TCP else 0xFFFF)
        _write_u16(buf, at, field)
        if protocol == _ICMP:
            buf[upper] = 8 if buf[upper] == 128 else 0
        if largest > 1260:  # RFC 7915 5.1: DF, and then the identification says nothing (RFC 6864 4.1)
            flags, number = 0x4000, 0
        else:
            flags, number = 0, ident
            ident = (ident + 1 + (total // gso_size if gso_size else 0)) & 0xFFFF
        tos, ttl = flow >> 20 & 0xFF, hop_limit - 1
        check = -(0x4500 + tos + total + number + flags + (ttl << 8) + protocol + peer[3]) % 0xFFFF
        _write_v4(buf, start + 20, 0x45, tos, total, number, flags, ttl, protocol, check, peer[0], peer[1])
        return start + 20

    return to_ipv4
