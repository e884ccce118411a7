# SPDX-License-Identifier: GPL-2.0-or-later
"""A table of mappings (RFC 7757) as the programs look it up: `struct mapped` of clatnm/bpf/mappings.h and its keys."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from clatnm.bpf import Table
from clatnm.proto.eam import EamTable

HOSTS4, HOSTS6, PREFIXES4, PREFIXES6 = "hosts_ipv4", "hosts_ipv6", "prefixes_ipv4", "prefixes_ipv6"
MAPS: Final = frozenset((HOSTS4, HOSTS6, PREFIXES4, PREFIXES6))

_VALUE = struct.Struct("=16sQQ")
_LENGTH = struct.Struct("=I")

Entries = Mapping[str, list[tuple[bytes, bytes]]]
"""By the map's name: keys and values."""


def entries(table: EamTable) -> Entries:
    """What each of `MAPS` has."""
    found: dict[str, list[tuple[bytes, bytes]]] = {name: [] for name in MAPS}
    for v4, v6 in table:
        four, six = v4.network_address.packed, v6.network_address.packed
        suffix = 32 - v4.prefixlen
        across = ((1 << suffix) - 1, 128 - v6.prefixlen - suffix)
        if v4.prefixlen == 32:
            found[HOSTS4].append((four + bytes(4), _VALUE.pack(six, *across)))
        else:
            found[PREFIXES4].append((_LENGTH.pack(v4.prefixlen) + four, _VALUE.pack(six, *across)))
        if v6.prefixlen == 128:
            found[HOSTS6].append((six, _VALUE.pack(four, *across)))
        else:
            found[PREFIXES6].append((_LENGTH.pack(v6.prefixlen) + six, _VALUE.pack(four, *across)))
    return found


def with_room(programs: Table, found: Entries) -> Table:
    """The programs, with maps that have room for all of that and no more."""
    sized = {name: replace(programs.maps[name], max_entries=max(1, len(found[name]))) for name in MAPS}
    return replace(programs, maps={**programs.maps, **sized})


def has_prefixes(table: EamTable) -> tuple[bool, bool]:
    """Whether there is more than hosts in it, of IPv4 and of IPv6."""
    return any(v4.prefixlen < 32 for v4, _ in table), any(v6.prefixlen < 128 for _, v6 in table)
