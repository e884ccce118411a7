# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection and a static translator on one interface: each has its own failures."""

from __future__ import annotations

from dataclasses import replace

from clatnm.errors import TranslatorError
from clatnm.model import RunState, Start
from clatnm.translators.base import Ended
from tests.unit.supervised import PLAN, Stage, play

STATIC = replace(PLAN, static="web", device="clat-s-web")


def test_failure_of_one_is_not_the_others() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.faults["start"] = [TranslatorError("no luck")]
        await stage.apply(Start(plan=STATIC))
        assert {owner: entry.error for owner, entry in stage.supervisor.retries.items()} == {"static.d/web": "no luck"}
        assert [run.plan.owner for run in stage.supervisor.running().values()] == ["wlan0"]
        stage.supervisor.forget_failures(keep={"wlan0"})
        assert stage.supervisor.retries == {}

    play(scene)


def test_end_of_one_leaves_the_other() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN), Start(plan=STATIC))
        (translator,) = (one for one in stage.backend.alive if one.plan.static)
        translator.end(Ended(error="died"))
        await stage.apply()
        assert {run.plan.owner: run.state for run in stage.supervisor.running().values()} == {"wlan0": RunState.ON}
        assert stage.supervisor.retries["static.d/web"].failures == 1

    play(scene)


def test_changed_file_is_tried_at_once() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [TranslatorError("no"), TranslatorError("no")]
        await stage.apply(Start(plan=STATIC))
        await stage.apply(Start(plan=PLAN))
        stage.supervisor.forgive(["static.d/web", "static.d/never"])
        assert set(stage.supervisor.retries) == {"wlan0"}

    play(scene)
