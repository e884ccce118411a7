# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments: cutting what is too large, and joining fragmented ICMP, whose checksum spans the whole message.

All other fragments pass one by one (RFC 7915 4.1, 5.1.1). The RFC leaves fragmented ICMP out (1.2); joining it is
bounded in datagrams, fragments, bytes and seconds, and an overlap ends a datagram for good (RFC 5722).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from clatnm.proto.packet import (
    FRAGMENT_HEADER_BYTES,
    IPV4_HEADER_BYTES,
    IPV6_HEADER_BYTES,
    Ipv4Header,
    Ipv4Packet,
    Ipv6Header,
    Ipv6Packet,
    Packet,
)
from clatnm.proto.refusal import DropReason, Refused

MAX_DATAGRAMS = 16
MAX_FRAGMENTS = 64  # of one datagram; 65535 bytes take 54 of the smallest IPv6 links
MAX_BYTES = 256 * 1024
TIMEOUT_S = 15.0

_P = TypeVar("_P", Ipv4Packet, Ipv6Packet)

DatagramKey: TypeAlias = "tuple[bytes, bytes, int, int]"


def datagram_key(packet: Packet) -> DatagramKey:
    """Which fragments belong together (RFC 791 3.2, RFC 8200 4.5; the protocol does no harm in IPv6)."""
    return packet.source, packet.destination, packet.protocol, packet.ident


def cut_ipv6(header: Ipv6Header, payload: bytes, *, mtu: int, ident: int, more: bool, offset: int) -> tuple[bytes, ...]:
    """The payload in fragments of at most `mtu` bytes (RFC 7915 4.1); `more` and `offset` when it is one already."""
    room = (mtu - IPV6_HEADER_BYTES - FRAGMENT_HEADER_BYTES) & ~7
    return tuple(
        header.fragment(piece, ident=ident, more=more or not last, offset=offset + start)
        for start, last, piece in _pieces(payload, room)
    )


def cut_ipv4(header: Ipv4Header, payload: bytes, *, mtu: int, ident: int, more: bool, offset: int) -> tuple[bytes, ...]:
    """The same in IPv4 (RFC 791 2.3, RFC 7915 5.1.1)."""
    room = (mtu - IPV4_HEADER_BYTES) & ~7
    return tuple(
        header.packet(piece, ident=ident, more=more or not last, offset=offset + start)
        for start, last, piece in _pieces(payload, room)
    )


def _pieces(payload: bytes, room: int) -> Iterator[tuple[int, bool, bytes]]:
    for start in range(0, len(payload), room):
        yield start, start + room >= len(payload), payload[start : start + room]


@dataclass(slots=True)
class _Datagram:
    """One being joined; `dead` ones only swallow what still comes (RFC 5722 3)."""

    deadline: float
    head: Packet | None = None
    end: int | None = None
    held: int = 0
    dead: bool = False
    parts: list[tuple[int, bytes]] = field(default_factory=list)


class Reassembler:
    """Joins the fragments of datagrams; the oldest gives way when there is no room."""

    def __init__(
        self,
        *,
        max_datagrams: int = MAX_DATAGRAMS,
        max_fragments: int = MAX_FRAGMENTS,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._max_datagrams = max_datagrams
        self._max_fragments = max_fragments
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._held: dict[DatagramKey, _Datagram] = {}  # in order of their deadlines
        self._bytes = 0
        self._given_up = 0
        self.piece_bytes = 0
        """Payload of the largest fragment of the packet that `add` returned last."""

    def add(self, packet: _P, now: float) -> _P | None:
        """The whole packet once all is there (its header is the first fragment's), None until then. May be Refused."""
        self._expire(now)
        key = datagram_key(packet)
        datagram = self._held.get(key)
        if datagram is None:
            if len(self._held) >= self._max_datagrams:
                self._give_up(next(iter(self._held)))
            datagram = self._held[key] = _Datagram(deadline=now + self._timeout_s)
        if datagram.dead:
            raise Refused(DropReason.REASSEMBLY_OVERLAP)
        reason = self._store(datagram, packet)
        if reason is not None:
            if reason is not DropReason.REASSEMBLY_DUPLICATE:
                self._bury(datagram)
            raise Refused(reason)
        self._make_room(key)
        if datagram.head is None or datagram.end is None or datagram.held < datagram.end:
            return None
        self._bytes -= datagram.held
        del self._held[key]
        self.piece_bytes = max(len(part) for _, part in datagram.parts)
        payload = b"".join(part for _, part in datagram.parts)
        whole: _P = replace(datagram.head, payload=payload, length=len(payload), more=False)  # type: ignore[assignment]
        return whole

    def expire(self, now: float) -> int:
        """Drop what waited too long; how many datagrams were given up, for want of time or room, since last asked."""
        self._expire(now)
        count, self._given_up = self._given_up, 0
        return count

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return next((datagram.deadline for datagram in self._held.values()), None)

    def waiting(self) -> dict[DatagramKey, int]:
        """How many fragments are held of which datagram."""
        return {key: len(datagram.parts) for key, datagram in self._held.items() if datagram.parts}

    def _store(self, datagram: _Datagram, packet: Packet) -> DropReason | None:
        """Keep a fragment; or say why not."""
        start, end = packet.offset, packet.offset + len(packet.payload)
        if (packet.more and len(packet.payload) % 8) or start == end:  # RFC 8200 4.5
            return DropReason.REASSEMBLY_MALFORMED
        for at, part in datagram.parts:
            if at < end and start < at + len(part):
                same = at == start and part == packet.payload  # RFC 8200 4.5: an exact duplicate may be ignored
                return DropReason.REASSEMBLY_DUPLICATE if same else DropReason.REASSEMBLY_OVERLAP
        if len(datagram.parts) >= self._max_fragments:
            return DropReason.REASSEMBLY_FULL
        last = max((at + len(part) for at, part in datagram.parts), default=0)
        if not packet.more:
            if datagram.end is not None or last > end:
                return DropReason.REASSEMBLY_MALFORMED
            datagram.end = end
        elif datagram.end is not None and end > datagram.end:
            return DropReason.REASSEMBLY_MALFORMED
        if not start:
            datagram.head = packet
        insort(datagram.parts, (start, packet.payload))
        datagram.held += len(packet.payload)
        self._bytes += len(packet.payload)
        return None

    def _bury(self, datagram: _Datagram) -> None:
        self._bytes -= datagram.held
        datagram.dead, datagram.held, datagram.head = True, 0, None
        datagram.parts.clear()

    def _make_room(self, newest: DatagramKey) -> None:
        while self._bytes > self._max_bytes:
            oldest = next((key for key, datagram in self._held.items() if key != newest and datagram.held), newest)
            self._give_up(oldest)
            if oldest == newest:
                raise Refused(DropReason.REASSEMBLY_FULL)

    def _give_up(self, key: DatagramKey) -> None:
        self._bytes -= self._held.pop(key).held
        self._given_up += 1

    def _expire(self, now: float) -> None:
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self._give_up(next(iter(self._held)))
