# SPDX-License-Identifier: GPL-2.0-or-later
"""What a task that waits does when it is told to end."""

from __future__ import annotations

import asyncio

import pytest

from clatnm.waiting import wait_for


def test_cancelled_at_the_moment_of_the_end_is_cancelled() -> None:
    async def scene() -> None:
        work = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(wait_for(work, 10))
        await asyncio.sleep(0)
        work.set_result("done")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scene())


def test_result_fault_and_patience_are_those_of_the_work() -> None:
    async def told(what: str) -> str:
        if not what:
            raise ValueError("nothing")
        return what

    async def scene() -> None:
        assert await wait_for(told("done"), None) == "done"
        assert await wait_for(told("done"), 0) == "done"
        with pytest.raises(ValueError, match="nothing"):
            await wait_for(told(""), 10)
        ended = asyncio.Event()

        async def long() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        with pytest.raises(asyncio.TimeoutError):
            await wait_for(long(), 0.01)
        assert ended.is_set()

    asyncio.run(scene())


def test_work_that_ends_otherwise_when_its_time_is_over_is_heard() -> None:
    async def last(words: Exception | str) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if isinstance(words, Exception):
                raise words from None
            return words
        return "slept"

    async def scene() -> None:
        assert await wait_for(last("done"), 0.01) == "done"
        with pytest.raises(OSError, match="gone"):
            await wait_for(last(OSError("gone")), 0.01)

    asyncio.run(scene())


def test_work_that_somebody_else_cancels_is_not_late() -> None:
    async def scene() -> None:
        work = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(work.cancel)
        with pytest.raises(asyncio.CancelledError):
            await wait_for(work, 10)

    asyncio.run(scene())
