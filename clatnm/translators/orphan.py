# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator process whose daemon is gone: found by its door, asked for all that it holds, or ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from clatnm.errors import ConfigError, TranslatorError
from clatnm.waiting import wait_for
from clatnm.worker import wire

_ANSWER_S: Final = 5.0  # on a machine that has much else to do; whoever is later than that will be killed
_END_S: Final = 2.0
_UCRED: Final = struct.Struct("=iII")
_INT_BYTES: Final = 4


class BusyError(Exception):
    """It has a daemon that lives."""


class Foreign:
    """A process that somebody else has started: what `WorkerProcess` needs of `subprocess.Popen`."""

    _descriptor = -1

    def __init__(self, pid: int) -> None:
        """OSError: there is none."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def descriptor(self) -> int:
        """A pidfd that is the caller's to close: it stays this process, whoever has the number later."""
        return os.dup(self._descriptor)

    def poll(self) -> int | None:
        """None while it runs."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return 0 if poll.poll(0) else None

    def wait(self) -> None:
        """Its status is told to its parent only."""

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)


class Orphan:
    """One that obeys us now. What of its descriptors nobody takes is closed by `close`."""

    def __init__(self, process: Foreign, control: socket.socket, version: object, descriptors: list[int]) -> None:
        self.process = process
        self.control = control
        self.version = version
        self._descriptors = descriptors

    @property
    def count(self) -> int:
        """How many descriptors are there to be taken."""
        return len(self._descriptors)

    def take(self) -> int:
        """The next of its descriptors: door, uplink socket, those that came with its start, those for hooks."""
        return self._descriptors.pop(0)

    def close(self) -> None:
        """Want nothing more of it."""
        self.control.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    async def end(self) -> None:
        """End the process, and wait for that; its device is gone then."""
        self.process.terminate()
        if not await _ended(self.process):
            self.process.kill()
            await _ended(self.process)
        self.close()


async def knock(door: Path) -> Orphan | None:
    """Take over whoever listens there; None: nobody does, any more.

    BusyError: it is somebody else's. TranslatorError: there is somebody, but he does not answer.
    """
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # So that the kernel says who answers: the socket was made by the daemon before us.
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            control.connect(str(door))
        except (ConnectionRefusedError, FileNotFoundError):
            control.close()
            return None
        orphan = await _answer(control)
        if orphan is None:
            control.close()
        else:
            control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    except (OSError, ConfigError, asyncio.TimeoutError) as error:
        control.close()
        raise TranslatorError(f"{door}: the translator process does not answer: {error}") from error
    except BaseException:
        control.close()
        raise
    return orphan


async def _answer(control: socket.socket) -> Orphan | None:
    await _readable(control.fileno(), _ANSWER_S)
    room = socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(wire.DESCRIPTORS * _INT_BYTES)
    data, ancillary, _, _ = control.recvmsg(wire.MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    pid, descriptors = 0, []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = _UCRED.unpack(content)[0]
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            count = len(content) // _INT_BYTES
            descriptors = list(struct.unpack(f"={count}i", content[: count * _INT_BYTES]))
    try:
        if not data:  # it has ended this moment
            return None
        op, fields = wire.decode(data)
        if op == "busy":
            raise BusyError
        if op != "here":
            raise ConfigError(f"unknown operation {op!r}")
        process = Foreign(pid)
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise
    return Orphan(process, control, fields.get("version"), descriptors)


async def _ended(process: Foreign) -> bool:
    descriptor = process.descriptor()
    try:
        await _readable(descriptor, _END_S)
    except asyncio.TimeoutError:
        return False
    finally:
        os.close(descriptor)
    return True


async def _readable(descriptor: int, patience_s: float) -> None:
    """asyncio.TimeoutError."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await wait_for(event.wait(), patience_s)
    finally:
        loop.remove_reader(descriptor)
