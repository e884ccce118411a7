# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator that loses its uplink to somebody else: at any time, it ends, and nothing of it stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import cast

import pytest

from clatnm.errors import GaveWayError, HostError
from clatnm.kernel.host import Host
from clatnm.model import Relay
from clatnm.proto.eam import EamTable, host_pair
from clatnm.translators.device import DeviceTranslator
from clatnm.translators.priority import Priority
from tests.unit.aio import run_virtual, settle
from tests.unit.translators.fake_machine import PLAN, SHARED_STEPS, STEPS, FakeHost, FakeMachine
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


TABLE = EamTable([host_pair(IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))])


@pytest.mark.parametrize(
    ("relay", "watched"),
    [
        pytest.param(None, True, id="clat"),
        pytest.param(Relay(mappings=TABLE), True, id="relay-with-the-default-route"),
        pytest.param(Relay(mappings=TABLE, routes=(IPv4Network("203.0.113.0/24"),)), False, id="relay-for-some"),
    ],
)
def test_only_who_takes_all_of_ipv4_gives_way(machine: FakeMachine, relay: Relay | None, watched: bool) -> None:
    priority = Priority(cast("Host", FakeHost(machine)), replace(PLAN, relay=relay))
    assert bool(machine.guards) is watched
    for guard in machine.guards:
        guard.trip()
    assert priority.lost is watched
    priority.close()
