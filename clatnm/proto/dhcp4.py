# SPDX-License-Identifier: GPL-2.0-or-later
"""DHCPv4 messages (RFC 2131) as they pass by on the wire, as far as a listener needs them: who asks, what is answered.

Option 108 in an answer says that the network wants hosts without IPv4 (RFC 8925).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from clatnm.errors import ParseError
from clatnm.proto.packet import UDP, parse_ipv4
from clatnm.proto.refusal import Refused

SERVER_PORT, CLIENT_PORT = 67, 68

# RFC 8925 section 3.4: however short a time the server names, the client stays away from DHCPv4 this long.
MIN_V6ONLY_WAIT_S = 300

_UDP = struct.Struct("!HHH2x")
# RFC 2131 section 2: op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file
_FIXED = struct.Struct("!BBBxI4xI12x16s64s128s")
_MAGIC = b"\x63\x82\x53\x63"  # RFC 2131 section 3
_BOOTREQUEST, _BOOTREPLY = 1, 2
_CHADDR_BYTES = 16

_PAD, _OVERLOAD, _TYPE, _SERVER, _WANTED, _V6ONLY, _END = 0, 52, 53, 54, 55, 108, 255
_IN_FILE, _IN_SNAME = 1, 2


class MessageType(IntEnum):
    """RFC 2132 section 9.6."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


_FROM_SERVERS = frozenset({MessageType.OFFER, MessageType.ACK, MessageType.NAK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One DHCPv4 message."""

    kind: MessageType
    xid: int
    client: bytes
    """The client's link-layer address, whoever sent the message."""
    renewing: bool = False
    """The client has an address (`ciaddr`) and wants to keep it."""
    chosen: bool = False
    """The client names a server whose offer it takes (RFC 2131 section 4.3.2)."""
    wants_v6only: bool = False
    """The client asks for option 108, which says that it can do without IPv4."""
    v6only_wait_s: int | None = None
    """Option 108 as the server sent it, in seconds."""

    @property
    def from_server(self) -> bool:
        return self.kind in _FROM_SERVERS


def parse(packet: bytes) -> Message:
    """Read one message in its IPv4 packet, checksums ignored: those of a packet just sent may be still to be filled in.

    ParseError when it is anything else, or of a type that plays no part in getting an address.
    """
    from_server, body = _datagram(packet)
    if len(body) < _FIXED.size + len(_MAGIC):
        raise ParseError(f"DHCPv4 message of {len(body)} bytes")
    op, _, address_bytes, xid, ciaddr, chaddr, sname, file = _FIXED.unpack_from(body)
    if op != (_BOOTREPLY if from_server else _BOOTREQUEST):
        raise ParseError(f"DHCPv4 operation {op} in the wrong direction")
    if address_bytes > _CHADDR_BYTES:
        raise ParseError(f"DHCPv4 client address of {address_bytes} bytes")
    if not body.startswith(_MAGIC, _FIXED.size):
        raise ParseError("BOOTP message, not DHCPv4")
    options = _options(body[_FIXED.size + len(_MAGIC) :], file=file, sname=sname)
    kind = _kind(options.get(_TYPE, b""))
    if (kind in _FROM_SERVERS) != from_server:
        raise ParseError(f"DHCPv4 {kind.name} in the wrong direction")
    wait = options.get(_V6ONLY, b"")
    return Message(
        kind=kind,
        xid=xid,
        client=chaddr[:address_bytes],
        renewing=not from_server and ciaddr != 0,
        chosen=not from_server and _SERVER in options,
        wants_v6only=not from_server and _V6ONLY in options.get(_WANTED, b""),
        # RFC 8925 section 3.1: of any other length it is no such option.
        v6only_wait_s=int.from_bytes(wait, "big") if from_server and len(wait) == 4 else None,
    )


def _datagram(packet: bytes) -> tuple[bool, bytes]:
    """Whether a server sent it, and the UDP payload."""
    try:
        ip = parse_ipv4(packet, quoted=True)
    except Refused as refused:
        raise ParseError(f"IPv4 packet: {refused}") from None
    if ip.protocol != UDP or ip.fragmented or len(ip.payload) < _UDP.size:
        raise ParseError("not a UDP datagram")
    _, port, length = _UDP.unpack_from(ip.payload)
    if not _UDP.size <= length <= len(ip.payload):
        raise ParseError(f"UDP datagram of {length} bytes in {len(ip.payload)}")
    if port not in (SERVER_PORT, CLIENT_PORT):
        raise ParseError(f"UDP port {port} is not DHCPv4")
    return port == CLIENT_PORT, ip.payload[_UDP.size : length]


def _kind(value: bytes) -> MessageType:
    try:
        (number,) = value
        return MessageType(number)
    except ValueError:
        raise ParseError(f"DHCPv4 message type {value.hex() or 'missing'}") from None


def _options(area: bytes, *, file: bytes, sname: bytes) -> dict[int, bytes]:
    """All options by code; one in several parts is joined in the order of RFC 3396 section 5."""
    found: dict[int, bytes] = {}
    _collect(area, found)
    overload = found.get(_OVERLOAD, b"\0")  # RFC 2132 section 9.3
    if len(overload) != 1 or overload[0] > _IN_FILE | _IN_SNAME:
        raise ParseError(f"DHCPv4 option overload {overload.hex()}")
    if overload[0] & _IN_FILE:
        _collect(file, found)
    if overload[0] & _IN_SNAME:
        _collect(sname, found)
    return found


def _collect(area: bytes, found: dict[int, bytes]) -> None:
    """Add the options of one area. One without an end option ends where it ends."""
    at = 0
    while at < len(area) and area[at] != _END:
        if area[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(area) or at + 2 + area[at + 1] > len(area):
            raise ParseError(f"DHCPv4 option {area[at]} is cut short")
        code, length = area[at], area[at + 1]
        found[code] = found.get(code, b"") + area[at + 2 : at + 2 + length]
        at += 2 + length
