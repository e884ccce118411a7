# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon leaves to its successor: for each translator a socket by which its process is reached, and a memo.

Only root gets into the directory. Files of translators that are gone mean nothing, and go when somebody looks.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clatnm import memo
from clatnm.errors import HostError, ParseError
from clatnm.memo import Memo

DIRECTORY: Final = Path("/run/clatnm/translators")
PATIENCE_S: Final = 30.0
"""How long a translator goes on without a daemon."""

_DOOR, _MEMO = ".socket", ".memo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What of a translator is neither in its process nor in the kernel by itself: see `memo.Memo`."""

    descriptors: Mapping[str, int] = field(default_factory=dict)
    programs: str = ""
    clsact: bool = False


class Estate:
    """Translators go by the ifindex of their device: no two ever have the same one."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory

    def open(self, index: int) -> socket.socket:
        """A socket on which a translator's process can be reached. HostError."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._make()
            self.remove(index)
            door.bind(str(self.door(index)))
            door.listen()
        except OSError as error:
            door.close()
            what = f"cannot listen in {self._directory}: {os.strerror(error.errno or 0)}"
            raise HostError(what, errno=error.errno or 0) from error
        return door

    @property
    def zones(self) -> Path:
        """Where it is written down which devices are in which zones of a firewall."""
        return self._directory / "zones"

    @property
    def caretaker(self) -> Path:
        """Where it is written down which process cleans up after its daemon."""
        return self._directory.parent / "caretaker"

    def door(self, index: int) -> Path:
        """Where that socket is."""
        return self._directory / f"{index}{_DOOR}"

    def write(self, told: Memo) -> None:
        """Have a successor find it: all of it or, if we end meanwhile, nothing. HostError."""
        path = self._memo(told.index)
        fresh = path.with_suffix(".new")
        try:
            self._make()
            fresh.write_bytes(memo.to_bytes(told))
            fresh.chmod(0o600)
            fresh.replace(path)
        except OSError as error:
            raise HostError(f"{path}: {os.strerror(error.errno or 0)}", errno=error.errno or 0) from error

    def read(self, index: int) -> Memo:
        """What was written last. ParseError when there is nothing that could be understood."""
        path = self._memo(index)
        try:
            return memo.from_bytes(path.read_bytes())
        except OSError as error:
            raise ParseError(f"{path}: {os.strerror(error.errno or 0)}") from None

    def withdraw(self, index: int) -> None:
        """What was written holds no more: whoever comes now will end the translator."""
        with contextlib.suppress(OSError):  # where nothing can be removed, nothing was written
            self._memo(index).unlink(missing_ok=True)

    def remove(self, index: int) -> None:
        """It is gone, or has never been there."""
        with contextlib.suppress(OSError):
            for suffix in (_MEMO, ".new", _DOOR):
                (self._directory / f"{index}{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """We leave nothing: nor the directory, unless somebody else has something there."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def indexes(self) -> list[int]:
        """Of all that somebody has left, or has now."""
        try:
            stems = {path.stem for path in self._directory.iterdir()}
        except OSError:
            return []
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def _make(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)

    def _memo(self, index: int) -> Path:
        return self._directory / f"{index}{_MEMO}"
