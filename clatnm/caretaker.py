# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -I -m clatnm.caretaker`: cleans up after a daemon that was killed and that nobody follows.

Nearly all of a translator goes with its process. Two things do not: a hook on clsact, and the rule of a drain. A daemon
that has such starts this process, which waits until the daemon is gone. If the daemon itself tells so, it goes, too;
else it gives a successor and the translators their time, and then removes what is left of those that are gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import struct
import subprocess
import sys
import time
from typing import Final

log = logging.getLogger(__name__)

_SLACK_S: Final = 5.0  # for translators to end
_FAREWELL_S: Final = 2.0
_STDIN: Final = 0
_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h
_CAP_NET_ADMIN: Final = 12


class Caretaker:
    """The daemon's end of that process, which is there once it was needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def engage(self) -> None:
        """From now on somebody cleans up should we be killed. Again is fine."""
        if self._process is not None and self._process.poll() is None:
            return
        self._close()
        # -I: nothing of the caller's environment or directory decides what a privileged process imports.
        command = (sys.executable, "-I", "-m", "clatnm.caretaker")
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", env={})
        except OSError as error:  # then it is as it was before there were any
            log.debug("no caretaker: %s", error.strerror)

    def dismiss(self) -> None:
        """We leave nothing, so nobody has to clean up."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            os.write(self._process.stdin.fileno(), b".")
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


def main() -> int:
    """Exit status: 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever ends the daemon from a terminal ends it in order
    _give_up_privileges()
    if os.read(_STDIN, 1):
        return 0
    # Nothing before this: while it waits, it is to be small.
    from clatnm.kernel.netlink import Netlink  # noqa: PLC0415
    from clatnm.translators.estate import PATIENCE_S, Estate  # noqa: PLC0415
    from clatnm.translators.leftovers import cleanup, forget_gone  # noqa: PLC0415

    time.sleep(PATIENCE_S + _SLACK_S)
    with Netlink() as kernel:
        for what in cleanup(kernel):
            print(f"removed {what} of a translator that is gone", file=sys.stderr)
        forget_gone(kernel, Estate())
    return 0


def _give_up_privileges() -> None:
    """All but CAP_NET_ADMIN. Who does not have that either finds out when it is needed."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    kept = 1 << _CAP_NET_ADMIN
    ctypes.CDLL(None).capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


if __name__ == "__main__":
    sys.exit(main())
