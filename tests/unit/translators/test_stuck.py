# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators that do not answer: killed where it is sure who they are, deprived of their device where it is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clatnm.errors import HostError
from clatnm.kernel import who
from clatnm.memo import Memo
from clatnm.translators import adoption, orphan
from clatnm.translators.adoption import adopt_all, end_orphans
from clatnm.translators.stuck import end_left, end_stuck
from clatnm.translators.tun import TunBackend
from clatnm.worker import wire
from tests.unit.translators.fake_machine import INDEX, FakeHost
from tests.unit.translators.test_adoption import PAST, PLAN, Scene, play

SOON_S = 0.3
NOBODY = "1 pidfs 1"
MINE = "4711 pidfs 4711"


class Hung(Scene):
    """The daemon is gone, and the translator's process has been stopped."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.removed: list[int] = []
        self.machine.remove_tun = self.remove_tun
        self.write()
        self.left.alone()
        self.left.process.send_signal(signal.SIGSTOP)

    @property
    def pid(self) -> int:
        return self.left.process.pid

    @property
    def alive(self) -> bool:
        return self.left.process.poll() is None

    def write(self, *, process: str | None = None, daemon: str = MINE) -> None:
        """What is written down about it; by itself all of it is true."""
        name = who.name(self.pid) if process is None else process
        self.estate.write(Memo(version=wire.VERSION, past=PAST, index=INDEX, process=name, daemon=daemon))

    def remove_tun(self, index: int) -> bool:
        self.removed.append(index)
        return self.device.index == index

    async def end(self) -> list[str]:
        host: Any = FakeHost(self.machine)
        return await end_orphans(host, self.estate)

    async def adopted(self) -> list[Any]:
        host: Any = FakeHost(self.machine)
        return await adopt_all(host, self.estate, {"tun": TunBackend(host)})


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hung]:
    monkeypatch.setattr(orphan, "_ANSWER_S", SOON_S)
    scene = Hung(tmp_path / "translators")
    yield scene
    scene.left.close()


def test_next_daemon_kills_it(hung: Hung, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        assert await hung.adopted() == [(PAST, None)]
        assert not hung.alive
        assert hung.removed == []
        assert hung.files() == set()

    play(work)
    assert [record.getMessage() for record in caplog.records] == [
        f"the translator {PLAN.device} did not answer, and was killed"
    ]


def test_cleanup_kills_it(hung: Hung) -> None:
    async def work() -> None:
        assert await hung.end() == [f"the translator {PLAN.device}"]
        assert not hung.alive
        assert await hung.end() == []

    play(work)


def test_one_whose_daemon_lives_is_left_to_that(hung: Hung) -> None:
    """As a second daemon, or `clatnm cleanup` beside it, may find it."""
    hung.write(daemon=who.name(os.getpid()))

    async def work() -> None:
        assert await hung.adopted() == []
        assert await hung.end() == []
        assert hung.alive
        assert hung.removed == []
        assert hung.files() == {f"{INDEX}.socket", f"{INDEX}.memo"}

    play(work)


def test_one_that_should_have_ended_with_its_daemon_is_killed(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no door: TAYGA's, or somebody has removed that."""
    monkeypatch.setattr(adoption, "_ENDS_S", SOON_S)
    hung.estate.door(INDEX).unlink()

    async def work() -> None:
        assert await hung.adopted() == [(PAST, None)]
        assert not hung.alive
        assert hung.files() == set()

    play(work)


@pytest.mark.parametrize("process", ["", "nonsense", NOBODY])
def test_one_that_is_not_known_for_sure_loses_its_device_only(hung: Hung, process: str) -> None:
    hung.write(process=process)

    async def work() -> None:
        assert await hung.adopted() == [(PAST, None)]
        assert hung.alive
        assert hung.removed == [INDEX]
        assert hung.files() == {f"{INDEX}.socket"}, "its process may be asked again"

    play(work)


def test_number_that_somebody_else_has_now_is_not_killed(hung: Hung) -> None:
    another = who.name(hung.pid).split()[-1] + "1"
    hung.write(process=f"{hung.pid} pidfs {another}")

    async def work() -> None:
        await hung.adopted()
        assert hung.alive
        assert hung.removed == [INDEX]

    play(work)


def test_one_about_which_nothing_is_known_loses_its_device(hung: Hung) -> None:
    hung.estate.withdraw(INDEX)

    async def work() -> None:
        assert await hung.adopted() == []
        assert hung.removed == [INDEX]

    play(work)


def test_what_cannot_be_killed_loses_its_device(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    ended, words = end_stuck(hung.machine, hung.estate, INDEX)
    assert ended
    assert words.startswith(f"the translator {PLAN.device} does not answer, and has lost its device")
    assert hung.removed == [INDEX]


def test_what_cannot_be_removed_either_is_told_and_not_taken_for_gone(hung: Hung) -> None:
    hung.write(process="")

    def refuse(index: int) -> bool:
        raise HostError("cannot remove the device: Operation not permitted", errno=1)

    hung.machine.remove_tun = refuse
    ended, words = end_stuck(hung.machine, hung.estate, INDEX)
    assert not ended
    assert words.endswith("cannot be removed: cannot remove the device: Operation not permitted")


def test_those_who_hang_delay_the_others_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphan, "_ANSWER_S", 1.0)
    scene = Hung(tmp_path / "translators")
    for index in (INDEX + 1, INDEX + 2):
        (scene.directory / f"{index}.socket").symlink_to(scene.estate.door(INDEX))

    async def work() -> None:
        began = time.monotonic()
        await scene.adopted()
        assert time.monotonic() - began < 2.0

    play(work)
    scene.left.close()


def test_caretaker_ends_what_its_daemon_has_left(hung: Hung) -> None:
    assert end_left(hung.machine, hung.estate, MINE) == [f"the translator {PLAN.device} did not answer, and was killed"]
    assert not hung.alive


@pytest.mark.parametrize("adopted_by", [NOBODY, ""])
def test_caretaker_leaves_alone_what_another_daemon_has_had_since(hung: Hung, adopted_by: str) -> None:
    hung.write(daemon=adopted_by)
    assert end_left(hung.machine, hung.estate, MINE) == []
    assert end_left(hung.machine, hung.estate, "") == []
    assert hung.alive


def test_caretaker_passes_over_what_is_gone(hung: Hung) -> None:
    hung.device = replace(hung.device, index=INDEX + 1)
    hung.left.process.kill()
    hung.left.process.wait()
    assert end_left(hung.machine, hung.estate, MINE) == []
    assert hung.removed == []


def test_caretaker_takes_the_device_of_one_that_is_not_known(hung: Hung) -> None:
    hung.write(process="")
    assert len(end_left(hung.machine, hung.estate, MINE)) == 1
    assert hung.removed == [INDEX]
