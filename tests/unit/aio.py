# SPDX-License-Identifier: GPL-2.0-or-later
"""asyncio in tests: every test ends, and waiting is for a state, not for a time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_LIMIT_S = 20.0
_PAUSE_S = 0.002


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; one that hangs fails."""

    async def limited() -> T:
        return await asyncio.wait_for(work, _LIMIT_S)

    return asyncio.run(limited())


async def until(check: Callable[[], T], *, timeout_s: float = 5.0) -> T:
    """Let the loop run until `check` returns something true, and return that."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (value := check()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s:g} s; last: {value!r}"
        await asyncio.sleep(_PAUSE_S)
    return value


async def settle() -> None:
    """Let everything run that is ready to, and all that becomes ready by it."""
    for _ in range(50):
        await asyncio.sleep(0)


class _Impatient(selectors.DefaultSelector):
    """Never waits: when nothing is ready, the time waited for has passed."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that never comes"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing else is to be done.

    For tests without real sockets or processes on the other side, which would always come too late.
    """

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)
        self.unhandled: list[Mapping[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))

    def time(self) -> float:
        return self._impatient.now


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine on a clock of its own, which costs no time. Unawaited exceptions fail the test."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(work)
        loop.run_until_complete(settle())
        assert not loop.unhandled
        return result
    finally:
        loop.close()
