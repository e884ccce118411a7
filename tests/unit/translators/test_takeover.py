# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks that come behind: what happens in which order, what waits for them, and what their failure means."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

import pytest

from clatnm.errors import HostError, TranslatorError
from clatnm.translators import bringup
from clatnm.translators.device import DeviceTranslator
from tests.unit.aio import run_virtual, settle
from tests.unit.translators.fake_machine import PLAN, STEPS, TAKEOVER, FakeHooks, FakeHost, FakeMachine
from tests.unit.translators.staged import descriptors, start


class SlowHooks(FakeHooks):
    """Not hung up before `go` is set."""

    def __init__(self, machine: FakeMachine) -> None:
        super().__init__(machine)
        self._slow = machine
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def attach(self, plan: Any, device_index: int) -> None:
        await self.go.wait()
        if self.error is not None:
            raise self.error
        await super().attach(plan, device_index)

    def counters(self, slow: Any) -> Any:
        return super().counters(slow) if self._slow.hooked else slow


async def start_slowly(machine: FakeMachine) -> tuple[DeviceTranslator, SlowHooks]:
    host: Any = FakeHost(machine)
    hooks = SlowHooks(machine)
    return await bringup.start(host, PLAN, hooks), hooks


def test_packets_flow_first_and_the_process_expects_the_hooks_before_they_come(machine: FakeMachine) -> None:
    async def work() -> None:
        translator = await start(machine, hooks=True)
        assert machine.done == list(STEPS)
        assert machine.config is not None
        assert not machine.config.hooked
        del machine.done[:]
        await settle()
        assert machine.done == list(TAKEOVER)
        assert machine.config.hooked
        await translator.stop()
        assert not any(machine.left())

    run_virtual(work())


def test_update_waits_until_the_hooks_have_taken_over(machine: FakeMachine) -> None:
    async def work() -> None:
        translator, hooks = await start_slowly(machine)
        plan = replace(PLAN, gateway=IPv6Address("fe80::9"))
        update = asyncio.ensure_future(translator.update(plan))
        await settle()
        assert not update.done()
        assert "update hook" not in machine.done
        hooks.go.set()
        await update
        assert machine.done[-4:] == ["hook", "update process", "update hook", "update process"]
        assert machine.config is not None
        assert (machine.config.gateway, machine.config.hooked) == (plan.gateway, True)
        await translator.stop()
        assert not any(machine.left())

    run_virtual(work())


def test_stop_waits_too_and_leaves_nothing(machine: FakeMachine) -> None:
    async def work() -> None:
        before = descriptors()
        translator, hooks = await start_slowly(machine)
        stop = asyncio.ensure_future(translator.stop())
        await settle()
        assert not machine.running
        hooks.go.set()
        await stop
        assert not any(machine.left())
        assert descriptors() == before

    run_virtual(work())


def test_death_meanwhile_leaves_nothing(machine: FakeMachine) -> None:
    async def work() -> None:
        before = descriptors()
        translator, hooks = await start_slowly(machine)
        ended = asyncio.ensure_future(translator.ended())
        await settle()
        hooks.error = HostError("the device is gone", errno=errno.ENODEV)
        hooks.go.set()
        assert (await ended).error == "died"
        assert not any(machine.left())
        assert descriptors() == before

    run_virtual(work())


def test_counters_are_there_before_and_after(machine: FakeMachine) -> None:
    async def work() -> None:
        translator, hooks = await start_slowly(machine)
        await settle()
        assert await translator.counters() == {"slow": 7}
        hooks.go.set()
        await settle()
        assert await translator.counters() == {"slow": 7, "fast": 100}
        await translator.stop()

    run_virtual(work())


FAILURES: dict[str, tuple[Exception, bool]] = {
    "refused": (HostError("no such hooks", errno=errno.EINVAL), True),
    "device-gone": (HostError("the device is gone", errno=errno.ENODEV), False),
    "process-gone": (TranslatorError("it does not listen"), False),
    "bug": (KeyError("uplink"), True),
}


@pytest.mark.parametrize(("error", "unfit"), FAILURES.values(), ids=FAILURES)
def test_hooks_that_cannot_be_hung_up_end_the_process(machine: FakeMachine, error: Exception, unfit: bool) -> None:
    async def work() -> None:
        translator, hooks = await start_slowly(machine)
        hooks.error = error
        hooks.go.set()
        await settle()
        ended = await translator.ended()
        assert (ended.error, ended.unfit) == (str(error), unfit)
        with pytest.raises(TranslatorError, match=str(error)):
            await translator.update(replace(PLAN, gateway=IPv6Address("fe80::9")))
        await translator.stop()
        assert not any(machine.left())

    run_virtual(work())


@pytest.mark.parametrize("step", TAKEOVER)
def test_failure_at_any_step_is_told_and_leaves_nothing(machine: FakeMachine, step: str) -> None:
    async def work() -> None:
        before = descriptors()
        machine.refuse = {step}
        translator = await start(machine, hooks=True)
        await settle()
        assert (await translator.ended()).error == f"{step} refused"
        await translator.stop()
        assert not any(machine.left())
        assert descriptors() == before

    run_virtual(work())
