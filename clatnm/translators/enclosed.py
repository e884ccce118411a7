# SPDX-License-Identifier: GPL-2.0-or-later
"""The supervisor's end of another program in a network of its own (`worker.enclosure`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence

from clatnm.errors import TranslatorError
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

_ENCLOSED_S = 10.0


class Enclosed:
    """A running program. `packets` leads into its network: each packet behind a vnet header. It dies with us."""

    def __init__(self, process: asyncio.subprocess.Process, log_end: int, name: str) -> None:
        self.packets: socket.socket
        self._process = process
        self._log_end = log_end
        self._name = name
        self._end = asyncio.ensure_future(self._watch())

    @classmethod
    async def start(cls, program: Sequence[str], descriptors: Sequence[int], *, name: str) -> Enclosed:
        """Run `program`, its absolute path and its arguments, with copies of `descriptors`. TranslatorError."""
        with _socket_pair() as (control, its_control), contextlib.ExitStack() as undo:
            log_end, its_log = _pipe()
            undo.callback(os.close, its_log)
            enclosure = (sys.executable, "-I", "-m", "clatnm.worker.enclosure", "--control-fd")
            try:
                process = await asyncio.create_subprocess_exec(
                    *(*enclosure, str(its_control.fileno()), *program),
                    pass_fds=(its_control.fileno(), *descriptors),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=its_log,
                    stderr=its_log,
                    env={},
                )
            except OSError as error:
                os.close(log_end)
                raise TranslatorError(f"cannot start {name}: {error.strerror}") from error
            its_control.close()
            enclosed = cls(process, log_end, name)
            try:
                enclosed.packets = await enclosed._receive_packets(control)
            except BaseException:
                await enclosed.stop()
                raise
        return enclosed

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> str:
        """Wait for its end; how it came to it, in words for the user."""
        return await asyncio.shield(self._end)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def stop(self) -> None:
        """End it. Nothing it has is worth a farewell."""
        if self.running:
            self._process.kill()
        await self._end

    async def _watch(self) -> str:
        status = await self._process.wait()
        lines = [line for line in _drained(self._log_end).splitlines() if line.strip()]
        os.close(self._log_end)
        log.debug("%s: %s", self._name, " | ".join(lines))
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"{self._name} ended with {how}{f': {lines[-1]}' if lines and status > 0 else ''}"

    async def _receive_packets(self, control: socket.socket) -> socket.socket:
        """The socket into its network; it is sent before the program begins. TranslatorError with its last words."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(control, readable.set)
        try:
            await wait_for(readable.wait(), _ENCLOSED_S)
            _, descriptors, _, _ = socket.recv_fds(control, 64, 1, socket.MSG_CMSG_CLOEXEC)
        except asyncio.TimeoutError:
            raise TranslatorError(f"{self._name} does not get a network of its own in time") from None
        except ConnectionError:
            descriptors = []
        finally:
            loop.remove_reader(control)
        if not descriptors:
            raise TranslatorError(await self.ended(), status=self._process.returncode)
        packets = socket.socket(fileno=descriptors[0])
        packets.setblocking(False)
        return packets


@contextlib.contextmanager
def _socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        ours.setblocking(False)
        yield ours, its


def _pipe() -> tuple[int, int]:
    """A pipe that is read at the end only: when it is full, further words are lost, but nobody waits."""
    ours, its = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(its, False)
    return ours, its


def _drained(fd: int) -> str:
    data = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(fd, 65536):
            data += chunk
    return data.decode(errors="replace")
