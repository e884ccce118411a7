# SPDX-License-Identifier: GPL-2.0-or-later
"""What has been told in this session, and what is still to be seen. A value, and the file that keeps it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clatnm.desktop.state import Kind

log = logging.getLogger(__name__)

_MOST = 500
_LONGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A network and how IPv4 is there: what is told once."""

    uuid: str
    prefix: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A notification that was made. `number` means something to `server` alone, the unique name of who gave it."""

    key: Key
    number: int
    server: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Both, for one session: another `bus` (its GUID) is another one."""

    bus: str
    told: tuple[Key, ...] = ()
    """Oldest first, and not endless."""
    shown: Mapping[str, Shown] = field(default_factory=dict)
    """By UUID, so that a network's next notification takes the place of its last one."""

    def with_shown(self, shown: Shown) -> Memory:
        """It has been told, and is to be seen."""
        told = (*(key for key in self.told if key != shown.key), shown.key)
        return replace(self, told=told[-_MOST:], shown={**self.shown, shown.key.uuid: shown})

    def without(self, uuid: str) -> Memory:
        """Nothing of it is to be seen any more."""
        return replace(self, shown={key: shown for key, shown in self.shown.items() if key != uuid})


def as_json(memory: Memory) -> str:
    """What `from_json` reads."""
    return json.dumps(
        {
            "bus": memory.bus,
            "told": [_key_as_json(key) for key in memory.told],
            "shown": [[*_key_as_json(it.key), it.number, it.server] for it in memory.shown.values()],
        }
    )


def _key_as_json(key: Key) -> list[str]:
    return [key.uuid, key.prefix, str(key.kind)]


def from_json(text: str, *, bus: str) -> Memory:
    """What was kept for this bus. Of another session, or not to be read: nothing."""
    try:
        kept = json.loads(text)
        if kept["bus"] != bus:
            return Memory(bus=bus)
        told = tuple(_key(item) for item in kept["told"])
        shown = [Shown(key=_key(item[:3]), number=_number(item[3]), server=str(item[4])) for item in kept["shown"]]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return Memory(bus=bus)
    return Memory(bus=bus, told=told[-_MOST:], shown={each.key.uuid: each for each in shown})


def _key(item: Any) -> Key:
    uuid, prefix, kind = item
    return Key(uuid=str(uuid), prefix=str(prefix), kind=Kind(kind))


def _number(item: Any) -> int:
    if not isinstance(item, int) or not 0 <= item < 1 << 32:
        raise ValueError("no number of a notification")
    return item


class MemoryFile:
    """The memory in a file, or nowhere. What cannot be written is told once, and goes on being known."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._complained = False

    def read(self, *, bus: str) -> Memory:
        """What was kept; nothing where there is no such file."""
        if self._path is None:
            return Memory(bus=bus)
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                return from_json(file.read(_LONGEST_FILE), bus=bus)
        except OSError:
            return Memory(bus=bus)

    def write(self, memory: Memory) -> None:
        """Keep it, whole or not at all."""
        if self._path is None:
            return
        draft = self._path.with_name(f".{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            draft.write_text(as_json(memory), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            if not self._complained:
                log.warning("what was told is not kept: %s: %s", self._path, error.strerror)
            self._complained = True


def usual_place() -> Path | None:
    """In the directory that the session manager removes after the user's last session (XDG_RUNTIME_DIR)."""
    directory = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    return directory / "clatnm-notify" / "told.json" if directory.is_absolute() else None
