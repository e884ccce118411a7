# SPDX-License-Identifier: GPL-2.0-or-later
"""Carrying out steps: stops, one by one and all at once, whatever is under way."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from clatnm.errors import TranslatorError
from clatnm.model import RunState, Start, Step, Stop, Update
from tests.unit.aio import settle
from tests.unit.supervised import OTHER, PLAN, WORLD, Stage, play

LIVE = replace(PLAN, metric=700)


def test_stopped_translator_is_gone_only_when_it_is() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.gates["stop"] = asyncio.Event()
        await stage.apply(Stop(plan=PLAN))
        assert stage.states() == {"wlan0": RunState.STOPPING}
        before = stage.changes
        stage.backend.gates["stop"].set()
        await settle()
        assert stage.states() == {}
        assert stage.changes == before + 1
        assert stage.supervisor.retries == {}

    play(scene)


def test_wish_that_ends_during_the_start_stops_it_afterwards() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.gates["start"] = asyncio.Event()
        await stage.look()
        stage.world = replace(WORLD, uplinks=())
        await stage.look()
        assert stage.states() == {"wlan0": RunState.STARTING}
        stage.backend.gates["start"].set()
        await settle()
        await stage.look()
        assert stage.states() == {}
        assert stage.backend.alive == []

    play(scene)


def test_wish_that_changes_during_the_start_is_fulfilled_afterwards() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.gates["start"] = asyncio.Event()
        await stage.look()
        stage.world = replace(WORLD, advertised_mtus={"wlan0": 1400})
        await stage.look()
        stage.backend.gates["start"].set()
        await settle()
        await stage.look()
        assert stage.backend.alive[0].plan.ipv6_mtu_bytes == 1400
        assert len(stage.backend.starts) == 1

    play(scene)


def test_stop_that_goes_wrong_is_an_end_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.faults["stop"] = [OSError(5, "a bug")]
        await stage.apply(Stop(plan=PLAN))
        assert stage.states() == {}

    with caplog.at_level(logging.ERROR):
        play(scene)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("state", ["start", "update", "stop", "on", "failing-start", "failing-stop"])
def test_stop_all_leaves_nothing_whatever_is_under_way(state: str) -> None:
    async def scene(stage: Stage) -> None:
        verb = state.removeprefix("failing-")
        if verb != "start":
            await stage.apply(Start(plan=PLAN))
        stage.backend.gates[verb] = asyncio.Event()
        if state.startswith("failing-"):
            stage.backend.faults[verb] = [TranslatorError("no")]
        steps: dict[str, Step] = {
            "start": Start(plan=PLAN),
            "update": Update(old=PLAN, plan=LIVE),
            "stop": Stop(plan=PLAN),
        }
        if verb in steps:
            await stage.apply(steps[verb])
        await stage.apply(Start(plan=OTHER))
        ending = asyncio.ensure_future(stage.supervisor.stop_all())
        await settle()
        stage.backend.gates[verb].set()
        await ending
        assert stage.states() == {}
        assert stage.backend.alive == []

    play(scene)


def test_stop_all_without_translators_returns_at_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.supervisor.stop_all()

    play(scene)
