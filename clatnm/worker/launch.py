# SPDX-License-Identifier: GPL-2.0-or-later
"""For supervisors: starting the translator process. It then waits for its first message, the start.

Python takes longer to start than everything else that bringing a translator up takes. So a process can be started
ahead, and gets ready while its supervisor is still busy with other things.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple


class Launched(NamedTuple):
    """A process, and the supervisor's end of its control socket. The process ends when that is closed."""

    process: subprocess.Popen[bytes]
    control: socket.socket


_waiting: list[Launched] = []


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Start one now for the first `take` within the block; afterwards it is gone if nobody took it."""
    with contextlib.suppress(OSError):  # `take` will try again, and say so
        _waiting.append(_launch())
    try:
        yield
    finally:
        while _waiting:
            process, control = _waiting.pop()
            control.close()
            process.kill()
            process.wait()


def take() -> Launched:
    """The one that was started ahead, or else a new one. OSError when it cannot be started."""
    return _waiting.pop() if _waiting else _launch()


def _launch() -> Launched:
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # -I: nothing of the caller's environment or directory decides what a privileged process imports.
    command = (sys.executable, "-I", "-m", "clatnm.worker", "--control-fd", str(its.fileno()))
    with its:
        try:
            process = subprocess.Popen(command, pass_fds=(its.fileno(),), stdin=subprocess.DEVNULL, env={})
        except BaseException:
            mine.close()
            raise
    return Launched(process, mine)
