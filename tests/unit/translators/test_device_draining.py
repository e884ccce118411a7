# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator that is not offered: a pin instead of the default route; and a device that changes its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

import pytest

from clatnm.errors import HostError
from clatnm.translators import device
from tests.unit.aio import run_virtual
from tests.unit.translators.fake_machine import INDEX, PLAN, FakeHost, FakeMachine
from tests.unit.translators.staged import play, start

DRAINED = replace(PLAN, offered=False)
NARROW = {"ipv6_mtu_bytes": 1400, "ipv4_mtu_bytes": 1372}


def ways(machine: FakeMachine) -> tuple[object, ...]:
    """The default route, and the pin."""
    return machine.route, machine.pinned_mtu, machine.rule


def test_start_without_being_offered_pins_and_adds_no_route(machine: FakeMachine) -> None:
    async def work() -> None:
        translator = await start(machine, plan=DRAINED)
        assert machine.done[-1] == "pin"
        assert "add_default_route" not in machine.done
        assert ways(machine) == (None, PLAN.ipv4_mtu_bytes, True)
        await translator.stop()
        assert not any(machine.left())

    run_virtual(work())


def test_start_that_cannot_pin_leaves_nothing(machine: FakeMachine) -> None:
    async def work() -> None:
        machine.refuse = {"pin"}
        with pytest.raises(HostError, match="pin refused"):
            await start(machine, plan=DRAINED)
        assert not any(machine.left())

    run_virtual(work())


def test_start_cancelled_while_it_pins_leaves_nothing(machine: FakeMachine) -> None:
    class Slow(FakeHost):
        """The kernel's thread does what it was asked, whether or not anybody waits for it."""

        async def do(self, work: Callable[[Any], Any]) -> Any:
            done = await super().do(work)
            await asyncio.sleep(1)
            return done

    async def work() -> None:
        host: Any = Slow(machine)
        task = asyncio.ensure_future(device.lead_in(host, INDEX, DRAINED))
        await asyncio.sleep(0.5)
        assert machine.rule
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not machine.rule

    run_virtual(work())


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "withdrawn": ({}, {"offered": False}, ["pin", "drop_default_route"]),
    "offered-again": ({"offered": False}, {"offered": True}, ["add_default_route", "unpin"]),
    "offered-again-elsewhere": ({"offered": False}, {"offered": True, "metric": 7}, ["add_default_route", "unpin"]),
    "withdrawn-and-narrower": (
        {},
        {"offered": False, **NARROW},
        ["update process", "mtu 1400", "pin", "drop_default_route"],
    ),
    "withdrawn-with-another-metric": ({}, {"offered": False, "metric": 7}, ["pin", "drop_default_route"]),
    "metric-of-no-route": ({"offered": False}, {"metric": 7}, []),
    "narrower": ({"offered": False}, NARROW, ["update process", "mtu 1400", "pin"]),
    "prefix": ({"offered": False}, {"prefix": IPv6Network("2001:db8:64::/96")}, ["update process"]),
    "renamed": ({}, {"device": "clat-other"}, ["rename to clat-other"]),
    "withdrawn-and-renamed": (
        {},
        {"offered": False, "device": "clat-other"},
        ["pin", "drop_default_route", "rename to clat-other"],
    ),
    "everything": (
        {"offered": False},
        {"offered": True, "device": "clat-other", "prefix": IPv6Network("2001:db8:64::/96"), **NARROW},
        ["update process", "mtu 1400", "add_default_route", "unpin", "rename to clat-other"],
    ),
}


@pytest.mark.parametrize(("first", "change", "done"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("renames_live", [True, False])
def test_update_leads_packets_as_the_plan_says(
    machine: FakeMachine, first: dict[str, Any], change: dict[str, Any], done: list[str], renames_live: bool
) -> None:
    before = replace(PLAN, **first)
    plan = replace(before, **change)
    machine.renames_live = renames_live

    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert before.same_translator(plan)
        await translator.update(plan)
        # Where the name cannot change live, the device comes back without routes.
        again = "add_default_route" if plan.offered else "pin"
        assert machine.done == done + ([again] if "device" in change and not renames_live else [])
        if plan.offered:
            assert ways(machine) == ((plan.metric, plan.ipv4_mtu_bytes), None, False)
        else:
            assert ways(machine) == (None, plan.ipv4_mtu_bytes, True)
        assert machine.name == plan.device
        assert machine.taken_in == {plan.clat_v6}

    play(machine, scene, plan=before)


@pytest.mark.parametrize(
    ("first", "change", "fault"),
    [
        ({}, {"offered": False}, "pin"),
        ({}, {"offered": False}, "drop_default_route"),
        ({"offered": False}, {"offered": True}, "add_default_route"),
        ({"offered": False}, {"offered": True}, "unpin"),
        ({"offered": False}, {"device": "clat-other"}, "rename to clat-other"),
        ({"offered": False}, {"device": "clat-other"}, "pin"),
        ({"offered": False}, NARROW, "pin"),
    ],
)
def test_update_refused_half_way_is_cleaned_up_by_stop(
    machine: FakeMachine, first: dict[str, Any], change: dict[str, Any], fault: str
) -> None:
    before = replace(PLAN, **first)

    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        machine.renames_live = False
        machine.refuse = {fault}
        with pytest.raises(HostError, match=f"{fault} refused"):
            await translator.update(replace(before, **change))
        machine.refuse = set()

    play(machine, scene, plan=before)  # which asserts that nothing is left


def test_rule_goes_after_the_device_so_that_nothing_takes_another_way(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.stop()
        assert machine.done == ["remove_address", "stop process", "unpin"]

    play(machine, scene, plan=DRAINED)


def test_rule_of_a_process_that_died_is_removed(machine: FakeMachine) -> None:
    async def work() -> None:
        translator = await start(machine, plan=DRAINED)
        assert (await translator.ended()).error == "died"
        assert not any(machine.left())

    run_virtual(work())


def test_rule_that_somebody_removes_comes_back(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        (watcher,) = machine.watchers
        machine.rule = False
        for _ in range(3):  # other rules go, too
            watcher()
        await asyncio.sleep(1)
        assert machine.rule
        assert machine.done.count("pin again") <= 2
        await translator.update(replace(PLAN, offered=True))
        assert machine.watchers == []

    play(machine, scene, plan=DRAINED)


def test_somebody_who_removes_the_rule_again_and_again_keeps_nobody_busy(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        (watcher,) = machine.watchers
        loop = asyncio.get_running_loop()
        end = loop.time() + 10
        while loop.time() < end:
            machine.rule = False
            watcher()
            await asyncio.sleep(0.01)
        assert 10 < machine.done.count("pin again") < 100

    play(machine, scene, plan=DRAINED)


def test_rule_is_not_put_back_once_it_is_not_needed(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        (watcher,) = machine.watchers
        machine.rule = False
        watcher()
        await translator.stop()
        await asyncio.sleep(1)
        assert not machine.rule

    play(machine, scene, plan=DRAINED)


def test_rules_that_cannot_be_watched_are_no_reason_to_go_without_a_drain(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        machine.refuse = {"watch rules"}
        await translator.update(DRAINED)
        assert machine.rule

    play(machine, scene)
