# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP messages across the translator, with the packets quoted in errors (RFC 7915 4.2, 4.3, 5.2, 5.3)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from clatnm.proto import icmp_codes
from clatnm.proto.addresses import AddressMap
from clatnm.proto.checksum import (
    checksum,
    pseudo_sum,
    transport_checksum,
    update,
    update_nonzero,
)
from clatnm.proto.icmp_codes import ECHO_TO_V4, ECHO_TO_V6, IcmpHeader, Mtus
from clatnm.proto.packet import (
    ICMPV6,
    IPV4_HEADER_BYTES,
    IPV6_HEADER_BYTES,
    MAX_BYTES_WITHOUT_DF,
    MAX_IPV4_PAYLOAD_BYTES,
    Ipv4Header,
    Ipv4Packet,
    Ipv6Header,
    Ipv6Packet,
    parse_ipv4,
    parse_ipv6,
)
from clatnm.proto.refusal import DropReason, Refused
from clatnm.proto.transport import protocol_to_v4, protocol_to_v6, translate_quoted

HEADER_BYTES = 8
MAX_ERROR_V4_BYTES = 576  # RFC 1812 4.3.2.3
MAX_ERROR_V6_BYTES = 1280  # RFC 4443 2.4 c

_ROOM_V4 = MAX_ERROR_V4_BYTES - IPV4_HEADER_BYTES - HEADER_BYTES
_ROOM_V6 = MAX_ERROR_V6_BYTES - IPV6_HEADER_BYTES - HEADER_BYTES

# RFC 4884 4.1, 4.4: with extensions the quoted packet is padded to this at least, its length counted in such units
_MIN_QUOTED = 128
_UNIT_V4, _UNIT_V6 = 4, 8
_EXTENSIBLE_V4 = (icmp_codes.UNREACHABLE_V4, icmp_codes.TIME_EXCEEDED_V4, icmp_codes.PARAMETER_V4)
_EXTENSIBLE_V6 = (icmp_codes.UNREACHABLE_V6, icmp_codes.TIME_EXCEEDED_V6)

_HEADER = struct.Struct("!BBHI")


class _Quoted(NamedTuple):
    """A packet in error, translated. `local` is our address in it; the rest tells of it as it was."""

    packet: bytes
    local: bytes
    size: int
    fragment: bool


class IcmpTranslator:
    """Both directions. The messages passed in are whole; all methods may be Refused."""

    def __init__(self, addresses: AddressMap, mtus: Mtus) -> None:
        self._addresses = addresses
        self._mtus = mtus

    def to_v6(self, packet: Ipv4Packet, source: bytes | None, destination: bytes) -> tuple[bytes, bytes]:
        """An ICMPv4 message, and its source: an error without one comes from our address that it is about."""
        kind, code, field, rest = _read(packet.payload)
        if kind in ECHO_TO_V6:
            if source is None:
                raise Refused(DropReason.SOURCE_UNMAPPED)
            # RFC 7915 4.2: a new type, and a pseudo header that was not there
            new = ECHO_TO_V6[kind]
            delta = (new - kind << 8) + pseudo_sum(source, destination, len(packet.payload), ICMPV6)
            return _HEADER.pack(new, code, update(field, delta), rest) + packet.payload[HEADER_BYTES:], source
        if not icmp_codes.is_error_v4(kind):
            raise Refused(DropReason.ICMP_TYPE)
        if checksum(packet.payload):
            raise Refused(DropReason.CHECKSUM)
        units = rest >> 16 & 0xFF if kind in _EXTENSIBLE_V4 else 0
        original, extension = _split(packet.payload[HEADER_BYTES:], units * _UNIT_V4)
        try:
            quoted = self._quoted_to_v6(original)
        except Refused:
            raise Refused(DropReason.ICMP_INNER) from None
        header = icmp_codes.error_to_v6(kind, code, rest, quoted_total=quoted.size, mtus=self._mtus)
        if header is None:
            raise Refused(DropReason.ICMP_TYPE)
        units, body = _join(quoted.packet, extension if header.extensible else b"", _ROOM_V6, _UNIT_V6)
        message = _error(header, units << 24, body)
        source = quoted.local if source is None else source
        field = transport_checksum(source, destination, ICMPV6, message)
        return message[:2] + field.to_bytes(2, "big") + message[4:], source

    def to_v4(self, packet: Ipv6Packet) -> bytes:
        """An ICMPv6 message."""
        kind, code, field, rest = _read(packet.payload)
        pseudo = pseudo_sum(packet.source, packet.destination, len(packet.payload), ICMPV6)
        if kind in ECHO_TO_V4:
            new = ECHO_TO_V4[kind]
            delta = (new - kind << 8) - pseudo
            return _HEADER.pack(new, code, update_nonzero(field, delta), rest) + packet.payload[HEADER_BYTES:]
        if not icmp_codes.is_error_v6(kind):  # RFC 7915 5.2: MLD, neighbour discovery, the unknown
            raise Refused(DropReason.ICMP_TYPE)
        if transport_checksum(packet.source, packet.destination, ICMPV6, packet.payload):
            raise Refused(DropReason.CHECKSUM)
        units = rest >> 24 if kind in _EXTENSIBLE_V6 else 0
        original, extension = _split(packet.payload[HEADER_BYTES:], units * _UNIT_V6)
        try:
            quoted = self._quoted_to_v4(original)
        except Refused:
            raise Refused(DropReason.ICMP_INNER) from None
        header = icmp_codes.error_to_v4(kind, code, rest, fragment=quoted.fragment, mtus=self._mtus)
        if header is None:
            raise Refused(DropReason.ICMP_TYPE)
        units, body = _join(quoted.packet, extension if header.extensible else b"", _ROOM_V4, _UNIT_V4)
        message = _error(header, units << 16, body)
        return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]

    def _quoted_to_v6(self, data: bytes) -> _Quoted:
        """A packet from a remote host to us, translated but for its TTL (RFC 7915 4.3)."""
        packet = parse_ipv4(data, quoted=True)
        source = self._addresses.remote_to_v6(packet.source)
        destination = self._addresses.local_to_v6(packet.destination)
        protocol = protocol_to_v6(packet.protocol)
        if destination is None:
            raise Refused(DropReason.ICMP_INNER)
        header = Ipv6Header(
            traffic_class=packet.tos,
            hop_limit=packet.ttl,
            protocol=protocol,
            source=source,
            destination=destination,
        )
        if protocol == ICMPV6:
            pseudo = pseudo_sum(source, destination, packet.length, ICMPV6)
            payload = _quoted_echo(packet, ECHO_TO_V6, pseudo)
        else:
            payload = translate_quoted(packet, source, destination)
        if packet.fragmented:
            whole = header.fragment(
                payload, ident=packet.ident, more=packet.more, offset=packet.offset, length=packet.length
            )
        else:
            whole = header.packet(payload, length=packet.length)
        return _Quoted(whole, destination, packet.size, packet.fragmented)

    def _quoted_to_v4(self, data: bytes) -> _Quoted:
        """A packet of ours to a remote host, translated but for its hop limit (RFC 7915 5.3)."""
        packet = parse_ipv6(data, quoted=True)
        source = self._addresses.local_to_v4(packet.source)
        destination = self._addresses.remote_to_v4(packet.destination)
        protocol = protocol_to_v4(packet.protocol)
        if source is None or packet.late_extension or packet.length > MAX_IPV4_PAYLOAD_BYTES:
            raise Refused(DropReason.ICMP_INNER)
        header = Ipv4Header(
            tos=packet.traffic_class,
            ttl=packet.hop_limit,
            protocol=protocol,
            source=source,
            destination=destination,
        )
        if packet.protocol == ICMPV6:
            pseudo = pseudo_sum(packet.source, packet.destination, packet.length, ICMPV6)
            payload = _quoted_echo(packet, ECHO_TO_V4, -pseudo)
        else:
            payload = translate_quoted(packet, source, destination)
        whole = header.packet(
            payload,
            ident=packet.ident,
            df=not packet.header and IPV4_HEADER_BYTES + packet.length > MAX_BYTES_WITHOUT_DF,
            more=packet.more,
            offset=packet.offset,
            length=packet.length,
        )
        return _Quoted(whole, source, packet.size, packet.header)


def _read(message: bytes) -> tuple[int, int, int, int]:
    """Type, code, checksum and the 32 bits behind it."""
    if len(message) < HEADER_BYTES:
        raise Refused(DropReason.TRUNCATED)
    kind, code, field, rest = _HEADER.unpack_from(message)
    return kind, code, field, rest


def _error(header: IcmpHeader, length: int, body: bytes) -> bytes:
    """An error message with its checksum still to come; `length`: the attribute of RFC 4884 in its place."""
    return _HEADER.pack(header.kind, header.code, 0, header.rest | length) + body


def _quoted_echo(packet: Ipv4Packet | Ipv6Packet, kinds: dict[int, int], pseudo: int) -> bytes:
    """An echo message, or its start, inside an error; any other ICMP message may not be there (RFC 7915 4.3)."""
    payload = packet.payload
    if packet.offset or not payload:
        return payload
    kind = kinds.get(payload[0])
    if kind is None:
        raise Refused(DropReason.ICMP_INNER)
    # The checksum of a fragmented message cannot be followed: how long it all was is not known here.
    if len(payload) < 4 or packet.more:
        return bytes([kind]) + payload[1:]
    field = update_nonzero(int.from_bytes(payload[2:4], "big"), (kind - payload[0] << 8) + pseudo)
    return bytes([kind, payload[1]]) + field.to_bytes(2, "big") + payload[4:]


def _split(body: bytes, quoted_bytes: int) -> tuple[bytes, bytes]:
    """The quoted packet and the extensions behind it (RFC 4884 4); the latter empty when there are none."""
    if not 0 < quoted_bytes < len(body):
        return body, b""
    return body[:quoted_bytes], body[quoted_bytes:]


def _join(quoted: bytes, extension: bytes, room: int, unit: int) -> tuple[int, bytes]:
    """Length attribute and body: the quoted packet gives way to the extensions, down to 128 bytes (RFC 4884 4).

    Extensions that do not fit then are left out whole; part of them would not even sum up (RFC 4884 7).
    """
    if not extension or _MIN_QUOTED + len(extension) > room:
        return 0, quoted[:room]
    quoted = quoted[: (room - len(extension)) // unit * unit]
    size = max(_MIN_QUOTED, -(-len(quoted) // unit) * unit)
    return size // unit, quoted.ljust(size, b"\0") + extension
