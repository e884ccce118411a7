# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator into whose device only somebody else's routes lead: whatever it is told, it makes none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.translators import device
from tests.unit.aio import run_virtual
from tests.unit.translators.fake_machine import PLAN, FakeMachine
from tests.unit.translators.staged import play, start

WITHOUT = replace(PLAN, default_route=False)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("hooks", [False, True])
def test_it_starts_without(machine: FakeMachine, hooks: bool, shared: bool) -> None:
    async def work() -> None:
        translator = await start(machine, plan=replace(WITHOUT, shared=shared), hooks=hooks)
        assert "set_up_device" in machine.done
        assert "add_default_route" not in machine.done
        assert machine.route is None
        await translator.stop()
        assert not any(machine.left())

    run_virtual(work())


def test_it_changes_drains_and_is_renamed_without(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.update(replace(WITHOUT, metric=7))
        await translator.update(replace(WITHOUT, metric=7, ipv4_mtu_bytes=1300))
        assert machine.done == []
        draining = replace(WITHOUT, metric=7, offered=False)
        await translator.update(draining)
        assert machine.rule
        await translator.update(replace(WITHOUT, metric=7, device="clat-other"))
        assert not machine.rule
        assert machine.route is None
        assert not {"add_default_route", "change_default_route", "drop_default_route"} & set(machine.done)

    play(machine, scene, plan=WITHOUT)
