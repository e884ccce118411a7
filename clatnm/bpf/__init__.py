# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path's programs: C source, and what the build made of it (`table`)."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("clat.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapDefinition:
    """A map to be made, as struct bpf_attr for BPF_MAP_CREATE begins."""

    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """An instruction that loads the address of a map, or of a place in a map's only value (then `offset`)."""

    instruction: int
    map_name: str
    offset: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Instructions of 8 bytes, and where addresses go that are known only at load time."""

    code: bytes
    relocations: tuple[Relocation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything to load: programs and maps by name; `config_size` bytes of configuration."""

    programs: Mapping[str, Program]
    maps: Mapping[str, MapDefinition]
    config_size: int


def table() -> Table | None:
    """The built programs, for machines of this one's byte order; None when this copy was built without clang."""
    try:
        return read(json.loads(TABLE.read_text(encoding="ascii"))[sys.byteorder])
    except (FileNotFoundError, KeyError):
        return None


def read(told: Mapping[str, Any]) -> Table | None:
    """What `clatnm.bpf.build` made of the source; None when it is for machines of the other byte order."""
    if told["byte_order"] != sys.byteorder:
        return None
    programs = {
        name: Program(
            code=base64.b64decode(entry["code"]),
            relocations=tuple(Relocation(instruction=i, map_name=m, offset=o) for i, m, o in entry["relocations"]),
        )
        for name, entry in told["programs"].items()
    }
    maps = {
        name: MapDefinition(kind=k, key_size=key, value_size=value, max_entries=entries, flags=flags)
        for name, (k, key, value, entries, flags) in told["maps"].items()
    }
    return Table(programs=programs, maps=maps, config_size=told["config_size"])
