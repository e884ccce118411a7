# SPDX-License-Identifier: GPL-2.0-or-later
"""Carrying out steps with programs of the administrator's: when they run, and what their failure does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from clatnm.errors import TranslatorError
from clatnm.hooks import Hooks
from clatnm.model import Plan, RunState, Settings, Start, Stop, Update
from clatnm.translators.base import Ended
from tests.unit.aio import settle
from tests.unit.supervised import OTHER, PLAN, Stage, play


class FakeHooks(Hooks):
    """`fault` is what goes wrong; `gates` let a call wait until they are set."""

    def __init__(self) -> None:
        super().__init__(Settings)
        self.ran: list[tuple[str, str]] = []
        self.fault = ""
        self.gates: dict[str, asyncio.Event] = {}

    async def up(self, plan: Plan) -> str:
        self.ran.append(("up", plan.interface))
        if plan.interface in self.gates:
            await self.gates[plan.interface].wait()
        return self.fault

    async def down(self, plan: Plan) -> None:
        self.ran.append(("down", plan.interface))

    def hurry(self) -> None:
        for gate in self.gates.values():
            gate.set()


def hooked(stage: Stage) -> FakeHooks:
    hooks = FakeHooks()
    stage.supervisor._hooks = hooks
    return hooks


def test_scripts_run_when_it_is_there_and_when_it_is_gone() -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        await stage.apply(Start(plan=PLAN))
        assert hooks.ran == [("up", "wlan0")]
        await stage.apply(Update(old=PLAN, plan=replace(PLAN, metric=700)))
        assert hooks.ran == [("up", "wlan0")]
        await stage.apply(Stop(plan=replace(PLAN, metric=700)))
        assert hooks.ran == [("up", "wlan0"), ("down", "wlan0")]

    play(scene)


def test_death_is_an_end_too() -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        await stage.apply(Start(plan=PLAN))
        stage.backend.alive[0].end(Ended(error="died"))
        await settle()
        assert hooks.ran == [("up", "wlan0"), ("down", "wlan0")]
        assert stage.supervisor.retries["wlan0"].error == "died"

    play(scene)


def test_update_that_fails_is_an_end_too() -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        await stage.apply(Start(plan=PLAN))
        stage.backend.faults["update"] = [TranslatorError("no")]
        await stage.apply(Update(old=PLAN, plan=replace(PLAN, metric=700)))
        assert hooks.ran == [("up", "wlan0"), ("down", "wlan0")]

    play(scene)


def test_script_that_fails_ends_the_translator_which_is_tried_again() -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        hooks.fault = "script-up: /x ended with status 1"
        await stage.apply(Start(plan=PLAN))
        assert stage.backend.alive == []
        assert stage.states() == {}
        retry = stage.supervisor.retries["wlan0"]
        assert (retry.error, retry.failures, retry.refused) == (hooks.fault, 1, frozenset())

    play(scene)


def test_script_that_takes_long_delays_its_own_connection_alone() -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        hooks.gates["wlan0"] = asyncio.Event()
        await stage.apply(Start(plan=PLAN), Start(plan=OTHER))
        assert stage.states() == {"wlan0": RunState.STARTING, "eth0": RunState.ON}
        hooks.gates["wlan0"].set()
        await settle()
        assert stage.states() == {"wlan0": RunState.ON, "eth0": RunState.ON}

    play(scene)


def test_end_of_the_daemon_waits_for_no_script() -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        hooks.gates["wlan0"] = asyncio.Event()
        hooks.fault = "script-up: /x was ended by SIGKILL"
        await stage.apply(Start(plan=PLAN))
        assert stage.states() == {"wlan0": RunState.STARTING}

    play(scene)  # which ends everything


def test_bug_in_the_hooks_leaves_no_connection_stuck() -> None:
    class Broken(FakeHooks):
        async def up(self, plan: Plan) -> str:
            raise RuntimeError("bug")

    async def scene(stage: Stage) -> None:
        stage.supervisor._hooks = Broken()
        await stage.apply(Start(plan=PLAN))
        assert stage.states() == {}
        assert stage.backend.alive == []
        assert "bug" in stage.supervisor.retries["wlan0"].error

    play(scene)


@pytest.mark.parametrize("fault", ["", "script-up: no"])
def test_translator_that_dies_while_its_script_runs_is_not_forgotten(fault: str) -> None:
    async def scene(stage: Stage) -> None:
        hooks = hooked(stage)
        hooks.gates["wlan0"] = asyncio.Event()
        hooks.fault = fault
        await stage.apply(Start(plan=PLAN))
        stage.backend.alive[0].end(Ended(error="died"))
        hooks.gates["wlan0"].set()
        await settle()
        assert stage.states() == {}
        assert stage.supervisor.retries["wlan0"].error == (fault or "died")

    play(scene)


@pytest.mark.parametrize("how", ["stopped", "died"])
def test_bug_in_what_is_done_at_the_end_leaves_nothing_stuck(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(plan: Plan) -> None:
        raise ValueError("a bug")

    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(hooked(stage), "down", broken)
        await stage.apply(Start(plan=PLAN))
        if how == "stopped":
            await stage.apply(Stop(plan=PLAN))
        else:
            stage.backend.alive[0].end(Ended(error="died"))
            await settle()
        assert stage.supervisor.running() == {}
        assert "wlan0: script-down" in caplog.text

    play(scene)
