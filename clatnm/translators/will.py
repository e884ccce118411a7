# SPDX-License-Identifier: GPL-2.0-or-later
"""What one running translator leaves to a successor of ours."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

from clatnm.kernel import who
from clatnm.kernel.guard import alarm
from clatnm.memo import Memo, Past
from clatnm.model import Plan
from clatnm.translators.estate import PATIENCE_S, Estate, Held
from clatnm.translators.orphan import Orphan
from clatnm.translators.priority import exclusive
from clatnm.translators.process import WorkerProcess
from clatnm.worker import wire


class Will:
    """The one of the translator whose device has the ifindex `index`: nothing, before it is first made."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._door: socket.socket | None = None
        self._alarm: socket.socket | None = None
        self._estate: Estate | None = None

    @classmethod
    def adopt(cls, memo: Memo, orphan: Orphan, estate: Estate) -> Will:
        """The one that an earlier daemon has made."""
        will = cls(memo.index)
        will._estate = estate
        will._door = socket.socket(fileno=orphan.take())
        will._alarm = socket.socket(fileno=orphan.take()) if exclusive(memo.past.plan) else None
        return will

    @staticmethod
    def count(plan: Plan) -> int:
        """How many descriptors are its own."""
        return 1 + exclusive(plan)

    def make(self, estate: Estate, worker: WorkerProcess, held: Held, past: Past) -> None:
        """From now on it goes on without us for a while, and a successor finds it. HostError, TranslatorError."""
        self._estate = estate
        plan = past.plan
        process = who.name(worker.pid)  # before `keep`, which the dead refuse: then it is no other one's number
        if self._door is not None and not estate.door(self._index).exists():  # somebody has removed it
            self._door.close()
            self._door = None
        if self._door is None:
            self._door = estate.open(self._index)
        if self._alarm is None and exclusive(plan):
            self._alarm = alarm()
        keep = wire.Keep(
            door=self._door,
            alarm=self._alarm,
            uplink=plan.ifindex if self._alarm is not None else 0,
            patience_s=PATIENCE_S,
            uid=os.geteuid(),
        )
        worker.keep(keep, tuple(held.descriptors.values()))
        told = Memo(
            version=wire.VERSION,
            past=past,
            index=self._index,
            held=tuple(held.descriptors),
            programs=held.programs,
            clsact=held.clsact,
            process=process,
        )
        self._write(told)

    def note(self, estate: Estate, worker: WorkerProcess, past: Past) -> None:
        """It ends when we do. What is to be run then, and whom to end should it hang, a successor finds. HostError."""
        self._estate = estate
        self._write(Memo(version=wire.VERSION, past=past, index=self._index, process=who.name(worker.pid)))

    def _write(self, told: Memo) -> None:
        assert self._estate is not None
        self._estate.write(replace(told, daemon=who.name(os.getpid())))

    def withdraw(self) -> None:
        """It is about to change: what was written holds no more."""
        if self._estate is not None:
            self._estate.withdraw(self._index)

    def close(self) -> None:
        """The translator is gone. Again is fine."""
        self.release()
        if self._estate is not None:
            self._estate.remove(self._index)
            self._estate = None

    def release(self) -> None:
        """Only our copies of its descriptors are not needed any more."""
        for sock in (self._door, self._alarm):
            if sock is not None:
                sock.close()
        self._door = self._alarm = None
