# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that waits for the next start: taken, replaced, and gone with whoever keeps it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.translators import process
from clatnm.translators.process import Spare, WorkerProcess
from clatnm.worker import launch
from tests.lab.poll import eventually
from tests.unit.aio import run, until

KEEPER = """
import asyncio
from clatnm.translators.process import Spare
from clatnm.worker import launch
async def keep():
    spare = Spare()
    print(launch._waiting[0].process.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(keep())
"""


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert launch._waiting == []
    assert sorted(os.listdir("/proc/self/fd")) == before


def waiting() -> int:
    """Pid of the process that waits; 0: none does."""
    return launch._waiting[0].process.pid if launch._waiting else 0


def test_start_takes_the_one_that_waits_and_then_another_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SPARE_S", 0.01)

    async def work() -> None:
        spare = Spare()
        first = waiting()
        worker = await WorkerProcess.spawn()
        assert worker.pid == first
        assert waiting() == 0  # not while the machine has better things to do
        second = await until(waiting)
        assert second != first
        spare.close()
        await worker.stop()

    run(work())


def test_two_starts_at_once_are_followed_by_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SPARE_S", 0.01)

    async def work() -> None:
        spare = Spare()
        workers = [await WorkerProcess.spawn() for _ in range(2)]
        third = await until(waiting)
        assert third not in {worker.pid for worker in workers}
        spare.close()
        await asyncio.gather(*(worker.stop() for worker in workers))

    run(work())


def test_one_that_died_is_no_obstacle() -> None:
    async def work() -> None:
        spare = Spare()
        dead = launch._waiting[0].process
        dead.kill()
        dead.wait()
        worker = await WorkerProcess.spawn()
        assert worker.pid != dead.pid
        spare.close()
        await worker.stop()

    run(work())


@pytest.mark.parametrize("taken", [False, True])
def test_close_ends_the_one_that_waits_and_the_wish_for_one(taken: bool) -> None:
    async def work() -> None:
        spare = Spare()
        pid = waiting()
        worker = await WorkerProcess.spawn() if taken else None
        spare.close()
        if worker is not None:
            await worker.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(work())


def test_without_a_spare_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SPARE_S", 0.0)

    async def work() -> None:
        worker = await WorkerProcess.spawn()
        await worker.stop()
        assert waiting() == 0

    run(work())


def test_one_that_cannot_be_started_is_nobodys_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")

    async def work() -> None:
        Spare().close()

    run(work())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_keeper_however_that_ends(number: signal.Signals) -> None:
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER], stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    with keeper.stdout:
        pid = int(keeper.stdout.readline())
    command = Path(f"/proc/{pid}/cmdline")
    eventually(lambda: b"clatnm.worker" in command.read_bytes(), message="it has begun")
    keeper.send_signal(number)
    keeper.wait(timeout=10)
    # Gone, or waiting to be buried by whoever adopted it.
    eventually(lambda: not command.exists() or command.read_bytes() == b"", message="it ends")
