# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink for asyncio: one thread, one connection, one request after another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from clatnm.errors import HostError
from clatnm.kernel import host
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Netlink
from tests.unit.aio import run


class FakeNetlink:
    """Notes which threads make and close it."""

    made: list[FakeNetlink]
    fault: Exception | None

    def __init__(self) -> None:
        if self.fault is not None:
            raise self.fault
        self.threads = {threading.get_ident()}
        self.closed = False
        self.made.append(self)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed = True


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[FakeNetlink]:
    monkeypatch.setattr(FakeNetlink, "made", [], raising=False)
    monkeypatch.setattr(FakeNetlink, "fault", None, raising=False)
    monkeypatch.setattr(host, "Netlink", FakeNetlink)
    return FakeNetlink


def play(scene: Callable[[Host], Awaitable[None]]) -> None:
    async def work() -> None:
        one = Host()
        await scene(one)
        await one.close()

    before = threading.active_count()
    run(work())
    assert threading.active_count() <= before


def noting(done: list[int], number: int) -> Callable[[Netlink], bool]:
    """Work that leaves a note."""

    def work(kernel: Netlink) -> bool:
        done.append(number)
        return True

    return work


def thread_of(kernel: Netlink) -> int:
    return threading.get_ident()


def test_work_is_done_with_one_connection_in_one_other_thread(library: type[FakeNetlink]) -> None:
    async def scene(one: Host) -> None:
        threads = await asyncio.gather(*(one.do(thread_of) for _ in range(20)))
        assert len(set(threads)) == 1
        assert threading.get_ident() not in threads
        (connection,) = library.made
        assert await one.do(lambda kernel: kernel is connection)  # type: ignore[comparison-overlap]
        assert connection.threads == set(threads)

    play(scene)
    (connection,) = library.made
    assert connection.closed
    assert len(connection.threads) == 1  # closed where it was made


def test_work_is_done_in_the_order_it_was_asked_for(library: type[FakeNetlink]) -> None:
    async def scene(one: Host) -> None:
        done: list[int] = []
        gate = threading.Event()
        first = asyncio.ensure_future(one.do(lambda kernel: gate.wait(10)))
        rest = [asyncio.ensure_future(one.do(noting(done, n))) for n in range(5)]
        await asyncio.sleep(0)
        assert done == []
        gate.set()
        await asyncio.gather(first, *rest)
        assert done == [0, 1, 2, 3, 4]

    play(scene)


def test_slow_kernel_does_not_hold_the_loop_up(library: type[FakeNetlink]) -> None:
    async def scene(one: Host) -> None:
        gate = threading.Event()
        slow = asyncio.ensure_future(one.do(lambda kernel: gate.wait(10)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not slow.done()
        gate.set()
        assert await slow

    play(scene)


def test_fault_is_the_callers_and_the_connection_lives_on(library: type[FakeNetlink]) -> None:
    async def scene(one: Host) -> None:
        def refuse(kernel: Netlink) -> None:
            raise HostError("no", errno=1)

        with pytest.raises(HostError, match="no"):
            await one.do(refuse)
        assert await one.do(lambda kernel: 7) == 7
        assert len(library.made) == 1

    play(scene)


def test_connection_that_cannot_be_made_is_tried_again_next_time(library: type[FakeNetlink]) -> None:
    async def scene(one: Host) -> None:
        library.fault = OSError(24, "too many open files")
        with pytest.raises(OSError, match="too many"):
            await one.do(thread_of)
        library.fault = None
        await one.do(thread_of)
        assert len(library.made) == 1

    play(scene)


def test_end_waits_for_what_was_asked_for(library: type[FakeNetlink]) -> None:
    async def work() -> None:
        one, gate, done = Host(), threading.Event(), list[int]()
        asked = [asyncio.ensure_future(one.do(lambda kernel: gate.wait(10)))]
        asked.append(asyncio.ensure_future(one.do(noting(done, 1))))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(one.close())
        await asyncio.sleep(0)
        gate.set()
        await closing
        assert done == [1]
        await asyncio.gather(*asked)

    run(work())


def test_host_that_was_never_asked_anything_opens_nothing(library: type[FakeNetlink]) -> None:
    async def scene(one: Host) -> None:
        pass

    play(scene)
    assert library.made == []
