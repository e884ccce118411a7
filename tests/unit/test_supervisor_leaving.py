# SPDX-License-Identifier: GPL-2.0-or-later
"""Leaving translators to the next daemon, and taking over those of the one before."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from clatnm.errors import HostError
from clatnm.hooks import Hooks
from clatnm.memo import Past
from clatnm.model import Plan, RunState, Settings, Start, Update
from clatnm.policy import retry
from clatnm.translators.base import Ended
from tests.unit.aio import settle
from tests.unit.policy.worlds import NOW
from tests.unit.supervised import OTHER, PLAN, FakeTranslator, Stage, play

PAST = Past(plan=PLAN, began=NOW - 3600, start_ms=31.0)


def adopt(stage: Stage, past: Past = PAST) -> FakeTranslator:
    translator = FakeTranslator(stage.backend, past.plan)
    stage.backend.alive.append(translator)
    stage.supervisor.adopt(past, translator)
    return translator


def test_what_is_on_is_written_down_for_a_successor() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.retries["wlan0"] = retry.collided(None, address="2001:db8::1", now=NOW)
        await stage.apply(Start(plan=PLAN))
        past = stage.backend.entrusted[PLAN.key]
        assert (past.plan, past.began, past.collisions) == (PLAN, NOW, 1)
        withdrawn = replace(PLAN, offered=False)
        stage.now += 5
        await stage.apply(Update(old=PLAN, plan=withdrawn))
        past = stage.backend.entrusted[PLAN.key]
        assert (past.plan, past.began, past.withdrawn_at) == (withdrawn, NOW, NOW + 5)

    play(scene)


def test_adopted_one_goes_on_as_if_nothing_had_been() -> None:
    async def scene(stage: Stage) -> None:
        adopt(stage, replace(PAST, withdrawn_at=NOW - 5, collisions=2))
        await settle()
        (running,) = stage.supervisor.running().values()
        assert (running.plan, running.state, running.withdrawn_at) == (PLAN, RunState.ON, NOW - 5)
        assert running.adopted_at == NOW
        assert stage.supervisor.start_ms(PLAN.key) == 31.0
        assert stage.supervisor.retries["wlan0"].collisions == 2
        assert stage.backend.entrusted[PLAN.key].began == NOW - 3600
        await stage.look()
        assert stage.backend.starts == []

    play(scene)


def test_end_of_an_adopted_one_counts_by_its_whole_life() -> None:
    async def scene(stage: Stage) -> None:
        adopt(stage).end(Ended(error="died"))
        await settle()
        assert stage.states() == {}
        assert stage.supervisor.retries["wlan0"].not_before == NOW, "it ran for an hour: the next try is at once"

    play(scene)


def test_one_that_is_gone_is_buried_before_anything_else() -> None:
    async def scene(stage: Stage) -> None:
        gone: list[tuple[str, dict[str, str]]] = []

        class Burying(Hooks):
            async def down(self, plan: Plan) -> None:
                script, told = self.down_of(plan)
                gone.append((script, dict(told)))

        stage.supervisor._hooks = Burying(Settings)
        past = replace(PAST, script_down="/etc/clatnm/down", environment={"clat_dev": "clat-old"}, collisions=2)
        await stage.supervisor.bury(past)
        assert gone == [("/etc/clatnm/down", {"clat_dev": "clat-old"})]
        assert stage.states() == {}
        assert stage.supervisor.retries["wlan0"].collisions == 2, "the next address is another one"

    play(scene)


def test_what_is_to_be_run_in_the_end_is_handed_on() -> None:
    async def scene(stage: Stage) -> None:
        adopt(stage, replace(PAST, script_down="/etc/clatnm/down", environment={"clat_dev": "clat-old"}))
        await settle()
        past = stage.backend.entrusted[PLAN.key]
        assert (past.script_down, past.environment) == ("/etc/clatnm/down", {"clat_dev": "clat-old"})

    play(scene)


def test_leaving_lets_them_go_on() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN), Start(plan=OTHER))
        del stage.backend.entrusted[PLAN.key]
        await stage.supervisor.leave_all()
        assert len(stage.backend.alive) == 2
        assert stage.backend.entrusted.keys() == {PLAN.key, OTHER.key}

    play(scene)


def test_leaving_ends_what_cannot_go_on() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.outlives = False
        await stage.apply(Start(plan=PLAN), Start(plan=OTHER))
        await stage.supervisor.leave_all()
        assert stage.backend.alive == []
        assert stage.states() == {}

    play(scene)


def test_one_that_cannot_be_entrusted_works_all_the_same_and_ends_with_us() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["entrust"] = [HostError("no space", errno=28), HostError("no space", errno=28)]
        await stage.apply(Start(plan=PLAN))
        assert stage.states() == {"wlan0": RunState.ON}
        await stage.supervisor.leave_all()
        assert stage.backend.alive == []

    play(scene)


def test_leaving_waits_for_what_is_under_way() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.backend.gates["start"] = asyncio.Event()
        await stage.apply(Start(plan=PLAN))
        leaving = asyncio.ensure_future(stage.supervisor.leave_all())
        await settle()
        assert not leaving.done()
        gate.set()
        await leaving
        assert stage.backend.entrusted.keys() == {PLAN.key}
        assert len(stage.backend.alive) == 1

    play(scene)
