# SPDX-License-Identifier: GPL-2.0-or-later
"""Doing in software what a vnet header says is still to do: checksums and segmentation.

Only packets that the fast path declines come here, a large packet with IP options for instance.
"""

from __future__ import annotations

import functools

from clatnm.proto.checksum import checksum, finish, transport_checksum, word_sum
from clatnm.worker import vnet

MAX_SEGMENTS = 512  # one vnet header makes at most so much work

_TCP, _UDP, _SCTP = 6, 17, 132
_UDP_BYTES = 8
_SCTP_CHECKSUM = 8
_IPV4, _IPV6 = 4, 6
_FIN, _PSH, _CWR = 0x01, 0x08, 0x80


def complete(packet: bytes, *, header: bytes, link_bytes: int) -> tuple[bytes, ...] | None:
    """The IP packets that `packet` stands for, in order, each whole.

    `header` is its vnet header, which counts from `link_bytes` before the packet. None when the two contradict each
    other, the kind is unknown, or it would be more than `MAX_SEGMENTS`.
    """
    flags, kind, _, size, start, offset = vnet.HEADER.unpack(header)
    if not flags & vnet.NEEDS_CSUM:
        return None if kind else (packet,)
    start -= link_bytes
    end = _ip_end(packet)
    if not _header_bytes(packet) <= start <= end - offset - 2:
        return None
    if not kind:
        whole = _with_checksum(packet, start, offset, end)
        return None if whole is None else (whole,)
    version = packet[0] >> 4
    if kind & ~vnet.GSO_ECN == (vnet.GSO_TCPV4 if version == _IPV4 else vnet.GSO_TCPV6) and offset == vnet.TCP_CHECKSUM:
        return _cut(packet, start, end, size, protocol=_TCP)
    if kind == vnet.GSO_UDP_L4 and offset == vnet.UDP_CHECKSUM:
        return _cut(packet, start, end, size, protocol=_UDP)
    return None


def _header_bytes(packet: bytes) -> int:
    """The least that an IP header of this version takes."""
    return 40 if packet[:1] > b"\x5f" else 20


def _ip_end(packet: bytes) -> int:
    """Where the packet ends by its own header, without padding; 0 when that header is nonsense."""
    if len(packet) >= 20 and packet[0] >> 4 == _IPV4:
        end = int.from_bytes(packet[2:4], "big")
    elif len(packet) >= 40 and packet[0] >> 4 == _IPV6:
        end = int.from_bytes(packet[4:6], "big") + 40
    else:
        return 0
    return end if end <= len(packet) else 0


def _with_checksum(packet: bytes, start: int, offset: int, end: int) -> bytes | None:
    at = start + offset
    segment = packet[start:end]
    if offset == vnet.UDP_CHECKSUM:
        value = finish(word_sum(segment)) or 0xFFFF  # RFC 768: 0 would say "none"
    elif offset == vnet.TCP_CHECKSUM:
        value = finish(word_sum(segment))
    elif offset == _SCTP_CHECKSUM and at + 4 <= end and _protocol(packet) == _SCTP:
        blank = segment[:offset] + bytes(4) + segment[offset + 4 :]
        return packet[:at] + crc32c(blank).to_bytes(4, "little") + packet[at + 4 :]  # RFC 9260 6.8, appendix A
    else:
        return None
    return packet[:at] + value.to_bytes(2, "big") + packet[at + 2 :]


def _protocol(packet: bytes) -> int:
    return packet[9] if packet[0] >> 4 == _IPV4 else packet[6]


def _cut(packet: bytes, start: int, end: int, size: int, *, protocol: int) -> tuple[bytes, ...] | None:
    """The segments of `size` payload bytes each that a large TCP or UDP packet stands for."""
    if start + 20 > end and protocol == _TCP:
        return None
    length = _UDP_BYTES if protocol == _UDP else packet[start + 12] >> 2 & 0x3C
    ip, transport, payload = packet[:start], packet[start : start + length], packet[start + length : end]
    if len(transport) < length or length < _UDP_BYTES or not payload or size == 0:
        return None
    count = -(-len(payload) // size)
    if count > MAX_SEGMENTS or (protocol == _TCP and length < 20):
        return None
    segments = []
    for index in range(count):
        chunk = payload[index * size : (index + 1) * size]
        if protocol == _TCP:
            head = _tcp_header(transport, index * size, first=index == 0, last=index == count - 1)
        else:
            head = transport[:4] + (_UDP_BYTES + len(chunk)).to_bytes(2, "big") + b"\0\0"
        segments.append(_packet(ip, head + chunk, protocol=protocol, index=index))
    return tuple(segments)


def _tcp_header(header: bytes, offset: int, *, first: bool, last: bool) -> bytes:
    """The header of the segment `offset` bytes on, its checksum zero."""
    sequence = (int.from_bytes(header[4:8], "big") + offset) & 0xFFFFFFFF
    flags = header[13]
    if not last:
        flags &= ~(_FIN | _PSH)
    if not first:
        flags &= ~_CWR  # RFC 3168 6.1.2: said once
    return (
        header[:4]
        + sequence.to_bytes(4, "big")
        + header[8:13]
        + bytes((flags,))
        + header[14:16]
        + b"\0\0"
        + header[18:]
    )


def _packet(ip: bytes, segment: bytes, *, protocol: int, index: int) -> bytes:
    """IP header (with options or extension headers) before a segment whose checksum field is zero."""
    if ip[0] >> 4 == _IPV4:
        ident = (int.from_bytes(ip[4:6], "big") + index) & 0xFFFF
        sizes = (len(ip) + len(segment)).to_bytes(2, "big") + ident.to_bytes(2, "big")
        ip = ip[:2] + sizes + ip[6:10] + b"\0\0" + ip[12:]
        ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
        source, destination = ip[12:16], ip[16:20]
    else:
        ip = ip[:4] + (len(ip) - 40 + len(segment)).to_bytes(2, "big") + ip[6:]
        source, destination = ip[8:24], ip[24:40]
    at = vnet.TCP_CHECKSUM if protocol == _TCP else vnet.UDP_CHECKSUM
    field = transport_checksum(source, destination, protocol, segment)
    return ip + segment[:at] + field.to_bytes(2, "big") + segment[at + 2 :]


def crc32c(data: bytes) -> int:
    """The checksum of SCTP (RFC 9260 appendix A)."""
    table = _crc32c_table()
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


@functools.lru_cache(maxsize=1)
def _crc32c_table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        rows.append(value)
    return tuple(rows)
