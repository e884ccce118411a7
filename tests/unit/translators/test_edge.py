# SPDX-License-Identifier: GPL-2.0-or-later
"""An Edge Relay's device and process: what they are told at the start, when the table changes, and at the end."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from clatnm.errors import HostError
from clatnm.kernel import hearing
from clatnm.kernel.furnish import Relaying
from clatnm.model import Plan, Relay
from clatnm.proto.eam import EamTable
from clatnm.translators import device, edge
from clatnm.worker.wire import DUMMY_ICMP_SOURCE
from tests.unit.aio import run_virtual
from tests.unit.translators.fake_machine import INDEX, PLAN, FakeMachine
from tests.unit.translators.staged import play, start

ONE = EamTable([(IPv4Network("192.0.2.1"), IPv6Network("2001:db8:a::201"))])
TWO = EamTable([*ONE, (IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:77::/120"))])
SERVICE = IPv4Address("192.0.2.1")
ROUTES = (IPv4Network("203.0.113.0/24"),)
HOST = replace(PLAN, clat_v4=IPv4Address("192.0.0.8"), relay=Relay(mappings=ONE, addresses=(SERVICE,), routes=ROUTES))
ROUTER = replace(HOST, relay=Relay(mappings=ONE, routes=ROUTES))


@pytest.fixture
def told(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the kernel is told of the relay, in the order of the other things that are done."""
    notes: list[tuple[Any, ...]] = []

    def furnish(index: int, relaying: Relaying, *, mtu_bytes: int) -> None:
        machine.do("set_up_device")
        notes.append(("furnish", relaying, mtu_bytes))

    def change(index: int, old: Relaying | None, new: Relaying) -> None:
        machine.do("change relay")
        notes.append(("change", old, new))

    def refilter(sock: socket.socket, table: EamTable, *, own: IPv6Address, link_layer: bool) -> None:
        machine.do("refilter")
        notes.append(("hear", table, own, link_layer))

    def remove(index: int, address: IPv4Address) -> None:
        machine.do(f"remove {address}")

    monkeypatch.setattr(edge, "furnish_relay", furnish)
    monkeypatch.setattr(edge, "change_relay", change)
    monkeypatch.setattr(hearing, "refilter", refilter)
    monkeypatch.setattr(hearing, "join", lambda *_, **__: None)
    monkeypatch.setattr(socket, "if_nametoindex", lambda name: INDEX)
    monkeypatch.setattr(machine, "remove_address", remove)
    return notes


def test_start_hears_hands_over_and_furnishes(machine: FakeMachine, told: list[tuple[Any, ...]]) -> None:
    async def scene() -> None:
        translator = await start(machine, plan=HOST)
        assert machine.done == ["spawn", "packets", "group", "refilter", "tun", "hand_over", "set_up_device"]
        assert told == [("hear", ONE, HOST.clat_v6, True), ("furnish", edge.relaying(HOST, _relay(HOST)), 1500)]
        assert machine.config is not None
        assert (machine.config.mappings, machine.config.icmp_source) == (ONE, HOST.clat_v4)
        del machine.done[:]
        await translator.stop()
        assert machine.done == ["remove 192.0.2.1", "stop process"]

    run_virtual(scene())


@pytest.mark.parametrize("step", ["refilter", "set_up_device", "hand_over"])
def test_start_refused_at_any_step_leaves_nothing(machine: FakeMachine, told: list[tuple[Any, ...]], step: str) -> None:
    async def scene() -> None:
        machine.refuse = {step}
        with pytest.raises(Exception, match=f"{step} refused"):
            await start(machine, plan=HOST)
        assert not any(machine.left())

    run_virtual(scene())


def test_device_that_is_gone_again_is_the_hosts_word(machine: FakeMachine) -> None:
    """The process died at once, say; `machine` has no such device."""
    with pytest.raises(HostError, match="cannot set up clat-wlan0: No such device"):
        edge.furnish(HOST, _relay(HOST))


def test_clat_is_told_nothing_of_this(machine: FakeMachine, told: list[tuple[Any, ...]]) -> None:
    config = device.worker_config(PLAN, hooked=False, relayed=False)
    assert (config.mappings, config.icmp_source) == (None, DUMMY_ICMP_SOURCE)


@pytest.mark.parametrize(
    ("new", "done"),
    [
        pytest.param(
            replace(HOST, relay=Relay(mappings=TWO, addresses=(SERVICE,), routes=ROUTES)),
            [f"move group to {HOST.clat_v6}", "refilter", "update process", "change relay"],
            id="table",
        ),
        pytest.param(replace(HOST, metric=9), ["change relay"], id="metric"),
        pytest.param(replace(HOST, ipv4_mtu_bytes=1252), ["change relay"], id="mtu"),
        pytest.param(HOST, [], id="nothing"),
    ],
)
def test_change_is_followed_without_another_process(
    machine: FakeMachine, told: list[tuple[Any, ...]], new: Plan, done: list[str]
) -> None:
    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.update(new)
        assert machine.done == done
        assert machine.config is not None
        assert machine.config.mappings == _relay(new).mappings
        if done:
            assert told[-1] == ("change", edge.relaying(HOST, _relay(HOST)), edge.relaying(new, _relay(new)))

    play(machine, scene, plan=HOST)


def test_device_that_was_down_for_its_name_gets_everything_back(
    machine: FakeMachine, told: list[tuple[Any, ...]]
) -> None:
    machine.renames_live = False
    new = replace(HOST, device="clat-other")

    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.update(new)
        assert told[-1] == ("change", None, edge.relaying(new, _relay(new)))

    play(machine, scene, plan=HOST)


@pytest.fixture
def forwarding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """net.ipv4.ip_forward"""
    file = tmp_path / "ip_forward"
    file.write_text("0\n")
    monkeypatch.setattr(edge, "_FORWARDING", file)
    return file


@pytest.mark.parametrize(
    ("plan", "value", "warnings"),
    [
        pytest.param(ROUTER, "0", 1, id="router-that-does-not-forward"),
        pytest.param(ROUTER, "1", 0, id="router"),
        pytest.param(HOST, "0", 0, id="host"),
    ],
)
@pytest.mark.usefixtures("told")
def test_router_that_does_not_forward_is_told_of_once(  # noqa: PLR0917 - fixtures
    machine: FakeMachine, forwarding: Path, caplog: pytest.LogCaptureFixture, plan: Plan, value: str, warnings: int
) -> None:
    forwarding.write_text(f"{value}\n")

    async def scene(machine: FakeMachine, translator: device.DeviceTranslator) -> None:
        await translator.update(replace(plan, metric=9))

    with caplog.at_level(logging.WARNING):
        play(machine, scene, plan=plan)
    assert ["ip_forward is 0" in record.message for record in caplog.records] == [True] * warnings


def _relay(plan: Plan) -> Relay:
    assert plan.relay is not None
    return plan.relay
