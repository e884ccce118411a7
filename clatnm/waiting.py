# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting with an end, as newer Pythons do it. Not in `compat`: the worker and the command line load no asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")


async def wait_for(work: Awaitable[_T], timeout_s: float | None) -> _T:
    """`asyncio.wait_for` of Python 3.12: before, a task that is cancelled at the moment when `work` ends goes on as if
    nobody had asked it to end, and whoever waits for that waits for ever. asyncio.TimeoutError.
    """
    task, late = asyncio.ensure_future(work), False
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        late = not task.done()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # has been looked at, or nobody will
    if late and task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
