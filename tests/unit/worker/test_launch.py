# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes started ahead: taken once, never left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from clatnm.worker import launch, privileges
from clatnm.worker.launch import Launched
from tests.lab.poll import eventually


def end(launched: Launched) -> int:
    """Hang up; the process's exit status."""
    launched.control.close()
    return launched.process.wait(timeout=10)


def test_process_ends_when_its_supervisor_hangs_up() -> None:
    assert end(launch.take()) == 0


def test_the_one_started_ahead_is_taken_first_and_only_once() -> None:
    with launch.ahead():
        (waiting,) = launch._waiting
        first = launch.take()
        second = launch.take()
    assert first is waiting
    assert second.process.pid != first.process.pid
    assert (end(first), end(second)) == (0, 0)


def test_one_that_nobody_took_is_gone_after_the_block() -> None:
    with launch.ahead():
        (waiting,) = launch._waiting
    assert waiting.control.fileno() == -1
    with pytest.raises(ProcessLookupError):
        os.kill(waiting.process.pid, 0)
    assert launch._waiting == []


def test_one_that_was_taken_outlives_the_block() -> None:
    with launch.ahead():
        taken = launch.take()
    assert taken.process.poll() is None
    assert end(taken) == 0


def test_only_one_waits() -> None:
    with launch.ahead():
        (waiting,) = launch._waiting
        launch.prepare()
        assert launch._waiting == [waiting]


def test_one_that_died_while_it_waited_is_replaced_by_whoever_takes() -> None:
    with launch.ahead():
        (waiting,) = launch._waiting
        waiting.process.kill()
        waiting.process.wait()
        taken = launch.take()
    assert waiting.control.fileno() == -1
    assert end(taken) == 0


def test_one_that_waits_has_no_privileges() -> None:
    with launch.ahead():
        (waiting,) = launch._waiting
        path = Path(f"/proc/{waiting.process.pid}/status")

        def powerless() -> bool:
            status = dict(line.split(":\t", 1) for line in path.read_text().splitlines())
            capabilities = {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
            nobody = os.geteuid() != 0 or status["Uid"].split() == [str(privileges.identity()[0])] * 4
            return nobody and capabilities == {"0" * 16}

        eventually(powerless, message="it is nobody")


def test_start_that_fails_ahead_is_an_error_for_whoever_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    before = len(os.listdir("/proc/self/fd"))
    with launch.ahead(), pytest.raises(FileNotFoundError):
        launch.take()
    assert len(os.listdir("/proc/self/fd")) == before
