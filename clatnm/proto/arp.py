# SPDX-License-Identifier: GPL-2.0-or-later
"""ARP on Ethernet (RFC 826), as far as asking whether somebody is there takes it (RFC 5227)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from clatnm.errors import ParseError

ETHERTYPE = 0x0806

_MESSAGE = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST, _REPLY = 1, 0x0800, 1, 2


def probe(target: IPv4Address, *, link_address: bytes) -> bytes:
    """A question for `target` that names no sender, and so leaves no trace in anybody's cache (RFC 5227 2.1.1)."""
    return _MESSAGE.pack(_ETHERNET, _IPV4, 6, 4, _REQUEST, link_address, bytes(4), bytes(6), target.packed)


def parse_reply(message: bytes) -> IPv4Address:
    """Who speaks up in a reply. ParseError for any other message."""
    if len(message) < _MESSAGE.size:
        raise ParseError("shorter than an ARP message")
    hardware, protocol, hardware_size, protocol_size, operation, _, sender, _, _ = _MESSAGE.unpack_from(message)
    if (hardware, protocol, hardware_size, protocol_size, operation) != (_ETHERNET, _IPV4, 6, 4, _REPLY):
        raise ParseError("not an ARP reply for IPv4 on Ethernet")
    return IPv4Address(sender)
