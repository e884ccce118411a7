# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm indicator --follow`: a line when it is another one, for as long as somebody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from clatnm.dbus.following import Following, Tell
from clatnm.dbus.following import watch as watch_daemon
from clatnm.desktop.state import Network, networks
from clatnm.pipes import reader_gone

Make = Callable[[Sequence[Network] | None], str]
"""Makes the line of the connections; of None, while the daemon does not answer."""


async def follow(make: Make, output: TextIO, *, watch: Callable[[Tell], Following] = watch_daemon) -> None:
    """Until it is cancelled. BrokenPipeError when the reader has gone, also while there is nothing to write."""
    last: str | None = None

    def tell(told: Any) -> None:
        nonlocal last
        line = make(None if told is None else networks(told))
        if line != last:
            last = line
            print(line, file=output, flush=True)

    with reader_gone(output) as gone:
        tasks = {asyncio.ensure_future(watch(tell).run()), asyncio.ensure_future(gone.wait())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise BrokenPipeError
        finally:
            for task in tasks:
                task.cancel()
