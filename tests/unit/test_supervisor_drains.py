# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators that only old connections use, and ends that tell more than an end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.errors import HostError
from clatnm.model import Start, Update
from clatnm.translators.base import Ended
from tests.unit.aio import settle
from tests.unit.policy.worlds import NOW
from tests.unit.supervised import PLAN, Stage, play

DRAINING = replace(PLAN, offered=False)


@pytest.mark.parametrize(
    "end", [Ended(error="died"), Ended(error="", collision="2001:db8::7"), Ended(error="", unfit=True)]
)
def test_end_of_a_drain_is_no_failure(end: Ended) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        await stage.apply(Update(old=PLAN, plan=DRAINING))
        stage.backend.alive[0].end(end)
        await settle()
        assert stage.states() == {}
        assert stage.supervisor.retries == {}

    play(scene)


def test_drain_that_cannot_begin_is_no_failure() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.faults["update"] = [HostError("no rule can be added", errno=1)]
        await stage.apply(Update(old=PLAN, plan=DRAINING))
        assert stage.states() == {}
        assert stage.supervisor.retries == {}

    play(scene)


def test_backend_that_shows_itself_unfit_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.alive[0].end(Ended(error="the hook cannot be hung up", unfit=True))
        await settle()
        assert stage.supervisor.retries["wlan0"].refused == {"tun"}

    play(scene)


def test_counters_that_cannot_be_read_are_none() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["counters"] = [HostError("no such device", errno=19)]
        await stage.apply(Start(plan=PLAN))
        assert await stage.supervisor.counters(PLAN.key) == {}
        assert await stage.supervisor.counters(PLAN.key) == {"device": "clat-wlan0"}

    play(scene)


def test_withdrawal_is_dated_until_the_route_is_back() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        assert stage.supervisor.running()[PLAN.key].withdrawn_at is None
        stage.now += 5
        await stage.apply(Update(old=PLAN, plan=DRAINING))
        stage.now += 5
        await stage.apply(Update(old=DRAINING, plan=replace(DRAINING, metric=900)))
        assert stage.supervisor.running()[PLAN.key].withdrawn_at == NOW + 5
        await stage.apply(Update(old=DRAINING, plan=PLAN))
        assert stage.supervisor.running()[PLAN.key].withdrawn_at is None

    play(scene)
