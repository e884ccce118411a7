# SPDX-License-Identifier: GPL-2.0-or-later
"""inotify(7) without a library: something in one of these directories has changed. What it was is not told."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from clatnm.errors import HostError

_LIBC = ctypes.CDLL(None, use_errno=True)
_ATTRIB, _CLOSE_WRITE, _MOVED, _CREATE, _DELETE = 0x4, 0x8, 0xC0, 0x100, 0x200
_ONLYDIR = 0x0100_0000
_MASK = _ATTRIB | _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _ONLYDIR
_READ_BYTES = 1 << 16


class DirectoryWatch:
    """A descriptor (`fileno`) that is readable after a file in one of the directories came, went or changed.

    HostError in the constructor: the user's share of such descriptors is used up.
    """

    def __init__(self) -> None:
        self._fd = int(_LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        if self._fd < 0:
            number = ctypes.get_errno()
            raise HostError(f"inotify: {os.strerror(number)}", errno=number)

    def fileno(self) -> int:
        return self._fd

    def add(self, directories: Iterable[Path]) -> None:
        """Watch these too; free for those watched already, nothing for those that do not exist.

        HostError: the user's share of watches is used up.
        """
        for directory in directories:
            # The kernel knows a watch by its directory's inode: adding it again is how one that was replaced is found.
            if int(_LIBC.inotify_add_watch(self._fd, os.fsencode(directory), _MASK)) < 0:
                number = ctypes.get_errno()
                if number not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    raise HostError(f"inotify: {directory}: {os.strerror(number)}", errno=number)

    def drain(self) -> bool:
        """Forget what was told until now; False when that was nothing."""
        told = False
        while True:
            try:
                os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return told
            told = True

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
