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
    """Both directions for one CLAT: `to_ipv6` and `to_ipv4`, called as `Translate` says.

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
    ) -> None:
        """MTUs of the uplink and of the IPv4 device; `first_ident` should be random. ParseError for a bad prefix."""
        eam = EamTable([host_pair(clat_v4, clat_v6)])
        addresses = AddressMap(prefix, eam, well_known_strict=well_known_strict)
        v4, v6 = clat_v4.packed, clat_v6.packed
        self.to_ipv6: Translate = _make_to_ipv6(int(clat_v4), v6, _remote_v4(v4, v6, addresses), ipv6_mtu_bytes)
        self.to_ipv4: Translate = _make_to_ipv4(v4, v6, _remote_v6(v4, v6, addresses), ipv4_mtu_bytes, first_ident)


_V4Peer: TypeAlias = "tuple[bytes, int, int]"  # IPv6 address, change of the pseudo header's sum, its new sum
_V6Peer: TypeAlias = "tuple[bytes, int, int, int]"  # IPv4 address, change of the pseudo header's sum, new sum, old sum


def _remote_v4(own_v4: bytes, own_v6: bytes, addresses: AddressMap) -> Callable[[int], _V4Peer | None]:
    """What to know of a destination, by its number; remembered for `MAX_PEERS` of them."""
    peers: dict[int, _V4Peer] = {}

    def meet(number: int) -> _V4Peer | None:
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
        peers[number] = peer = (v6, total - word_sum(own_v4) - word_sum(v4), total)
        return peer

    return meet


def _remote_v6(own_v4: bytes, own_v6: bytes, addresses: AddressMap) -> Callable[[bytes], _V6Peer | None]:
    """What to know of a source, by its packed address; remembered for `MAX_PEERS` of them."""
    peers: dict[bytes, _V6Peer] = {}

    def meet(v6: bytes) -> _V6Peer | None:
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
        peers[v6] = peer = (v4, new - old, new, old)
        return peer

    return meet


def _make_to_ipv6(own_v4: int, own_v6: bytes, meet: Callable[[int], _V4Peer | None], mtu: int) -> Translate:
    def to_ipv6(  # noqa: PLR0912 - one pass without calls
        buf: bytearray, start: int, end: int, partial: bool, gso_size: int = 0
    ) -> int:
        size = end - start
        if size < 28 or start < HEADROOM_BYTES:
            return DECLINED
        version, tos, length, ident, frag, ttl, protocol, check, source, destination = _read_v4(buf, start)
        if version != 0x45 or length != size or frag & 0x3FFF or ttl < 2 or source != own_v4:
            return DECLINED
        # RFC 1812 5.2.2; 2**16 leaves 1 modulo 0xffff, so whole 32-bit addresses may be added
        if (0x4500 + tos + length + ident + frag + (ttl << 8) + protocol + check + source + destination) % 0xFFFF:
            return DECLINED
        peer = meet(destination)
        if peer is None:
            return DECLINED
        upper = start + 20
        if protocol == _TCP and size >= 40:
            at, delta, header = upper + 16, peer[1], buf[upper + 12] >> 2 & 60
        elif protocol == _UDP:
            at, delta, header = upper + 6, peer[1], 8
        elif protocol == _ICMP and buf[upper] in (8, 0) and not partial:
            # RFC 7915 4.2: the type, and a pseudo header that ICMPv4 does not have
            at, protocol, header = upper + 2, _ICMPV6, 8
            delta = peer[2] + size - 20 + _ICMPV6 + (0x7800 if buf[upper] else 0x8100)
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
        _write_v6(buf, start - 20, 0x60000000 | tos << 20, size - 20, protocol, ttl - 1, own_v6, peer[0])
        return start - 20

    return to_ipv6


def _make_to_ipv4(
    own_v4: bytes, own_v6: bytes, meet: Callable[[bytes], _V6Peer | None], mtu: int, ident: int
) -> Translate:
    def to_ipv4(buf: bytearray, start: int, end: int, partial: bool, gso_size: int = 0) -> int:  # noqa: PLR0912 - as above
        nonlocal ident
        size = end - start
        if size < 48 or size > 65555:  # 65535 in IPv4
            return DECLINED
        flow, length, protocol, hop_limit, source, destination = _read_v6(buf, start)
        if flow >> 28 != 6 or length != size - 40 or hop_limit < 2 or destination != own_v6:
            return DECLINED
        peer = meet(source)
        if peer is None:
            return DECLINED
        upper, total = start + 40, size - 20
        if protocol == _TCP and size >= 60:
            at, delta, header = upper + 16, peer[1], buf[upper + 12] >> 2 & 60
        elif protocol == _UDP:
            at, delta, header = upper + 6, peer[1], 8
        elif protocol == _ICMPV6 and buf[upper] in (128, 129) and not partial:
            at, protocol, header = upper + 2, _ICMP, 8  # RFC 7915 5.2
            delta = -peer[3] - length - _ICMPV6 - (0x7800 if buf[upper] == 128 else 0x8100)
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
        check = -(0x4500 + tos + total + number + flags + (ttl << 8) + protocol + peer[2]) % 0xFFFF
        _write_v4(buf, start + 20, 0x45, tos, total, number, flags, ttl, protocol, check, peer[0], own_v4)
        return start + 20

    return to_ipv4
