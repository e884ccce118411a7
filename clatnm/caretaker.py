# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -I -m clatnm.caretaker`: cleans up after a daemon that was killed and that nobody follows.

Nearly all of a translator goes with its process. Some things do not: a hook on clsact, the rule of a drain, the name of
its device in a zone of firewalld; and a process may hang. So a daemon with a translator starts this process, which
waits until the daemon is gone. If the daemon itself tells so, it goes, too; else it gives a successor and the
translators their time, then ends those that nobody has and that should have ended, and removes what is left. A
successor that has one of its own ends it before that.
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
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

log = logging.getLogger(__name__)

_SLACK_S: Final = 5.0  # for translators to end
_FAREWELL_S: Final = 2.0
_STDIN: Final = 0
_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h
_CAP_KILL, _CAP_NET_ADMIN = 5, 12
_HURRIED: Final = 2.0  # seconds after a start, which has the machine for itself until then
_BUS: Final = "DBUS_SYSTEM_BUS_ADDRESS"


class Caretaker:
    """The daemon's end of that process, which is there once it was needed."""

    def __init__(self, *, engaged: Callable[[], None] = lambda: None, noted: Path | None = None) -> None:
        """`engaged` is called when there is one. `noted`: a file that tells a successor which process it is."""
        self._engaged = engaged
        self._noted = noted
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def engage_soon(self) -> None:
        """The same, as soon as whoever has just been started needs the machine no more. Again is fine."""
        if self._timer is None and (self._process is None or self._process.poll() is not None):
            from asyncio import get_running_loop  # noqa: PLC0415  # not for the process, which is to be small

            self._timer = get_running_loop().call_later(_HURRIED, self.engage)

    def engage(self) -> None:
        """From now on somebody cleans up should we be killed. Again is fine."""
        self._wait_no_more()
        if self._process is not None and self._process.poll() is None:
            return
        self._close()
        from clatnm.kernel import who  # noqa: PLC0415  # as above

        # -I: nothing of the caller's environment or directory decides what a privileged process imports.
        command = (sys.executable, "-I", "-m", "clatnm.caretaker", who.name(os.getpid()))
        bus = {_BUS: os.environ[_BUS]} if _BUS in os.environ else {}
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", env=bus)
        except OSError as error:  # then it is as it was before there were any
            log.debug("no caretaker: %s", error.strerror)
            return
        if self._follow() and self._noted is not None:
            with contextlib.suppress(OSError):  # then it stays for a while when another daemon comes
                self._noted.touch(mode=0o600)
                self._noted.write_text(f"{who.name(self._process.pid)}\n{who.name(os.getpid())}")
        self._engaged()

    @property
    def pid(self) -> int:
        """Its number; 0 while there is none."""
        return 0 if self._process is None or self._process.poll() is not None else self._process.pid

    def dismiss(self) -> None:
        """We leave nothing, so nobody has to clean up."""
        self._wait_no_more()
        self._follow()
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

    def _follow(self) -> bool:
        """End the one that is noted, an earlier daemon's: we are here in its place. False: that daemon lives, and we
        are a second one, which is not to be."""
        if self._noted is None:
            return True
        from clatnm.kernel import who  # noqa: PLC0415  # as above

        with contextlib.suppress(OSError, ValueError):
            named, _, daemon = self._noted.read_text().partition("\n")
            if daemon != who.name(os.getpid()) and who.lives(daemon):
                return False
            self._noted.unlink()
            earlier = who.find(named)
            if earlier is not None:
                try:
                    signal.pidfd_send_signal(earlier, signal.SIGTERM)
                finally:
                    os.close(earlier)
        return True

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
    try:
        _clean_after("".join(sys.argv[1:2]))
    except Exception as error:  # it may be another version's code by now, or none
        print(f"error: nobody has cleaned up: {error!r} (clatnm cleanup)", file=sys.stderr)
    return 0


def _clean_after(daemon: str) -> None:
    # Nothing before this: while it waits, it is to be small.
    import asyncio  # noqa: PLC0415

    from clatnm.firewall.firewalld import release  # noqa: PLC0415
    from clatnm.firewall.memory import Memory  # noqa: PLC0415
    from clatnm.kernel.netlink import Netlink  # noqa: PLC0415
    from clatnm.translators.estate import PATIENCE_S, Estate  # noqa: PLC0415
    from clatnm.translators.leftovers import cleanup, forget_gone  # noqa: PLC0415
    from clatnm.translators.stuck import end_left  # noqa: PLC0415

    time.sleep(PATIENCE_S + _SLACK_S)
    estate = Estate()
    with Netlink() as kernel:
        for words in end_left(kernel, estate, daemon):
            print(words, file=sys.stderr)
        for what in cleanup(kernel):
            print(f"removed {what} of a translator that is gone", file=sys.stderr)
        forget_gone(kernel, estate)
        there = kernel.links().keys()
    estate.caretaker.unlink(missing_ok=True)
    memory = Memory(estate.zones, daemon)
    zones = memory.read(own=True)
    gone = {device: zone for device, zone in zones.items() if device not in there}
    if gone:
        asyncio.run(release(gone))
        memory.write({device: zone for device, zone in zones.items() if device in there})


def _give_up_privileges() -> None:
    """All but CAP_NET_ADMIN and CAP_KILL. Who does not have these either finds out when they are needed."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    kept = 1 << _CAP_NET_ADMIN | 1 << _CAP_KILL
    ctypes.CDLL(None).capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


if __name__ == "__main__":
    sys.exit(main())
