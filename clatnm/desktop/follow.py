# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm indicator --follow`: a line when it is another one, for as long as somebody reads."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from clatnm.desktop.state import Network, networks
from clatnm.desktop.watch import Tell, Watch

Make = Callable[[Sequence[Network] | None], str]
"""Makes the line of the connections; of None, while the daemon does not answer."""


async def follow(make: Make, output: TextIO, *, watch: Callable[[Tell], Watch] = Watch) -> None:
    """Until it is cancelled. BrokenPipeError when the reader has gone, also while there is nothing to write."""
    last: str | None = None

    def tell(told: Any) -> None:
        nonlocal last
        line = make(None if told is None else networks(told))
        if line != last:
            last = line
            print(line, file=output, flush=True)

    gone = asyncio.Event()
    loop, descriptor = asyncio.get_running_loop(), _pipe(output)
    if descriptor is not None:
        # A pipe that is only written to is never readable, unless its other end is closed.
        loop.add_reader(descriptor, gone.set)
    tasks = {asyncio.ensure_future(watch(tell).run()), asyncio.ensure_future(gone.wait())}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise BrokenPipeError
    finally:
        if descriptor is not None:
            loop.remove_reader(descriptor)
        for task in tasks:
            task.cancel()


def _pipe(output: TextIO) -> int | None:
    """The descriptor of an output that is a pipe."""
    try:
        descriptor = output.fileno()
        return descriptor if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None
    except (OSError, ValueError):  # a test's, or closed
        return None
