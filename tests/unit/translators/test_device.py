# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing a device and its process up, changing them while they run, taking them down; nothing may stay behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from clatnm.errors import HostError, TranslatorError
from clatnm.kernel import tun
from clatnm.model import Plan
from clatnm.translators import device
from clatnm.translators.backends import available
from clatnm.translators.tun import TunBackend
from clatnm.worker.wire import WorkerConfig
from tests.unit.aio import run_virtual
from tests.unit.translators.fake_machine import PLAN, SHARED_STEPS, STEPS, FakeHost, FakeMachine
from tests.unit.translators.staged import descriptors, play, start

# Start


@pytest.mark.parametrize("shared", [False, True])
def test_route_comes_last(machine: FakeMachine, shared: bool) -> None:
    async def work() -> None:
        translator = await start(machine, plan=replace(PLAN, shared=shared), hooks=True)
        assert machine.done == list(SHARED_STEPS if shared else STEPS)
        assert machine.route == (PLAN.metric, PLAN.ipv4_mtu_bytes)
        await translator.stop()

    run_virtual(work())


REFUSED_STARTS = [(step, hooks, False) for step in STEPS for hooks in (False, True)]
REFUSED_STARTS += [(step, True, True) for step in SHARED_STEPS]


@pytest.mark.parametrize(("step", "hooks", "shared"), REFUSED_STARTS)
def test_start_refused_at_any_step_leaves_nothing(machine: FakeMachine, step: str, hooks: bool, shared: bool) -> None:
    async def work() -> None:
        before = descriptors()
        machine.refuse = {step}
        with pytest.raises(HostError, match=f"{step} refused"):
            await start(machine, plan=replace(PLAN, shared=shared), hooks=hooks)
        assert not any(machine.left())
        assert descriptors() == before

    run_virtual(work())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("hooks", [True, False])
def test_process_takes_all_packets_or_what_the_hooks_leave(machine: FakeMachine, hooks: bool, shared: bool) -> None:
    plan = replace(PLAN, shared=shared)

    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert machine.neighbours_only is (hooks and shared)
        for _ in range(2):
            assert machine.config is not None
            assert machine.config.hooked is hooks
            await translator.update(replace(plan, gateway=IPv6Address("fe80::9")))

    play(machine, scene, plan=plan, hooks=hooks)


@pytest.mark.parametrize(("interface", "large"), [(PLAN.interface, True), ("ppp0", False)])
def test_device_takes_large_packets_where_the_uplink_does(machine: FakeMachine, interface: str, large: bool) -> None:
    async def scene() -> None:
        translator = await start(machine, plan=replace(PLAN, interface=interface), hooks=False)
        assert machine.large is large
        await translator.stop()

    run_virtual(scene())


def test_process_is_told_all_it_needs(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert machine.config == WorkerConfig(
            clat_v4=PLAN.clat_v4,
            clat_v6=PLAN.clat_v6,
            prefix=PLAN.prefix,
            ipv6_mtu_bytes=1500,
            uplink="wlan0",
            link_address=PLAN.link_address,
            gateway=PLAN.gateway,
        )

    play(machine, scene)


@pytest.mark.parametrize("plan", [replace(PLAN, link_address=None), replace(PLAN, shared=True)])
def test_uplink_without_neighbours_or_with_the_hosts_address_needs_no_group(machine: FakeMachine, plan: Plan) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert len(machine.opened) == 2
        assert machine.config is not None
        assert machine.config.link_address is None

    play(machine, scene, plan=plan)


def test_hosts_own_address_is_not_taken_in(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert machine.taken_in == set()

    play(machine, scene, plan=replace(PLAN, shared=True))


# Update

CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "prefix": ({"prefix": IPv6Network("2001:db8:64::/96")}, ["update process"]),
    "gateway": ({"gateway": IPv6Address("fe80::9")}, ["update process"]),
    "mac": ({"link_address": bytes.fromhex("020000000007")}, ["update process"]),
    "metric": ({"metric": 700}, ["add_default_route", "drop_default_route"]),
    "mtu": (
        {"ipv6_mtu_bytes": 1400, "ipv4_mtu_bytes": 1372},
        ["update process", "mtu 1400", "change_default_route"],
    ),
    "renumbered": (
        {"clat_v6": IPv6Address("2001:db8:b::7")},
        ["move group to 2001:db8:b::7", "refilter for 2001:db8:b::7", "update process"],
    ),
}


@pytest.mark.parametrize(("change", "done"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("hooks", [False, True])
def test_update_does_what_has_changed_and_no_more(
    machine: FakeMachine, change: dict[str, Any], done: list[str], hooks: bool
) -> None:
    plan = replace(PLAN, **change)

    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert PLAN.same_translator(plan)
        await translator.update(plan)
        assert [step for step in machine.done if step != "update hook"] == done
        assert machine.done.count("update hook") == hooks
        assert machine.route == (plan.metric, plan.ipv4_mtu_bytes)
        assert machine.config is not None
        assert (machine.config.prefix, machine.config.clat_v6) == (plan.prefix, plan.clat_v6)
        assert machine.taken_in == {plan.clat_v6}

    play(machine, scene, hooks=hooks)


def test_update_twice_goes_on_from_the_first(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.update(replace(PLAN, metric=700))
        del machine.done[:]
        await translator.update(replace(PLAN, metric=700))
        assert machine.done == []
        await translator.update(replace(PLAN, metric=800))
        assert machine.done == ["add_default_route", "drop_default_route"]
        assert machine.route == (800, PLAN.ipv4_mtu_bytes)

    play(machine, scene)


@pytest.mark.parametrize("fault", ["update process", "mtu 1400", "change_default_route"])
def test_refused_update_is_told(machine: FakeMachine, fault: str) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        machine.refuse = {fault}
        with pytest.raises((HostError, TranslatorError)):
            await translator.update(replace(PLAN, ipv6_mtu_bytes=1400, ipv4_mtu_bytes=1372))
        machine.refuse = set()

    play(machine, scene)


# Stop and end


def test_address_and_route_go_first(machine: FakeMachine) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.stop()
        assert machine.done == ["remove_address", "stop process"]

    play(machine, scene)


def test_address_that_cannot_be_removed_goes_with_the_process(machine: FakeMachine) -> None:
    async def work() -> None:
        translator = await start(machine)
        machine.refuse = {"remove_address"}
        await translator.stop()
        assert not any(machine.left())

    run_virtual(work())


def test_death_closes_what_is_left_on_our_side(machine: FakeMachine) -> None:
    async def work() -> None:
        before = descriptors()
        translator = await start(machine, hooks=True)
        assert (await translator.ended()).error == "died"
        assert descriptors() == before
        assert not machine.hooked
        await translator.stop()  # as a stop under way would

    run_virtual(work())


@pytest.mark.parametrize(("hooks", "told"), [(False, {"slow": 7}), (True, {"slow": 7, "fast": 100})])
def test_counters_are_those_of_process_and_hooks(machine: FakeMachine, hooks: bool, told: Mapping[str, int]) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        assert await translator.counters() == told

    play(machine, scene, hooks=hooks)


# Backends


def test_tun_backend_works_where_the_device_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, machine: FakeMachine
) -> None:
    host: Any = FakeHost(machine)
    backend = TunBackend(host)
    monkeypatch.setattr(tun, "DEVICE", "/dev/null")
    assert backend.probe() == ""
    monkeypatch.setattr(tun, "DEVICE", "/nonexistent/tun")
    assert backend.probe() == "/nonexistent/tun cannot be opened"

    async def work() -> None:
        translator = await backend.start(PLAN)
        assert machine.running
        await translator.stop()

    run_virtual(work())


def test_tun_is_among_the_backends_and_kernel_paths_come_before_it(machine: FakeMachine) -> None:
    host: Any = FakeHost(machine)
    names = list(available(host))
    assert names.index("ebpf") < names.index("tun")
    assert isinstance(available(host)["tun"], TunBackend)
