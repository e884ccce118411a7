# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that waits for its daemon's end. What it does then is tried in tests/e2e/test_surviving.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clatnm.caretaker import Caretaker
from tests.lab.poll import eventually

WAITING_KIB = 14 * 1024
CAP_NET_ADMIN = 12


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started, in order."""
    made: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            made.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return made


def first_argument(place: Path) -> int | None:
    """Of the system call that a process is blocked in; None while it runs."""
    told = (place / "syscall").read_text().split()
    return None if told[0] == "running" else int(told[1], 16)


def test_it_is_there_once_it_was_needed_and_goes_when_dismissed(started: list[subprocess.Popen[bytes]]) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    caretaker = Caretaker()
    caretaker.dismiss()
    assert started == []
    caretaker.engage()
    caretaker.engage()
    (process,) = started
    caretaker.dismiss()
    assert process.returncode == 0
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_one_that_died_is_replaced(started: list[subprocess.Popen[bytes]]) -> None:
    caretaker = Caretaker()
    caretaker.engage()
    started[0].kill()
    started[0].wait()
    caretaker.engage()
    assert len(started) == 2
    caretaker.dismiss()
    assert started[1].returncode == 0


def test_without_one_the_daemon_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    caretaker = Caretaker()
    caretaker.engage()
    caretaker.dismiss()


def test_it_is_small_while_it_waits_and_sees_its_daemon_go(started: list[subprocess.Popen[bytes]]) -> None:
    caretaker = Caretaker()
    caretaker.engage()
    (process,) = started
    place = Path(f"/proc/{process.pid}")
    try:
        eventually(lambda: first_argument(place) == 0, message="it reads its standard input")
        status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines())
        assert int(status["VmRSS"].split()[0]) <= WAITING_KIB
        if os.geteuid() == 0:
            assert {status[name].strip() for name in ("CapEff", "CapPrm")} == {f"{1 << CAP_NET_ADMIN:016x}"}
        assert process.stdin is not None
        process.stdin.close()  # as when the daemon was killed
        eventually(lambda: first_argument(place) not in (0, None), message="it waits for translators to end")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
