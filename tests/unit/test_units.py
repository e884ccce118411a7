# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon wants to be units of their own, and what it tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clatnm import daemon, status
from clatnm.daemon import Daemon
from clatnm.dbus.scopes import Group
from clatnm.model import Running, RunState
from tests.schemas import faults
from tests.unit.aio import settle
from tests.unit.metrics.a_daemon import asked
from tests.unit.policy.worlds import a_world, the_plan
from tests.unit.test_status import PLAN, WANTED, connection, text
from tests.unit.wired import Stage, play


class FakeScopes:
    """Has put everything that was wanted into a unit, and knows what it was."""

    def __init__(self) -> None:
        self.wanted: list[Group] = []
        self.buses: list[Any] = []
        self.closed = False

    def attach(self, bus: Any) -> None:
        self.buses.append(bus)

    def want(self, groups: Iterable[Group]) -> None:
        self.wanted = list(groups)

    def unit(self, pid: int) -> str:
        return next((f"{group.name}.scope" for group in self.wanted if pid in group.pids), "")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def scopes(monkeypatch: pytest.MonkeyPatch) -> FakeScopes:
    fake = FakeScopes()
    monkeypatch.setattr(daemon, "Scopes", lambda: fake)
    return fake


def test_translator_is_wanted_in_a_unit_once_it_is_at_work(
    scopes: FakeScopes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = Stage(monkeypatch, tmp_path)
    gate = stage.backend.gates["start"] = asyncio.Event()

    def translators() -> list[Group]:
        return [group for group in scopes.wanted if group.name != "clatnm-caretaker"]

    async def scene(stage: Stage) -> None:
        assert translators() == [] and len(scopes.buses) == 1
        gate.set()
        await settle()
        (translator,) = stage.backend.alive
        assert translators() == [Group(name="clat-wlan0", description="IPv4 on wlan0 by CLAT", pids=translator.pids)]
        stage.world = replace(stage.world, uplinks=())
        stage.observer.changed()
        await settle()
        assert translators() == []
        stage.buses[0].close()
        await asyncio.sleep(2)
        assert len(scopes.buses) == 2

    play(scene, stage)
    assert scopes.closed


@pytest.mark.usefixtures("scopes")
def test_status_has_process_and_unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (told,) = asked(monkeypatch, tmp_path, Daemon.status)
    assert faults("status", told) == []
    (running,) = (item["translator"] for item in told["connections"] if item["translator"])
    assert (running["pid"] > 0, running["unit"], running["up_s"]) == (True, "clat-wlan0.scope", 0)
    assert f"  process   {running['pid']}, for 0 s, clat-wlan0.scope\n" in status.as_text(told)


def test_status_without_units_has_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (told,) = asked(monkeypatch, tmp_path, Daemon.status)
    assert faults("status", told) == []
    (running,) = (item["translator"] for item in told["connections"] if item["translator"])
    assert (running["pid"] > 0, running["unit"]) == (True, None)
    assert f"  process   {running['pid']}, for 0 s\n" in status.as_text(told)


@pytest.mark.parametrize(
    ("up_s", "words"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172799, "47 h"),
        (172800, "2 d"),
        (None, "0 s"),
    ],
)
def test_time_is_told_in_one_unit(up_s: int | None, words: str) -> None:
    told = connection(WANTED, Running(plan=PLAN, state=RunState.ON))
    told["translator"].update(pid=4711, unit=None, up_s=up_s)
    assert f"  process   4711, for {words}\n" in text(told)


def test_unit_says_what_it_is_for() -> None:
    plan = the_plan(a_world())
    assert status.title(plan) == "IPv4 on wlan0 by CLAT"
    assert status.title(replace(plan, static="web", interface="eth0")) == "Translator static.d/web on eth0"
