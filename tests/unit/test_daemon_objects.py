# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon tells the bus of its connections: at the end of each round, and to the bus that is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from clatnm.daemon import Daemon
from clatnm.dbus import service
from clatnm.dbus.properties import values
from tests.unit.aio import settle
from tests.unit.policy.worlds import a_world
from tests.unit.wired import FakeBus, Stage, play


class Heard:
    """The objects on one bus: the states that were published, and the decisions."""

    def __init__(self, first: Iterable[dict[str, Any]]) -> None:
        self.rounds = [[values(each) for each in first]]
        self.decisions: list[str] = []

    def publish(self, told: Iterable[dict[str, Any]], decisions: Iterable[str]) -> None:
        self.rounds.append([values(each) for each in told])
        self.decisions.extend(decisions)

    def states(self) -> list[list[str]]:
        """Without those rounds in which nothing was new."""
        told = [[f"{each['Interface']} {each['State']}" for each in shown] for shown in self.rounds]
        return [shown for index, shown in enumerate(told) if index == 0 or shown != told[index - 1]]


@pytest.fixture
def buses(monkeypatch: pytest.MonkeyPatch) -> list[Heard]:
    """One for each bus that the daemon has joined."""
    return []


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, buses: list[Heard]) -> Stage:
    stage = Stage(monkeypatch, tmp_path)

    async def offer(_: FakeBus, daemon: Daemon) -> Heard:
        heard = Heard(daemon.connections())
        await stage.offering.wait()
        stage.said.append("offered")
        buses.append(heard)
        return heard

    monkeypatch.setattr(service, "offer", offer)
    return stage


def test_life_of_a_translator_is_told_with_its_decisions(stage: Stage, buses: list[Heard]) -> None:
    stage.backend.gates["start"] = asyncio.Event()

    async def scene(stage: Stage) -> None:
        stage.backend.gates["start"].set()
        await settle()
        (heard,) = buses
        assert heard.states()[-2:] == [["wlan0 starting"], ["wlan0 on"]]
        assert heard.rounds[-1][0]["Device"] == "clat-wlan0"
        stage.world = a_world(prefixes={})
        stage.observer.changed()
        await settle()
        assert heard.states()[-2:] == [["wlan0 stopping"], ["wlan0 off"]]
        assert heard.rounds[-1][0]["Reason"] == "no-pref64"
        assert [text.partition(" [")[0].partition(",")[0] for text in heard.decisions] == [
            "wlan0: CLAT up",
            "wlan0: no CLAT",
        ]
        stage.world = a_world(uplinks=())
        stage.observer.changed()
        await settle()
        assert heard.rounds[-1] == []

    play(scene, stage)


def test_another_look_tells_the_same(stage: Stage, buses: list[Heard]) -> None:
    async def scene(stage: Stage) -> None:
        (heard,) = buses
        last = heard.rounds[-1]
        for _ in range(3):
            await asyncio.sleep(10)
            stage.observer.changed()
            await settle()
        assert all(shown == last for shown in heard.rounds[-3:])

    play(scene, stage)


def test_what_changes_while_the_objects_are_made_is_told_too(stage: Stage, buses: list[Heard]) -> None:
    async def scene(stage: Stage) -> None:
        stage.offering.clear()
        stage.buses[0].close()
        await asyncio.sleep(2)
        stage.world = a_world(prefixes={})
        stage.observer.changed()
        await settle()
        assert len(buses) == 1
        stage.offering.set()
        await settle()
        assert buses[1].rounds[0][0]["State"] == "on"
        assert buses[1].rounds[-1][0]["Reason"] == "no-pref64"

    play(scene, stage)


def test_bus_that_comes_back_is_told_everything_and_the_old_one_nothing(stage: Stage, buses: list[Heard]) -> None:
    async def scene(stage: Stage) -> None:
        stage.buses[0].close()
        await settle()
        told = len(buses[0].rounds)
        stage.observer.changed()
        await asyncio.sleep(2)
        assert len(buses) == 2
        assert len(buses[0].rounds) == told
        assert buses[1].states()[-1] == ["wlan0 on"]

    play(scene, stage)
