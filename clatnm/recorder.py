# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm daemon --record FILE`: every world that differs from the one before, as a line of a trace."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

from clatnm import trace
from clatnm.errors import HostError
from clatnm.log import Message, about
from clatnm.model import World

log = logging.getLogger(__name__)


class Recorder:
    """Writes a new file, which only its owner may read. HostError when it cannot be made."""

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):  # and not /dev/null, which others need
                os.fchmod(descriptor, 0o600)  # it may have been there
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}", errno=error.errno or errno.EIO) from error
        self._path = path
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self._last: World | None = None

    def write(self, world: World, at: float) -> None:
        """Add a line if anything has changed. A file that cannot be written ends the recording, and nothing else."""
        if world == self._last or self._file.closed:
            return
        self._last = world
        try:
            self._file.write(trace.line(world, at) + "\n")
            self._file.flush()
        except OSError as error:
            told = about(Message.RECORDING_ENDED, error=error.strerror)
            log.warning("%s: %s; nothing more is recorded", self._path, error.strerror, extra=told)
            self._abandon()

    def close(self) -> None:
        """The end of the recording."""
        if not self._file.closed:
            self._abandon()

    def _abandon(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            log.debug("%s: %s", self._path, error.strerror)
