# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that waits for its daemon's end. What it does then is tried in tests/e2e/test_surviving.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clatnm import caretaker
from clatnm.caretaker import Caretaker
from clatnm.kernel import who
from tests.lab.poll import eventually
from tests.unit.aio import run, settle, until

WAITING_KIB = 14 * 1024
CAP_KILL, CAP_NET_ADMIN = 5, 12


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


def test_one_that_is_wanted_soon_leaves_the_machine_to_others_first(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "_HURRIED", 0.05)

    async def story() -> None:
        wanted = Caretaker()
        wanted.engage_soon()
        wanted.engage_soon()
        await settle()
        assert started == []
        await until(lambda: started)
        wanted.engage_soon()
        wanted.dismiss()
        assert [process.returncode for process in started] == [0]
        wanted.engage_soon()
        wanted.dismiss()
        assert wanted._timer is None, "it is not wanted any more"

    run(story())


def test_one_of_an_earlier_daemon_ends_when_there_is_another_or_none_is_needed(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Or each restart would leave a process for half a minute, also to a machine that has no clatnm any more."""
    noted = tmp_path / "caretaker"
    earlier, later, last = (Caretaker(noted=noted) for _ in range(3))
    earlier.engage()
    assert noted.stat().st_mode & 0o077 == 0
    later.engage()
    assert started[0].wait(10) == -signal.SIGTERM
    assert started[1].poll() is None
    last.dismiss()  # it has had no translator, and leaves none
    assert started[1].wait(10) == -signal.SIGTERM
    assert not noted.exists()


def test_one_whose_daemon_lives_is_not_a_second_daemon_s_to_end(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """As when somebody tries `clatnm daemon -v` in a terminal, beside the service."""
    noted = tmp_path / "caretaker"
    first = Caretaker(noted=noted)
    first.engage()
    with subprocess.Popen(["sleep", "60"]) as daemon:
        text = f"{who.name(started[0].pid)}\n{who.name(daemon.pid)}"
        noted.write_text(text)
        try:
            second = Caretaker(noted=noted)
            second.engage()
            second.dismiss()
            assert started[0].poll() is None
            assert noted.read_text() == text
        finally:
            daemon.kill()
    Caretaker(noted=noted).dismiss()
    assert started[0].wait(10) == -signal.SIGTERM
    first.dismiss()


def test_number_that_is_somebody_else_s_by_now_is_not_the_earlier_one(tmp_path: Path) -> None:
    noted = tmp_path / "caretaker"
    with subprocess.Popen(["sleep", "60"]) as other:
        name = who.name(other.pid)
        for text in (name.rpartition(" ")[0] + " 1", str(other.pid), "", "\N{SNOWMAN}"):
            noted.write_text(text, encoding="utf-8")
            Caretaker(noted=noted).dismiss()
        assert other.poll() is None
        other.kill()


def test_it_knows_whose_it_is_and_where_the_bus_is(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/somewhere")
    engaged = Caretaker()
    engaged.engage()
    (process,) = started
    try:
        place = Path(f"/proc/{process.pid}")
        eventually(lambda: first_argument(place) == 0, message="it reads its standard input")
        assert place.joinpath("cmdline").read_bytes().split(b"\0")[-2].decode() == who.name(os.getpid())
        assert place.joinpath("environ").read_bytes() == b"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/somewhere\0"
    finally:
        engaged.dismiss()


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
            kept = f"{1 << CAP_NET_ADMIN | 1 << CAP_KILL:016x}"
            assert {status[name].strip() for name in ("CapEff", "CapPrm")} == {kept}
        assert process.stdin is not None
        process.stdin.close()  # as when the daemon was killed
        eventually(lambda: first_argument(place) not in (0, None), message="it waits for translators to end")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
