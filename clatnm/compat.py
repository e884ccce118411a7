# SPDX-License-Identifier: GPL-2.0-or-later
"""The few things newer Pythons have, or do right, and 3.10 does not, in one place."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable
from typing import NoReturn, TypeVar

_T = TypeVar("_T")


class StrEnum(str, enum.Enum):
    """`enum.StrEnum` of Python 3.11: members are, compare and format as their value."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


def assert_never(value: NoReturn) -> NoReturn:
    """Close a match over an enum or union; mypy reports any case left out."""
    raise AssertionError(f"unhandled: {value!r}")


async def wait_for(work: Awaitable[_T], timeout_s: float | None) -> _T:
    """`asyncio.wait_for` of Python 3.12: before, a task that is cancelled at the moment when `work` ends goes on as if
    nobody had asked it to end, and whoever waits for that waits for ever. asyncio.TimeoutError.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # has been looked at, or nobody will
    raise asyncio.TimeoutError
