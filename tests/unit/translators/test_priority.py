# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator that loses its uplink to somebody else: at any time, it ends, and nothing of it stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from clatnm.errors import GaveWayError, HostError
from clatnm.translators.device import DeviceTranslator
from tests.unit.aio import run_virtual, settle
from tests.unit.translators.fake_machine import PLAN, SHARED_STEPS, STEPS, FakeMachine
from tests.unit.translators.staged import descriptors, play, start


@pytest.mark.parametrize("hooks", [False, True])
def test_translator_ends_by_itself_and_says_why(machine: FakeMachine, hooks: bool) -> None:
    async def scene(machine: FakeMachine, translator: DeviceTranslator) -> None:
        machine.stopped = asyncio.Event()
        end = asyncio.ensure_future(translator.ended())
        await settle()
        machine.guards[0].trip()
        assert machine.route is None, "at once"
        ended = await end
        assert ended.gave_way
        assert "somebody else has begun to translate wlan0" in ended.error
        assert not any(machine.left())

    play(machine, scene, hooks=hooks)


def test_end_for_another_cause_is_told_as_that(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: DeviceTranslator) -> None:
        ended = await translator.ended()
        assert (ended.error, ended.gave_way) == ("died", False)

    play(machine, scene)


STARTS = [(step, False) for step in STEPS] + [(step, True) for step in SHARED_STEPS]


@pytest.mark.parametrize(("step", "shared"), STARTS)
def test_uplink_lost_at_any_step_of_a_start_leaves_nothing(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, step: str, shared: bool
) -> None:
    do = machine.do

    def lost_then(what: str) -> None:
        do(what)
        if what == step and machine.guards:
            machine.guards[0].trip()
            if what == "add_default_route":
                raise HostError("cannot add the IPv4 default route: Invalid argument", errno=22)

    monkeypatch.setattr(machine, "do", lost_then)

    async def work() -> None:
        before = descriptors()
        if step == "spawn":  # before anybody looks
            await (await start(machine, plan=replace(PLAN, shared=shared), hooks=shared)).stop()
        else:
            with pytest.raises(GaveWayError, match="wlan0"):
                await start(machine, plan=replace(PLAN, shared=shared), hooks=shared)
        assert not any(machine.left())
        assert descriptors() == before

    run_virtual(work())


def test_update_that_comes_too_late_is_no_failure(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: DeviceTranslator) -> None:
        machine.guards[0].trip()
        machine.refuse = {"add_default_route"}
        await translator.update(replace(PLAN, metric=700))
        assert (await translator.ended()).gave_way

    play(machine, scene)
