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


def prepare() -> None:
    """Start one for the next `take`, unless one waits already. OSError when it cannot be started."""
    _bury()
    if not _waiting:
        _waiting.append(_launch())


def take() -> Launched:
    """The one that was started ahead, if it still lives, or else a new one. OSError when it cannot be started."""
    _bury()
    return _waiting.pop() if _waiting else _launch()


def dismiss() -> None:
    """End the one that was started ahead if nobody took it."""
    while _waiting:
        process, control = _waiting.pop()
        control.close()
        process.kill()
        process.wait()


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Start one now for the first `take` within the block; afterwards it is gone if nobody took it."""
    with contextlib.suppress(OSError):  # `take` will try again, and say so
        prepare()
    try:
        yield
    finally:
        dismiss()


def _bury() -> None:
    """Forget one that died while it waited."""
    if _waiting and _waiting[0].process.poll() is not None:
        dismiss()


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
