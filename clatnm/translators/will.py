# SPDX-License-Identifier: GPL-2.0-or-later
"""What one running translator leaves to a successor of ours."""

from __future__ import annotations

import socket

from clatnm.memo import Memo, Past
from clatnm.translators.estate import Estate, Held
from clatnm.translators.process import WorkerProcess
from clatnm.worker import wire


class Will:
    """The one of the translator whose device has the ifindex `index`: nothing, before it is first made.

    `door`, `estate`: there is one already, which an earlier daemon has made.
    """

    def __init__(self, index: int, *, door: socket.socket | None = None, estate: Estate | None = None) -> None:
        self._index = index
        self._door = door
        self._estate = estate

    def make(self, estate: Estate, worker: WorkerProcess, held: Held, past: Past) -> None:
        """From now on it goes on without us for a while, and a successor finds it. HostError, TranslatorError."""
        self._estate = estate
        if self._door is None:
            self._door = estate.open(self._index)
        worker.keep(self._door, tuple(held.descriptors.values()))
        told = Memo(
            version=wire.VERSION,
            past=past,
            index=self._index,
            held=tuple(held.descriptors),
            programs=held.programs,
            clsact=held.clsact,
        )
        estate.write(told)

    def withdraw(self) -> None:
        """It is about to change: what was written holds no more."""
        if self._estate is not None:
            self._estate.withdraw(self._index)

    def close(self) -> None:
        """The translator is gone. Again is fine."""
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._estate is not None:
            self._estate.remove(self._index)
            self._estate = None
