# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal with a program on it: what stands on its screen, keys, sizes. A real pty, read by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

import pytest


def _take_terminal() -> None:
    """What makes a terminal the session's: signals for its keys and its size come from it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """`argv` runs on it, in a session of its own whose terminal it is."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], columns: int = 80, rows: int = 24) -> None:
        pyte = pytest.importorskip("pyte", reason="needs pyte (package python3-pyte)")
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, self._theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self._set_size(columns, rows)
        self._before = termios.tcgetattr(self._theirs)
        self._process = subprocess.Popen(
            argv,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**env, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  # one system call, and no lock
        )

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lines(self) -> list[str]:
        """The screen as it stands now."""
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # nothing more, or nobody there any more
                break
            if not data:
                break
            self._stream.feed(data)
        return [str(line) for line in self._screen.display]

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines())

    def looks(self, row: int) -> set[str]:
        """How the characters of a row look: `reverse`, `bold`."""
        self.lines()
        cells = self._screen.buffer[row].values()
        return {name for cell in cells for name in ("reverse", "bold") if getattr(cell, name)}

    def press(self, keys: str) -> None:
        """Type on its keyboard; arrow keys as a terminal sends them."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As by a window manager: the kernel tells the program."""
        self.lines()
        self._screen.resize(rows, columns)
        self._set_size(columns, rows)

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    @property
    def status(self) -> int | None:
        """Exit status of the program; None while it runs."""
        self.lines()  # nobody else takes what it writes at the end
        return self._process.poll()

    @property
    def is_as_before(self) -> bool:
        """Echo, line editing and the rest are set as the program found them."""
        return termios.tcgetattr(self._theirs) == self._before

    def close(self) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)
