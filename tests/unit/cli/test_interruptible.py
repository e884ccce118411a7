# SPDX-License-Identifier: GPL-2.0-or-later
"""What a verb that waits does at Ctrl+C."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from typing import Any, NoReturn

import pytest

from clatnm.cli import interruptible

# It is told again and again: while it ends, when it has, and when nothing is left to do.
_STORY = """
import asyncio, os, signal
from clatnm.cli import interruptible

def tell():
    os.kill(os.getpid(), signal.SIGINT)

async def work():
    await asyncio.to_thread(int)  # leaves a thread, which is told where this one does not listen
    asyncio.get_running_loop().call_soon(tell)
    try:
        await asyncio.sleep(60)
    finally:
        tell()
        await asyncio.sleep(0.01)
        tell()
        print("in order")

try:
    interruptible.run(work())
except KeyboardInterrupt:
    tell()
    print("interrupted")
"""


def test_first_signal_ends_it_in_order_and_the_others_do_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _STORY], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "in order\ninterrupted\n", "")


def test_what_is_done_has_a_result_or_a_fault() -> None:
    async def told(what: str) -> str:
        if not what:
            raise ValueError("nothing")
        return what

    assert interruptible.run(told("done")) == "done"
    with pytest.raises(ValueError, match="nothing"):
        interruptible.run(told(""))


def test_work_that_never_began_is_not_complained_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(main: Any) -> NoReturn:
        main.close()
        raise KeyboardInterrupt

    async def work() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("asyncio.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        interruptible.run(never := work())
    assert inspect.getcoroutinestate(never) == inspect.CORO_CLOSED
