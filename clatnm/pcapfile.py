# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture files: pcap read and written, pcapng read (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).

Pure but for the streams that are passed in. A damaged file gives all records before the damage, then ParseError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from clatnm.errors import ParseError

LINKTYPE_RAW = 101
MAX_PACKET_BYTES = 262144  # as libpcap has it; a larger number is damage, and no reason to look for that much memory

_MAX_BLOCK_BYTES = 16 << 20
_NS = 10**9
_TICK_NS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}  # by the file's magic number
_MAX_TIME_NS = 2**32 * _NS  # seconds have 32 bits in pcap
_LINKTYPE_MASK = 0x03FFFFFF  # above it the length of frame check sequences

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER = 0x1A2B3C4D
_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14


class Record(NamedTuple):
    """A frame: nanoseconds since 1970, its link type, the bytes captured, and how many it had on the wire."""

    time_ns: int
    link: int
    data: bytes
    length: int


class Capture(NamedTuple):
    """A file that is being read. fine: its time stamps may be finer than microseconds."""

    fine: bool
    records: Iterator[Record]


def read(stream: BinaryIO) -> Capture:
    """Begin to read a file. ParseError: no capture file; in the iteration: a damaged one."""
    magic = stream.read(4)
    if magic == _SECTION.to_bytes(4, "big"):
        return Capture(fine=True, records=_numbered(_read_pcapng(stream)))
    for order in "<>":
        tick_ns = _TICK_NS.get(struct.unpack(f"{order}I", magic)[0]) if len(magic) == 4 else None
        if tick_ns is not None:
            link = _read_header(stream, order)
            return Capture(fine=tick_ns == 1, records=_numbered(_read_pcap(stream, order, tick_ns=tick_ns, link=link)))
    raise ParseError("not a capture file" if magic else "empty, not a capture file", hint="expected: pcap or pcapng")


class Writer:
    """Writes a pcap file of raw IP packets; its header at once. fine: in nanoseconds, else in microseconds."""

    def __init__(self, stream: BinaryIO, *, fine: bool) -> None:
        self._stream = stream
        self._tick_ns = 1 if fine else 1000
        magic = next(magic for magic, tick_ns in _TICK_NS.items() if tick_ns == self._tick_ns)
        stream.write(struct.pack("<IHHiIII", magic, 2, 4, 0, 0, MAX_PACKET_BYTES, LINKTYPE_RAW))

    def write(self, time_ns: int, data: bytes, length: int) -> None:
        """One packet of `length` bytes, of which these are known; `time_ns` as from a `Record`."""
        seconds, rest_ns = divmod(time_ns, _NS)
        self._stream.write(struct.pack("<IIII", seconds, rest_ns // self._tick_ns, len(data), length) + data)


def _numbered(records: Iterator[Record]) -> Iterator[Record]:
    """The records, with their number in what is said about damage."""
    number = 0
    try:
        for record in records:
            yield record
            number += 1
    except ParseError as error:
        raise ParseError(f"damaged behind packet {number}" if number else "damaged", hint=str(error)) from None


def _take(stream: BinaryIO, size: int, *, may_end: bool = False) -> bytes:
    """Exactly `size` bytes; none where the stream may end and does."""
    data = stream.read(size)
    if len(data) < size and (data or not may_end):
        raise ParseError("it ends too early")
    return data


def _record(time_ns: int, link: int, data: bytes, length: int) -> Record:
    if not 0 <= time_ns < _MAX_TIME_NS:
        raise ParseError("a time that is not between 1970 and 2106")
    return Record(time_ns, link, data, max(len(data), length))


def _read_header(stream: BinaryIO, order: str) -> int:
    major, minor, _, _, _, network = struct.unpack(f"{order}HHiIII", _take(stream, 20))
    if major != 2:
        raise ParseError(f"pcap version {major}.{minor}", hint="only version 2 is known")
    return int(network) & _LINKTYPE_MASK


def _read_pcap(stream: BinaryIO, order: str, *, tick_ns: int, link: int) -> Iterator[Record]:
    header = struct.Struct(f"{order}IIII")
    while head := _take(stream, header.size, may_end=True):
        seconds, ticks, size, length = header.unpack(head)
        data = _take(stream, _checked(size))
        yield _record(seconds * _NS + ticks * tick_ns, link, data, length)


def _checked(size: int) -> int:
    if size > MAX_PACKET_BYTES:
        raise ParseError(f"a packet of {size} bytes")
    return size


class _Interface(NamedTuple):
    link: int
    snap_bytes: int
    to_ns: Callable[[int], int]


def _read_pcapng(stream: BinaryIO) -> Iterator[Record]:
    order, interfaces = "", list[_Interface]()
    section = kind_bytes = _SECTION.to_bytes(4, "big")  # the same in either byte order; the first one is read already
    while kind_bytes:
        if kind_bytes == section:
            length_bytes, magic = _take(stream, 4), _take(stream, 4)
            order = _byte_order(magic)
            interfaces.clear()
            _read_body(stream, order, length_bytes, magic)
        else:
            (kind,) = struct.unpack(f"{order}I", kind_bytes)
            body = _read_body(stream, order, _take(stream, 4), b"")
            if kind == _INTERFACE:
                interfaces.append(_interface(body, order))
            elif kind in _PACKETS:
                yield _PACKETS[kind](body, order, interfaces)
        kind_bytes = _take(stream, 4, may_end=True)


def _byte_order(magic: bytes) -> str:
    for order in "<>":
        if struct.unpack(f"{order}I", magic)[0] == _BYTE_ORDER:
            return order
    raise ParseError("a section without a byte order")


def _read_body(stream: BinaryIO, order: str, length_bytes: bytes, start: bytes) -> bytes:
    """The rest of a block, `start` of its body being read already; its length stands before and after it."""
    (length,) = struct.unpack(f"{order}I", length_bytes)
    if length % 4 or not 12 + len(start) <= length <= _MAX_BLOCK_BYTES:
        raise ParseError(f"a block of {length} bytes")
    body = start + _take(stream, length - 12 - len(start))
    if _take(stream, 4) != length_bytes:
        raise ParseError("a block with two lengths")
    return body


def _fields(layout: str, body: bytes) -> tuple[int, ...]:
    if len(body) < struct.calcsize(layout):
        raise ParseError("a block that is too short")
    return struct.unpack_from(layout, body)


def _interface(body: bytes, order: str) -> _Interface:
    link, _, snap_bytes = _fields(f"{order}HHI", body)
    ticks_per_s, offset_ns, at = 10**6, 0, 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == _END_OF_OPTIONS:
            break
        if code == _IF_TSRESOL and len(value) == 1:
            ticks_per_s = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _IF_TSOFFSET and len(value) == 8:
            offset_ns = struct.unpack(f"{order}q", value)[0] * _NS
        at += 4 + (size + 3 & ~3)
    return _Interface(link, snap_bytes, lambda ticks: ticks * _NS // ticks_per_s + offset_ns)


def _enhanced_packet(body: bytes, order: str, interfaces: list[_Interface]) -> Record:
    number, high, low, size, length = _fields(f"{order}IIIII", body)
    return _packet(body[20:], interfaces, number, ticks=high << 32 | low, size=size, length=length)


def _old_packet(body: bytes, order: str, interfaces: list[_Interface]) -> Record:
    number, _, high, low, size, length = _fields(f"{order}HHIIII", body)
    return _packet(body[20:], interfaces, number, ticks=high << 32 | low, size=size, length=length)


def _simple_packet(body: bytes, order: str, interfaces: list[_Interface]) -> Record:
    """It has neither a time stamp nor a captured length."""
    (length,) = _fields(f"{order}I", body)
    size = min(length, interfaces[0].snap_bytes or length) if interfaces else length
    return _packet(body[4:], interfaces, 0, ticks=None, size=size, length=length)


def _packet(
    rest: bytes, interfaces: list[_Interface], number: int, *, ticks: int | None, size: int, length: int
) -> Record:
    if number >= len(interfaces):
        raise ParseError(f"a packet of interface {number}, which was not described")
    if _checked(size) > len(rest):
        raise ParseError("a packet longer than its block")
    interface = interfaces[number]
    time_ns = 0 if ticks is None else interface.to_ns(ticks)
    return _record(time_ns, interface.link, rest[:size], length)


_PACKETS = {_ENHANCED: _enhanced_packet, _OLD_PACKET: _old_packet, _SIMPLE: _simple_packet}
