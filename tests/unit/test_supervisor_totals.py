# SPDX-License-Identifier: GPL-2.0-or-later
"""What the supervisor counts for metrics: starts and failures, for as long as the daemon runs."""

from __future__ import annotations

from dataclasses import replace

from clatnm import supervisor
from clatnm.errors import GaveWayError, TranslatorError
from clatnm.model import Start, Stop
from clatnm.translators.base import Ended
from tests.unit.supervised import PLAN, Stage, play

NONE = {"starts": 0, "failures": 0}


def test_starts_and_failures_add_up() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.supervisor.totals("wlan0") == NONE
        stage.backend.faults["start"] = [TranslatorError("no luck")]
        await stage.apply(Start(plan=PLAN))
        assert stage.supervisor.totals("wlan0") == {"starts": 0, "failures": 1}
        for _ in range(2):
            await stage.apply(Start(plan=PLAN))
            (translator,) = stage.backend.alive
            translator.end(Ended(error="died"))
            await stage.apply()
        assert stage.supervisor.totals("wlan0") == {"starts": 2, "failures": 3}
        stage.supervisor.forget_failures(keep=())
        assert stage.supervisor.totals("wlan0") == {"starts": 2, "failures": 3}, "history stays"

    play(scene)


def test_end_that_was_wanted_is_no_failure() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        await stage.apply(Stop(plan=PLAN))
        stage.backend.faults["start"] = [GaveWayError("the manager translates")]
        await stage.apply(Start(plan=PLAN))
        assert stage.supervisor.totals("wlan0") == {"starts": 1, "failures": 0}

    play(scene)


def test_interfaces_that_never_come_back_are_forgotten_in_the_end() -> None:
    async def scene(stage: Stage) -> None:
        for number in range(supervisor._MAX_COUNTED + 1):
            plan = replace(PLAN, interface=f"veth{number}", device=f"clat-veth{number}")
            await stage.apply(Start(plan=plan))
            await stage.apply(Stop(plan=plan))
        assert stage.supervisor.totals("veth0") == NONE
        assert stage.supervisor.totals("veth1") == {"starts": 1, "failures": 0}
        told = stage.supervisor.totals("veth1")
        told["starts"] = 9
        assert stage.supervisor.totals("veth1")["starts"] == 1, "a copy"

    play(scene)
