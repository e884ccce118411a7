# SPDX-License-Identifier: GPL-2.0-or-later
"""For verbs that wait for others: whoever presses Ctrl+C, however often, sees them end and nothing else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run`, for the main thread. KeyboardInterrupt after a SIGINT, once `work` has ended in order."""
    try:
        return asyncio.run(_ended_by_a_signal(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        work.close()  # Python complains about one that the first SIGINT left unstarted


async def _ended_by_a_signal(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.ensure_future(work)
    at_the_first(task.cancel, signal.SIGINT)
    return await task


def at_the_first(end: Callable[[], object], *numbers: signal.Signals) -> None:
    """Have the running loop call `end` at the first of these signals. Those that follow wait until the process ends:
    asyncio would leave its tasks as they are then, or closes what they are told by, and Python complains of either.
    """
    ending = False

    def told() -> None:
        nonlocal ending
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        if not ending:  # another thread may still listen
            ending = True
            end()

    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, told)
