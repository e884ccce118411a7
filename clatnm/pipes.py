# SPDX-License-Identifier: GPL-2.0-or-later
"""For what writes whenever something happens: nobody may be reading any more, and then nothing needs to happen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def reader_gone(output: TextIO | None) -> Iterator[asyncio.Event]:
    """An event that is set when the other end of a pipe is closed, also while there is nothing to write.

    Of an output that is no pipe it is never set.
    """
    gone = asyncio.Event()
    loop, descriptor = asyncio.get_running_loop(), _pipe(output)
    if descriptor is not None:
        # A pipe that is only written to is never readable, unless its other end is closed.
        loop.add_reader(descriptor, gone.set)
    try:
        yield gone
    finally:
        if descriptor is not None:
            loop.remove_reader(descriptor)


def _pipe(output: TextIO | None) -> int | None:
    """The descriptor of an output that is a pipe."""
    try:
        descriptor = -1 if output is None else output.fileno()
        return descriptor if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None
    except (OSError, ValueError):  # a test's, or closed
        return None
