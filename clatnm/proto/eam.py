# SPDX-License-Identifier: GPL-2.0-or-later
"""Explicit address mappings between IPv4 and IPv6 prefixes (RFC 7757)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from clatnm.errors import ParseError

Mapping: TypeAlias = "tuple[IPv4Network, IPv6Network]"

# Per prefix length, longest first: the bits to shift away, and for each prefix the one across with its suffix bits.
_Lengths: TypeAlias = "list[tuple[int, dict[int, tuple[int, int, int]]]]"

# A mapping in numbers: IPv4 address and its suffix bits, IPv6 address and its.
_Row: TypeAlias = "tuple[int, int, int, int]"

_RECORD = struct.Struct("!IBQQB")
_HALF = (1 << 64) - 1
_SHOWN = 4


class EamTable:
    """An immutable table, looked up by longest prefix both ways (RFC 7757 3.3).

    Nested prefixes are fine (3.2 leaves them to the longest match); the same prefix twice on one side is not.
    """

    def __init__(self, mappings: Iterable[Mapping] = ()) -> None:
        self._mappings: tuple[Mapping, ...] | None = tuple(mappings)
        self._take(
            tuple(
                (int(v4.network_address), 32 - v4.prefixlen, int(v6.network_address), 128 - v6.prefixlen)
                for v4, v6 in self._mappings
            )
        )

    def _take(self, rows: tuple[_Row, ...]) -> None:
        self._rows = rows
        for row in rows:
            if row[1] > row[3]:
                check_sizes(_networks(row))
        self._from_v4, self._from_v6 = _index(rows, 0), _index(rows, 2)

    def __iter__(self) -> Iterator[Mapping]:
        if self._mappings is None:
            self._mappings = tuple(map(_networks, self._rows))
        return iter(self._mappings)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, EamTable) and self._rows == other._rows)

    def __hash__(self) -> int:
        return hash(self._rows)

    def __repr__(self) -> str:
        shown = ", ".join(f"{v4} = {v6}" for v4, v6 in map(_networks, self._rows[:_SHOWN]))
        return f"EamTable({shown}{f' and {len(self) - _SHOWN} more' if len(self) > _SHOWN else ''})"

    def to_bytes(self) -> bytes:
        """All of it, to be handed to another process; `from_bytes` is the inverse."""
        return b"".join(_RECORD.pack(v4, s4, v6 >> 64, v6 & _HALF, s6) for v4, s4, v6, s6 in self._rows)

    @classmethod
    def from_bytes(cls, data: bytes) -> EamTable:
        """What `to_bytes` made. ParseError when it cannot have."""
        try:
            rows = tuple((v4, s4, high << 64 | low, s6) for v4, s4, high, low, s6 in _RECORD.iter_unpack(data))
        except struct.error as error:
            raise ParseError(f"not a table of mappings: {error}") from None
        if any(s4 > 32 or s6 > 128 or v4 & (1 << s4) - 1 or v6 & (1 << s6) - 1 for v4, s4, v6, s6 in rows):
            raise ParseError("not a table of mappings: no such prefix")
        table = cls()
        table._mappings = None
        table._take(rows)
        return table

    def to_ipv6(self, address: IPv4Address) -> IPv6Address | None:
        """The mapped address, suffix bits kept, further bits zero (RFC 7757 3.3.1)."""
        packed = self.packed_to_v6(address.packed)
        return None if packed is None else IPv6Address(packed)

    def to_ipv4(self, address: IPv6Address) -> IPv4Address | None:
        """The mapped address; bits below the IPv4 suffix are ignored (RFC 7757 3.3.2)."""
        packed = self.packed_to_v4(address.packed)
        return None if packed is None else IPv4Address(packed)

    def packed_to_v6(self, address: bytes) -> bytes | None:
        """`to_ipv6` for the packet path: 4 packed bytes in, 16 out."""
        number = int.from_bytes(address, "big")
        for shift, prefixes in self._from_v4:
            if (hit := prefixes.get(number >> shift)) is not None:
                base, suffix, other = hit
                return (base | (number & ((1 << suffix) - 1)) << (other - suffix)).to_bytes(16, "big")
        return None

    def packed_to_v4(self, address: bytes) -> bytes | None:
        """`to_ipv4` for the packet path: 16 packed bytes in, 4 out."""
        number = int.from_bytes(address, "big")
        for shift, prefixes in self._from_v6:
            if (hit := prefixes.get(number >> shift)) is not None:
                base, suffix, other = hit
                return (base | (number & ((1 << suffix) - 1)) >> (suffix - other)).to_bytes(4, "big")
        return None


def host_pair(v4: IPv4Address, v6: IPv6Address) -> Mapping:
    """The mapping of one host, as a CLAT has it."""
    return IPv4Network(v4), IPv6Network(v6)


def parse_mapping(v4: str, v6: str) -> Mapping:
    """Hosts, or prefixes of them, that stand for each other. ParseError says which of both is wrong."""
    try:
        four = IPv4Network(v4)
    except ValueError as error:
        raise ParseError(f"{v4!r} is no IPv4 address or prefix", hint=_why(v4, error)) from None
    try:
        if "%" in v6:
            raise ValueError("a scope is no part of what is routed")
        six = IPv6Network(v6)
    except ValueError as error:
        raise ParseError(f"{v6!r} is no IPv6 address or prefix", hint=_why(v6, error)) from None
    check_sizes((four, six))
    return four, six


def check_sizes(mapping: Mapping) -> None:
    """ParseError unless each IPv4 address has room on the other side (RFC 7757 3.1)."""
    v4, v6 = mapping
    if 32 - v4.prefixlen > 128 - v6.prefixlen:
        raise ParseError(f"{v4} does not fit into {v6}", hint="RFC 7757 section 3.1")


def _why(text: str, error: ValueError) -> str:
    """An example says more than `ipaddress` does about what is no address at all."""
    return "its host bits are not zero" if "host bits" in str(error) else "as 192.0.2.1 = 2001:db8::c000:201"


def _networks(row: _Row) -> Mapping:
    v4, suffix4, v6, suffix6 = row
    return IPv4Network((v4, 32 - suffix4)), IPv6Network((v6, 128 - suffix6))


def _index(rows: Iterable[_Row], side: int) -> _Lengths:
    """Prefixes by length, longest first; each hit is (address across, own suffix bits, suffix bits across)."""
    by_shift: dict[int, dict[int, tuple[int, int, int]]] = {}
    for row in rows:
        here, shift, there, across = row[side], row[side + 1], row[2 - side], row[3 - side]
        prefixes = by_shift.setdefault(shift, {})
        if here >> shift in prefixes:
            raise ParseError(f"{_networks(row)[side // 2]} is mapped twice", hint="RFC 7757 section 3.2")
        prefixes[here >> shift] = (there, shift, across)
    return sorted(by_shift.items())
