# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink messages and attributes, as the Linux kernel writes and reads them (RFC 3549 2.2; linux/netlink.h)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from clatnm.errors import ParseError

ERROR: Final = 2
REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP: Final = 0x300

_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
# Above these bits an attribute says how it is to be read: nested, or in network order.
_TYPE_MASK: Final = 0x3FFF


class Message(NamedTuple):
    """One message without its header; `number` is that of the request it answers, 0 for none."""

    kind: int
    number: int
    body: bytes


def message(kind: int, body: bytes, *, flags: int, number: int = 1) -> bytes:
    """A message to send; `body` ends at a multiple of 4 bytes."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, filled up to a multiple of 4 bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def messages(data: bytes) -> Iterator[Message]:
    """Those of a datagram. ParseError."""
    while data:
        if len(data) < _HEADER.size:
            raise ParseError("netlink message cut short")
        length, kind, _, number, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise ParseError("netlink message of a false length")
        yield Message(kind, number, data[_HEADER.size : length])
        data = data[(length + 3) & ~3 :]


def attributes(data: bytes) -> dict[int, bytes]:
    """The value of each type; of several with one type the last. ParseError."""
    return dict(_attributes(data))


def values(data: bytes) -> list[bytes]:
    """Of an array: the values alone, their types are mere numbers. ParseError."""
    return [value for _, value in _attributes(data)]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        if len(data) < _ATTRIBUTE.size:
            raise ParseError("netlink attribute cut short")
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise ParseError("netlink attribute of a false length")
        yield kind & _TYPE_MASK, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def number(told: dict[int, bytes], kind: int) -> int:
    """An attribute of 16 or 32 bits as a number. ParseError: it is not there, or of another size."""
    value = told.get(kind, b"")
    if len(value) not in (2, 4):
        raise ParseError("netlink attribute is missing")
    return int.from_bytes(value, sys.byteorder)


def error_code(body: bytes) -> int:
    """What a message of kind ERROR says: an errno, 0 for an acknowledgement. ParseError."""
    if len(body) < 4:
        raise ParseError("netlink error cut short")
    return -int(struct.unpack_from("=i", body)[0])
