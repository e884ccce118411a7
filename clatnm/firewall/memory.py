# SPDX-License-Identifier: GPL-2.0-or-later
"""Which devices we have put into which zones, written down for whoever comes after us, should we be killed.

firewalld keeps the name of a device that is gone. The file is root's, in a directory of root's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path


class Memory:
    """`owner` names who writes: one that finds its own name there knows that nobody has come after it."""

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        self._owner = owner

    def read(self, *, own: bool = False) -> dict[str, str]:
        """Zones by device; none where nothing can be read or, if they are to be its `own`, where another wrote last."""
        try:
            told = json.loads(self._path.read_bytes())
            owner, zones = told["owner"], told["zones"]
            known = all(isinstance(word, str) for item in zones.items() for word in item)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
        return zones if known and (owner == self._owner or not own) else {}

    def write(self, zones: Mapping[str, str]) -> None:
        """Where nothing can be written, only a successor knows less."""
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            if not zones:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps({"owner": self._owner, "zones": dict(zones)}))
            fresh.replace(self._path)
