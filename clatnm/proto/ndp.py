# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbour discovery on the wire (RFC 4861): router advertisements in, solicitations and advertisements both ways.

Router advertisements come from a raw ICMPv6 socket: a message whose checksum the kernel has verified, and of which
it verified nothing else. Neighbour messages come from a packet socket: whole IPv6 packets that nobody verified.
Options we do not know are skipped; one we know that has a wrong length is left out as its own RFC says.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TypeVar

from clatnm.errors import ParseError
from clatnm.proto.checksum import transport_checksum
from clatnm.proto.pref64 import OPTION_PREF64, Pref64Option, parse_option

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
NEIGHBOR_SOLICITATION = 135
NEIGHBOR_ADVERTISEMENT = 136

ALL_NODES = IPv6Address("ff02::1")
ALL_ROUTERS = IPv6Address("ff02::2")
UNSPECIFIED = IPv6Address("::")

_SOURCE_LINK, _TARGET_LINK, _PREFIX, _MTU, _NONCE, _RDNSS = 1, 2, 3, 5, 14, 25  # option types
_ICMPV6 = 58
_HOP_LIMIT = 255
_MAC_BYTES = 6
_MIN_MTU_BYTES = 1280  # RFC 8200 5
_IPV6_HEADER = struct.Struct("!IHBB16s16s")
_NEIGHBOR_BYTES = 24
_ROUTER_BYTES = 16
_FLAG_ROUTER, _FLAG_SOLICITED, _FLAG_OVERRIDE = 0x80, 0x40, 0x20
_SOLICITED_NODE = IPv6Network("ff02::1:ff00:0/104")  # RFC 4291 2.7.1

_T = TypeVar("_T")


class Preference(enum.IntEnum):
    """How a router ranks among the default routers of a link (RFC 4191 2.1)."""

    LOW = -1
    MEDIUM = 0
    HIGH = 1


_PREFERENCE_BITS = {0b01: Preference.HIGH, 0b11: Preference.LOW}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixInfo:
    """A prefix information option (RFC 4861 4.6.2); 0xffffffff seconds mean for ever."""

    prefix: IPv6Network
    on_link: bool
    autonomous: bool
    valid_s: int
    preferred_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsServer:
    """One recursive DNS server of the link (RFC 8106 5.1); lifetime 0 withdraws it, 0xffffffff means for ever."""

    address: IPv6Address
    lifetime_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAdvert:
    """What one router said (RFC 4861 4.2). `router` has no scope; lifetime 0 says "not a default router"."""

    router: IPv6Address
    lifetime_s: int
    preference: Preference
    hop_limit: int
    managed: bool
    other: bool
    mtu_bytes: int | None
    link_address: bytes | None
    prefixes: tuple[PrefixInfo, ...]
    rdnss: tuple[DnsServer, ...]
    pref64: tuple[Pref64Option, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborSolicit:
    """The question who has `target` (RFC 4861 4.3); from :: it is a duplicate address probe (RFC 4862 5.4.2)."""

    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    link_address: bytes | None
    nonce: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborAdvert:
    """The claim that `target` is at `link_address` (RFC 4861 4.4)."""

    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    link_address: bytes | None
    router: bool
    solicited: bool
    override: bool


def parse_router_advertisement(data: bytes, *, source: IPv6Address, hop_limit: int) -> RouterAdvert:
    """The ICMPv6 message of a router advertisement; ParseError when it must be discarded (RFC 4861 6.1.2)."""
    if hop_limit != _HOP_LIMIT:  # RFC 4861 6.1.2: it may have come from another link
        raise ParseError(f"router advertisement with hop limit {hop_limit}")
    if not source.is_link_local:  # RFC 4861 6.1.2
        raise ParseError(f"router advertisement from {source}, which is not link-local")
    _check_message(data, kind=ROUTER_ADVERTISEMENT, size=_ROUTER_BYTES)
    hop, flags, lifetime_s = struct.unpack_from("!BBH", data, 4)
    options = list(_options(data, _ROUTER_BYTES))
    # RFC 4191 2.2: without a lifetime the preference is ignored; the reserved value is taken as medium
    preference = _PREFERENCE_BITS.get(flags >> 3 & 0b11, Preference.MEDIUM) if lifetime_s else Preference.MEDIUM
    return RouterAdvert(
        router=IPv6Address(source.packed),
        lifetime_s=lifetime_s,
        preference=preference,
        hop_limit=hop,
        managed=bool(flags & 0x80),
        other=bool(flags & 0x40),
        mtu_bytes=_first(options, _MTU, _mtu),
        link_address=_first(options, _SOURCE_LINK, _mac),
        prefixes=tuple(_each(options, _PREFIX, _prefix_info)),
        rdnss=tuple(server for servers in _each(options, _RDNSS, _dns_servers) for server in servers),
        pref64=tuple(_each(options, OPTION_PREF64, parse_option)),
    )


def router_solicitation(*, link_address: bytes | None) -> bytes:
    """An ICMPv6 router solicitation for ff02::2 (RFC 4861 4.1); the raw socket fills in its checksum.

    Pass None where the link has no addresses, and must when it is sent from ::.
    """
    return struct.pack("!BBHI", ROUTER_SOLICITATION, 0, 0, 0) + _link_option(_SOURCE_LINK, link_address)


def router_solicitation_packet(*, source: IPv6Address) -> bytes:
    """The same as a whole IPv6 packet to ff02::2, without link address; :: may be its source (RFC 4861 4.1)."""
    return _packet(source, ALL_ROUTERS, router_solicitation(link_address=None))


def neighbor_solicitation(
    *,
    source: IPv6Address,
    target: IPv6Address,
    link_address: bytes | None,
    destination: IPv6Address | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """A whole IPv6 packet asking for `target` (RFC 4861 4.3), to its solicited-node group unless told otherwise.

    From :: it is a duplicate address probe: no link address goes in (RFC 4861 4.3), and a `nonce` of 6 random bytes
    tells its echo from another node's (RFC 7527 4.1).
    """
    body = struct.pack("!BBHI16s", NEIGHBOR_SOLICITATION, 0, 0, 0, target.packed)
    body += _link_option(_SOURCE_LINK, None if source == UNSPECIFIED else link_address)
    body += b"" if nonce is None else _option(_NONCE, nonce)  # RFC 3971 5.3.2
    return _packet(source, destination or solicited_node(target), body)


def neighbor_advertisement(
    *,
    source: IPv6Address,
    destination: IPv6Address,
    target: IPv6Address,
    link_address: bytes,
    solicited: bool,
    override: bool,
) -> bytes:
    """A whole IPv6 packet saying that `target` is at `link_address` (RFC 4861 4.4); never as a router."""
    flags = (_FLAG_SOLICITED if solicited else 0) | (_FLAG_OVERRIDE if override else 0)
    body = struct.pack("!BBHB3x16s", NEIGHBOR_ADVERTISEMENT, 0, 0, flags, target.packed)
    return _packet(source, destination, body + _link_option(_TARGET_LINK, link_address))


def parse_neighbor(packet: bytes) -> NeighborSolicit | NeighborAdvert:
    """A whole IPv6 packet with a neighbour solicitation or advertisement; link-layer padding after it is no harm.

    ParseError when it is none, when RFC 4861 7.1.1 or 7.1.2 has it discarded, or behind an extension header.
    """
    source, destination, data = _open(packet)
    kind = data[0] if data else None
    if kind not in (NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT):
        raise ParseError(f"ICMPv6 type {kind} is no neighbour message")
    _check_message(data, kind=kind, size=_NEIGHBOR_BYTES)
    target = IPv6Address(data[8:24])
    if target.is_multicast:  # RFC 4861 7.1.1, 7.1.2
        raise ParseError(f"neighbour message about the group {target}")
    options = list(_options(data, _NEIGHBOR_BYTES))
    if kind == NEIGHBOR_SOLICITATION:
        return _solicit(source, destination, target, options)
    return _advert(source, destination, target, options, flags=data[4])


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The group that the owner of an address listens to (RFC 4291 2.7.1)."""
    return IPv6Address(_SOLICITED_NODE.network_address.packed[:13] + address.packed[13:])


def multicast_mac(group: IPv6Address) -> bytes:
    """The Ethernet address of a multicast group (RFC 2464 7)."""
    return b"\x33\x33" + group.packed[12:]


def _solicit(
    source: IPv6Address, destination: IPv6Address, target: IPv6Address, options: list[tuple[int, bytes]]
) -> NeighborSolicit:
    if source == UNSPECIFIED:  # RFC 4861 7.1.1
        if destination not in _SOLICITED_NODE:
            raise ParseError(f"duplicate address probe to {destination}")
        if any(kind == _SOURCE_LINK for kind, _ in options):
            raise ParseError("duplicate address probe with a source link-layer address")
    return NeighborSolicit(
        source=source,
        destination=destination,
        target=target,
        link_address=_first(options, _SOURCE_LINK, _mac),
        nonce=_first(options, _NONCE, bytes),
    )


def _advert(
    source: IPv6Address, destination: IPv6Address, target: IPv6Address, options: list[tuple[int, bytes]], *, flags: int
) -> NeighborAdvert:
    if destination.is_multicast and flags & _FLAG_SOLICITED:  # RFC 4861 7.1.2
        raise ParseError(f"solicited neighbour advertisement to the group {destination}")
    return NeighborAdvert(
        source=source,
        destination=destination,
        target=target,
        link_address=_first(options, _TARGET_LINK, _mac),
        router=bool(flags & _FLAG_ROUTER),
        solicited=bool(flags & _FLAG_SOLICITED),
        override=bool(flags & _FLAG_OVERRIDE),
    )


def _packet(source: IPv6Address, destination: IPv6Address, body: bytes) -> bytes:
    field = transport_checksum(source.packed, destination.packed, _ICMPV6, body)
    header = _IPV6_HEADER.pack(6 << 28, len(body), _ICMPV6, _HOP_LIMIT, source.packed, destination.packed)
    return header + body[:2] + field.to_bytes(2, "big") + body[4:]


def _open(packet: bytes) -> tuple[IPv6Address, IPv6Address, bytes]:
    """Source, destination and ICMPv6 message of a packet that has not crossed a router and is intact."""
    if len(packet) < _IPV6_HEADER.size:
        raise ParseError("shorter than an IPv6 header")
    first, size, protocol, hop_limit, source, destination = _IPV6_HEADER.unpack_from(packet)
    if first >> 28 != 6 or protocol != _ICMPV6:
        raise ParseError("no ICMPv6 directly behind an IPv6 header")
    if hop_limit != _HOP_LIMIT:  # RFC 4861 7.1.1, 7.1.2
        raise ParseError(f"neighbour message with hop limit {hop_limit}")
    data = packet[_IPV6_HEADER.size : _IPV6_HEADER.size + size]
    if len(data) < size:
        raise ParseError("IPv6 packet cut short")
    if source[0] == 0xFF:  # RFC 4291 2.7
        raise ParseError("IPv6 packet from a group")
    if transport_checksum(source, destination, _ICMPV6, data):  # RFC 4861 7.1.1, 7.1.2
        raise ParseError("neighbour message with a wrong checksum")
    return IPv6Address(source), IPv6Address(destination), data


def _check_message(data: bytes, *, kind: int, size: int) -> None:
    if len(data) < size:  # RFC 4861 6.1.2, 7.1.1, 7.1.2
        raise ParseError(f"ICMPv6 message of {len(data)} bytes, needs {size}")
    if data[0] != kind:
        raise ParseError(f"ICMPv6 type {data[0]}, not {kind}")
    if data[1] != 0:  # RFC 4861 6.1.2, 7.1.1, 7.1.2
        raise ParseError(f"ICMPv6 type {kind} with code {data[1]}")


def _options(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Type of each option and what follows its length byte (RFC 4861 4.6)."""
    while offset < len(data):
        units = data[offset + 1] if offset + 1 < len(data) else 1
        end = offset + 8 * units
        if units == 0:  # RFC 4861 4.6: the whole message is discarded
            raise ParseError(f"option {data[offset]} of length 0")
        if end > len(data):
            raise ParseError(f"option {data[offset]} past the end of the message")
        yield data[offset], data[offset + 2 : end]
        offset = end


def _each(options: Iterable[tuple[int, bytes]], kind: int, parse: Callable[[bytes], _T | None]) -> Iterator[_T]:
    for found, body in options:
        value = parse(body) if found == kind else None
        if value is not None:
            yield value


def _first(options: Iterable[tuple[int, bytes]], kind: int, parse: Callable[[bytes], _T | None]) -> _T | None:
    return next(_each(options, kind, parse), None)


def _mac(body: bytes) -> bytes | None:
    return body if len(body) == _MAC_BYTES else None  # RFC 2464 6


def _mtu(body: bytes) -> int | None:
    if len(body) != 6:  # RFC 4861 4.6.4
        return None
    mtu_bytes = int.from_bytes(body[2:], "big")
    return mtu_bytes if mtu_bytes >= _MIN_MTU_BYTES else None  # RFC 4861 6.3.4


def _prefix_info(body: bytes) -> PrefixInfo | None:
    if len(body) != 30 or body[0] > 128:  # RFC 4861 4.6.2
        return None
    length, flags, valid_s, preferred_s, prefix = struct.unpack("!BBII4x16s", body)
    network = IPv6Network((prefix, length), strict=False)  # RFC 4861 4.6.2: bits past the length are ignored
    if network.is_link_local or network.is_multicast:  # RFC 4861 6.3.4, RFC 4862 5.5.3 b; RFC 4291 2.7: never a source
        return None
    return PrefixInfo(
        prefix=network,
        on_link=bool(flags & 0x80),
        autonomous=bool(flags & 0x40) and preferred_s <= valid_s,  # RFC 4862 5.5.3 c: else no address from it
        valid_s=valid_s,
        preferred_s=preferred_s,
    )


def _dns_servers(body: bytes) -> tuple[DnsServer, ...] | None:
    if len(body) < 22 or (len(body) - 6) % 16:  # RFC 8106 5.3.1: Length is odd and at least 3
        return None
    lifetime_s = int.from_bytes(body[2:6], "big")
    addresses = (IPv6Address(body[at : at + 16]) for at in range(6, len(body), 16))
    return tuple(DnsServer(address=address, lifetime_s=lifetime_s) for address in addresses if _is_server(address))


def _is_server(address: IPv6Address) -> bool:
    """Could a resolver of this link have such an address? :: and ::1 would lead back to this very host."""
    return not (address.is_unspecified or address.is_loopback or address.is_multicast)


def _option(kind: int, body: bytes) -> bytes:
    units, rest = divmod(len(body) + 2, 8)
    assert rest == 0, "an option's body is 6 bytes or 8 n + 6"
    return bytes((kind, units)) + body


def _link_option(kind: int, link_address: bytes | None) -> bytes:
    return b"" if link_address is None else _option(kind, link_address)
