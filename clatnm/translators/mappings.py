# SPDX-License-Identifier: GPL-2.0-or-later
"""A table of mappings (RFC 7757) as the programs look it up: `struct mapped` of clatnm/bpf/mappings.h and its keys."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from clatnm.bpf import Table
from clatnm.proto.eam import EamTable

FROM_IPV4, FROM_IPV6 = "from_ipv4", "from_ipv6"

_VALUE = struct.Struct("=16sQQ")
_LENGTH = struct.Struct("=I")


def entries(table: EamTable, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of everything to be found in the map of that name."""
    for v4, v6 in table:
        four, six = v4.network_address.packed, v6.network_address.packed
        suffix = 32 - v4.prefixlen
        shift = 128 - v6.prefixlen - suffix
        length, here, there = (v4.prefixlen, four, six) if name == FROM_IPV4 else (v6.prefixlen, six, four)
        yield _LENGTH.pack(length) + here, _VALUE.pack(there, (1 << suffix) - 1, shift)


def with_room(programs: Table, table: EamTable) -> Table:
    """The programs, with maps that have room for all of them."""
    sized = {name: replace(programs.maps[name], max_entries=max(1, len(table))) for name in (FROM_IPV4, FROM_IPV6)}
    return replace(programs, maps={**programs.maps, **sized})
