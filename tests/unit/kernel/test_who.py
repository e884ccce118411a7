# SPDX-License-Identifier: GPL-2.0-or-later
"""A process is known by its name for good, and nobody else is taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.kernel import who

EVIDENCE = ("pidfs", "proc")


@pytest.fixture(params=EVIDENCE)
def evidence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What there is to tell processes apart: as since Linux 6.9, or as before."""
    told: str = request.param
    descriptor = os.pidfd_open(os.getpid())
    known = who._is_pidfs(descriptor)
    os.close(descriptor)
    if told == "pidfs" and not known:
        pytest.skip("needs Linux 6.9")
    if told == "proc":
        monkeypatch.setattr(who, "_is_pidfs", lambda _: False)
    return told


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_process_is_found_by_its_name(evidence: str, child: subprocess.Popen[bytes]) -> None:
    name = who.name(child.pid)
    assert name.split()[:2] == [str(child.pid), {"pidfs": "pidfs", "proc": "started"}[evidence]]
    assert name == who.name(child.pid), "it is the same each time"
    descriptor = who.find(name)
    assert descriptor is not None
    assert not who.has_ended(descriptor, 0.0)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert who.has_ended(descriptor, 5.0)
    os.close(descriptor)
    assert child.wait(5) == -signal.SIGKILL


@pytest.mark.usefixtures("evidence")
def test_dead_process_is_not_found(child: subprocess.Popen[bytes]) -> None:
    name = who.name(child.pid)
    assert who.lives(name)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not who.lives(name), "its parent has not asked for its status yet"
    child.wait(5)
    assert not who.lives(name)
    assert who.name(child.pid) == ""


@pytest.mark.usefixtures("evidence")
def test_number_alone_is_not_enough(child: subprocess.Popen[bytes]) -> None:
    own = who.name(os.getpid())
    before = len(os.listdir("/proc/self/fd"))
    assert who.find(own.replace(str(os.getpid()), str(child.pid), 1)) is None
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["", " ", "x", "1", "-1 pidfs 1", "٣ pidfs 1", "0 pidfs 1", f"{1 << 80} pidfs 1"])
def test_what_names_nobody_finds_nobody(name: str) -> None:
    assert who.find(name) is None


def test_process_that_cannot_be_seen_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As under ProtectProc=invisible, before Linux 6.9."""
    monkeypatch.setattr(who, "_is_pidfs", lambda _: False)
    monkeypatch.setattr(who, "_PROC", tmp_path)
    assert who.name(os.getpid()) == ""


def test_user_is_part_of_what_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / str(os.getpid())
    place.mkdir()
    (place / "stat").write_text(f"{os.getpid()} (odd) name) S {' '.join(map(str, range(4, 53)))}\n")
    (place / "status").write_text("Name:\todd) name\nUid:\t65534\t0\t0\t0\n")
    monkeypatch.setattr(who, "_is_pidfs", lambda _: False)
    monkeypatch.setattr(who, "_PROC", tmp_path)
    assert who.name(os.getpid()) == f"{os.getpid()} started 22 user 65534"
