# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm indicator --follow` on a real bus: one line a change, and an end when nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import os
from collections.abc import AsyncIterator

import pytest

from clatnm.desktop import bars, words
from tests.unit.aio import run, until
from tests.unit.desktop import desktop_told as told
from tests.unit.desktop.desks import Desk

MAKE = functools.partial(bars.indicator, form=bars.words, escape=words.plain)


@contextlib.asynccontextmanager
async def following(desk: Desk, output: io.StringIO) -> AsyncIterator[None]:
    work = asyncio.ensure_future(desk.follow.follow(MAKE, output, watch=desk.quick_watch))
    try:
        yield
        assert not work.done(), work
    finally:
        work.cancel()
        await asyncio.wait({work})


def test_line_is_printed_when_it_is_another_one(desk: Desk) -> None:
    async def work() -> None:
        output = io.StringIO()
        async with following(desk, output):
            async with desk.daemon(told.on()) as daemon:
                await until(lambda: output.getvalue().endswith("NAT64\n"))
                daemon.says(told.on(evidence={"left": "1s"}))
                target = daemon.asked + 3
                await until(lambda: daemon.asked >= target)
                daemon.says(told.without_nat64())
                await until(lambda: output.getvalue().endswith("no IPv4\n"))
            await until(lambda: output.getvalue().endswith("no clatnm\n"))
            async with desk.daemon():
                await until(lambda: output.getvalue().endswith("no CLAT\n"))
        # Whether the first look came before the daemon is chance.
        lines = output.getvalue().removeprefix("no clatnm\n").splitlines()
        assert lines == ["NAT64", "no IPv4", "no clatnm", "no CLAT"]

    run(work())


def test_daemon_that_tells_of_changes_is_asked_at_once_and_seldom_besides(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = functools.partial(desk.following.watch, every_s=3600.0)
    monkeypatch.setattr(Desk, "quick_watch", property(lambda _: seldom))

    async def work() -> None:
        output = io.StringIO()
        async with desk.daemon(told.on()) as daemon, following(desk, output):
            await until(lambda: output.getvalue().endswith("NAT64\n"))
            asked = daemon.asked
            await daemon.signal()
            await until(lambda: daemon.asked > asked)
            daemon.says(told.without_nat64())
            await daemon.signal()
            await until(lambda: output.getvalue().endswith("no IPv4\n"))

    run(work())


def test_it_ends_when_nobody_reads_though_nothing_changes(desk: Desk) -> None:
    async def work() -> None:
        read, write = os.pipe()
        with os.fdopen(write, "w") as output:
            async with desk.daemon(told.on()):
                task = asyncio.ensure_future(desk.follow.follow(MAKE, output, watch=desk.quick_watch))
                loop = asyncio.get_running_loop()
                assert await loop.run_in_executor(None, os.read, read, 5)
                os.close(read)
                with pytest.raises(BrokenPipeError):
                    await task

    run(work())
