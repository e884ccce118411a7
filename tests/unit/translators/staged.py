# SPDX-License-Identifier: GPL-2.0-or-later
"""A device translator on the fake machine, for as long as a scene is played."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from clatnm.model import Plan
from clatnm.translators import bringup, device
from tests.unit.aio import run_virtual, settle
from tests.unit.translators.fake_machine import PLAN, FakeHooks, FakeHost, FakeMachine


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


Scene = Callable[[FakeMachine, device.DeviceTranslator], Awaitable[None]]


async def start(machine: FakeMachine, *, plan: Plan = PLAN, hooks: bool = False) -> device.DeviceTranslator:
    host: Any = FakeHost(machine)
    return await bringup.start(host, plan, FakeHooks(machine) if hooks else None)


def play(machine: FakeMachine, scene: Scene, *, plan: Plan = PLAN, hooks: bool = False) -> None:
    """Start until hooks have taken over, clear the notes, play, stop: nothing is left."""

    async def work() -> None:
        before = descriptors()
        translator = await start(machine, plan=plan, hooks=hooks)
        await settle()
        del machine.done[:]
        await scene(machine, translator)
        await translator.stop()
        assert not any(machine.left())
        assert descriptors() == before

    run_virtual(work())
