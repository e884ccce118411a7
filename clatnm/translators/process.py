# SPDX-License-Identifier: GPL-2.0-or-later
"""The supervisor's end of a translator process: start it, talk to it, learn of its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from clatnm.errors import ConfigError, TranslatorError
from clatnm.proto.eam import EamTable
from clatnm.translators.base import Ended
from clatnm.translators.orphan import Foreign, Orphan
from clatnm.waiting import wait_for
from clatnm.worker import launch, wire
from clatnm.worker.wire import WorkerConfig

_READY_S = 10.0
_ANSWER_S = 1.0
_STOP_S = 2.0
_SPARE_S = 2.0  # how long after one was taken, when that one's connections have begun


class Spare:
    """Has one translator process wait for the next `WorkerProcess.spawn`, until it is closed.

    Python takes longer to start than all else that a start takes. What waits costs some 10 MiB, and no time. It ends
    with us, however we end; should it die, nothing is worse than without it.
    """

    _open: Spare | None = None

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        Spare._open = self
        self._prepare()

    @classmethod
    def taken(cls) -> None:
        """Have another one wait, as soon as whoever has taken this one will have done with the machine."""
        self = cls._open
        if self is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SPARE_S, self._prepare)

    def close(self) -> None:
        """End it. Those that were taken go on."""
        Spare._open = None
        if self._timer is not None:
            self._timer.cancel()
        launch.dismiss()

    def _prepare(self) -> None:
        self._timer = None
        with contextlib.suppress(OSError):  # whoever needs one will try again, and say so
            launch.prepare()


class WorkerProcess:
    """One `clatnm.worker` process and the control socket to it. The process ends when this socket closes, or, once it
    was told to `keep` on, a while later."""

    def __init__(self, process: subprocess.Popen[bytes] | Foreign, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._control = control
        self._ready: asyncio.Future[None] = loop.create_future()
        self._counters: asyncio.Future[Mapping[str, Any]] | None = None
        self._mappings: EamTable | None = None
        self._error = ""
        self._collision = ""
        self._unfit = False
        self._collided = asyncio.Event()
        self._end = asyncio.ensure_future(self._watch())
        loop.add_reader(control, self._read)

    @classmethod
    async def spawn(cls) -> WorkerProcess:
        """Start the process or take one started ahead; it waits for `hand_over`. TranslatorError: it cannot start."""
        try:
            process, control = launch.take()
        except OSError as error:
            raise TranslatorError(f"cannot start the translator process: {error.strerror}") from error
        Spare.taken()
        control.setblocking(False)
        return cls(process, control)

    @classmethod
    def adopt(cls, orphan: Orphan, mappings: EamTable | None) -> WorkerProcess:
        """One that somebody else has started, at work with these mappings. Process and control are ours from now on."""
        worker = cls(orphan.process, orphan.control)
        worker._ready.set_result(None)
        worker._mappings = mappings
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    async def hand_over(self, config: WorkerConfig, descriptors: Sequence[int]) -> None:
        """Give it its descriptors and configuration and wait until it translates. TranslatorError."""
        try:
            wire.send_start(self._control, config, descriptors)
            self._mappings = config.mappings
            await wait_for(asyncio.shield(self._ready), _READY_S)
        except (OSError, asyncio.TimeoutError) as error:
            raise TranslatorError("the translator process does not become ready") from error

    def update(self, config: WorkerConfig) -> None:
        """Replace its configuration. TranslatorError when it no longer listens."""
        try:
            wire.send_update(self._control, config, known=self._mappings)
            self._mappings = config.mappings
        except OSError as error:
            raise TranslatorError(f"the translator process does not listen: {os.strerror(error.errno or 0)}") from error

    def keep(self, told: wire.Keep, held: Sequence[int]) -> None:
        """Have it outlive us for a while, and hold these descriptors meanwhile. TranslatorError."""
        try:
            wire.send_keep(self._control, told, held)
        except OSError as error:
            raise TranslatorError(f"the translator process does not listen: {os.strerror(error.errno or 0)}") from error

    async def counters(self) -> Mapping[str, Any]:
        """Its counters; empty when it does not answer in time."""
        if self._counters is None or self._counters.done():
            self._counters = asyncio.get_running_loop().create_future()
        try:
            self._control.send(wire.encode("counters"))
            return await wait_for(asyncio.shield(self._counters), _ANSWER_S)
        except (OSError, asyncio.TimeoutError):
            return {}

    async def obeyed(self) -> None:
        """Wait until it has followed the orders given so far; not for long."""
        await self.counters()  # it takes its orders one after the other

    def give_up(self, error: str, *, unfit: bool) -> None:
        """End it for a reason of ours, which `ended` tells (see `Ended`). One on its way out keeps its own reason."""
        self._read()
        if self._control.fileno() >= 0 and not self._error:
            self._error, self._unfit = error, unfit
        if self._process.poll() is None:
            self._process.terminate()

    async def stop(self) -> Ended:
        """Ask it to end, insist after a while, and wait for its end."""
        try:
            self._control.send(wire.encode("stop"))
            return await wait_for(asyncio.shield(self._end), _STOP_S)
        except (OSError, asyncio.TimeoutError):
            self._process.kill()
            return await self._end

    async def ended(self) -> Ended:
        """Wait for its end, whatever the cause; when its address is somebody else's, end it."""
        collided = asyncio.ensure_future(self._collided.wait())
        try:
            await asyncio.wait({self._end, collided}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            collided.cancel()
        if not self._end.done():
            self._process.terminate()
        return await asyncio.shield(self._end)

    async def _watch(self) -> Ended:
        status = await _exit_status(self._process)
        self._read()  # its last words
        self._close()
        error = self._error or f"the translator process ended{_describe(status)}"
        if not self._ready.done():
            self._ready.set_exception(TranslatorError(error, status=status))
            self._ready.exception()  # whoever waits gets it; if nobody does, it is in `Ended` as well
        return Ended(error=error, collision=self._collision, unfit=self._unfit)

    def _close(self) -> None:
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()

    def _read(self) -> None:
        while self._control.fileno() >= 0:
            try:
                data = self._control.recv(wire.MESSAGE_BYTES)
            except OSError:
                return
            if not data:
                self._close()
                return
            try:
                op, fields = wire.decode(data)
            except ConfigError:
                continue
            self._take(op, fields)

    def _take(self, op: str, fields: dict[str, Any]) -> None:
        if op == "ready" and not self._ready.done():
            self._ready.set_result(None)
        elif op == "counters" and self._counters is not None and not self._counters.done():
            self._counters.set_result(fields)
        elif op == "error":
            hint = fields.get("hint")
            self._error = f"{fields.get('what', 'unknown error')}{f' ({hint})' if hint else ''}"
        elif op == "conflict":
            # The address is not ours to use. The process stays until `ended` is asked, or else whoever is starting it
            # would see its device vanish and not know why.
            self._collision = str(fields.get("address", ""))
            self._error = f"another host on the link uses {self._collision}"
            self._collided.set()


async def _exit_status(process: subprocess.Popen[bytes] | Foreign) -> int | None:
    """Wait for its end without blocking anybody: a pidfd becomes readable then (Linux 5.3). None: only its parent is
    told."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    descriptor = process.descriptor() if isinstance(process, Foreign) else os.pidfd_open(process.pid)
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def _describe(status: int | None) -> str:
    if status is None:
        return ""
    return f" with signal {-status}" if status < 0 else f" with status {status}"
