# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel, a translator process and hooks that only note what is done to them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

from clatnm.errors import HostError
from clatnm.kernel.tun import Tun
from clatnm.model import Plan
from clatnm.translators.base import Ended
from clatnm.translators.estate import Held
from clatnm.worker.wire import WorkerConfig
from tests.unit.policy.worlds import a_world, the_plan

PLAN = replace(the_plan(a_world()), clat_v4=IPv4Address("192.0.0.4"), clat_v6=IPv6Address("2001:db8:a::c1a7"))
INDEX = 9
STEPS = ("spawn", "packets", "group", "tun", "hand_over", "set_up_device", "add_default_route")
TAKEOVER = ("prepare hook", "update process", "obeyed", "hook", "update process")
SHARED_STEPS = ("spawn", "packets", "tun", "hand_over", "set_up_device", "hook", "add_default_route")


class FakeMachine:
    """Kernel, process and hooks in one: what was done in which order, and what of it is still there."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.refuse: set[str] = set()
        self.route: tuple[int, int] | None = None
        self.pinned_mtu: int | None = None
        self.rule = False
        self.watchers: list[Callable[[], None]] = []
        """Of rules."""
        self.name = PLAN.device
        self.renames_live = True
        self.taken_in: set[IPv6Address] = set()
        self.config: WorkerConfig | None = None
        self.running = False
        self.hooked = False
        self.neighbours_only = False
        self.given_up: Ended | None = None
        self.opened: list[socket.socket] = []
        self.guards: list[FakeGuard] = []
        self.stopped: asyncio.Event | None = None
        """Set: the process lives until it is stopped, and dies of nothing else."""

    def do(self, what: str) -> None:
        self.done.append(what)
        if what in self.refuse:
            raise HostError(f"{what} refused", errno=1)

    def left(self) -> tuple[object, ...]:
        """What of a translator is still there; all False when nothing is."""
        routes = self.route is not None or self.pinned_mtu is not None
        return self.running, self.hooked, routes, self.rule, not all(guard.closed for guard in self.guards)

    def go_down(self) -> None:
        self.route = self.pinned_mtu = None
        self.taken_in.clear()

    # kernel

    def open(self, what: str) -> socket.socket:
        self.do(what)
        self.opened.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        return self.opened[-1]

    def open_tun(self, name: str, *, large: bool) -> Tun:
        assert name == PLAN.device
        self.large = large
        # Handed out as a bare number, which its taker closes.
        return Tun(fd=self.open("tun").detach(), name=name, offloads=0)

    def open_packets(self, ifindex: int, *, neighbours_only: bool, **_: Any) -> socket.socket:
        self.neighbours_only = neighbours_only
        return self.open("packets")

    def join(self, ifindex: int, address: IPv6Address, *, sock: socket.socket | None = None) -> socket.socket:
        if sock is not None:
            self.do(f"move group to {address}")
            return sock
        return self.open("group")

    def refilter(self, sock: socket.socket, address: IPv6Address, **_: Any) -> None:
        self.do(f"refilter for {address}")

    def set_up_device(
        self, name: str, *, address: IPv4Address, mtu_bytes: int, take_in: IPv6Address | None, route: Any
    ) -> int:
        self.do("set_up_device")
        if take_in is not None:
            self.take_in(INDEX, take_in)
        if route is not None:
            self.add_default_route(INDEX, route)
        return INDEX

    def take_in(self, index: int, address: IPv6Address) -> None:
        assert index == INDEX
        self.taken_in.add(address)

    def let_go(self, index: int, address: IPv6Address) -> None:
        self.taken_in.remove(address)

    def set_device_mtu(self, index: int, mtu_bytes: int) -> None:
        self.do(f"mtu {mtu_bytes}")

    def add_default_route(self, index: int, route: Any) -> None:
        self.do("add_default_route")
        self.route = (route.metric, route.mtu_bytes)

    def change_default_route(self, index: int, route: Any) -> None:
        self.do("change_default_route")
        assert self.route is not None
        assert self.route[0] == route.metric
        self.route = (route.metric, route.mtu_bytes)

    def drop_default_route(self, index: int, route: Any) -> None:
        self.do("drop_default_route")
        if self.route is not None and self.route[0] == route.metric:
            self.route = None

    def pin(self, index: int, source: IPv4Address, *, mtu_bytes: int) -> None:
        assert (index, source) == (INDEX, PLAN.clat_v4)
        self.pinned_mtu = mtu_bytes
        self.rule = True
        self.do("pin")  # the worst case: refused half-way

    def unpin(self, index: int, source: IPv4Address) -> None:
        assert (index, source) == (INDEX, PLAN.clat_v4)
        self.do("unpin")
        self.pinned_mtu, self.rule = None, False

    def pin_again(self, index: int, source: IPv4Address) -> bool:
        assert (index, source) == (INDEX, PLAN.clat_v4)
        self.do("pin again")
        was_there, self.rule = self.rule, True
        return not was_there

    def remove_address(self, index: int, address: IPv4Address) -> None:
        assert (index, address) == (INDEX, PLAN.clat_v4)
        self.do("remove_address")
        self.route = None

    def rename_device(self, index: int, name: str) -> bool:
        assert index == INDEX
        self.do(f"rename to {name}")
        self.name = name
        if not self.renames_live:
            self.go_down()
        return not self.renames_live

    # process

    async def spawn(self) -> FakeWorker:
        self.do("spawn")
        self.running = True
        return FakeWorker(self)


class FakeWorker:
    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    async def hand_over(self, config: WorkerConfig, descriptors: list[int]) -> None:
        self._machine.do("hand_over")
        assert all(os.fstat(fd) for fd in descriptors)
        self._machine.config = config

    def update(self, config: WorkerConfig) -> None:
        self._machine.do("update process")
        self._machine.config = config

    async def obeyed(self) -> None:
        self._machine.do("obeyed")

    def give_up(self, error: str, *, unfit: bool) -> None:
        self._machine.given_up = Ended(error=error, unfit=unfit)

    async def stop(self) -> Ended:
        self._machine.do("stop process")
        if self._machine.stopped is not None:
            self._machine.stopped.set()
        self._machine.running = False
        self._machine.go_down()
        return Ended(error="stopped")

    async def counters(self) -> Mapping[str, Any]:
        return {"slow": 7}

    async def ended(self) -> Ended:
        if self._machine.stopped is not None:
            await self._machine.stopped.wait()
        self._machine.running = False
        self._machine.go_down()
        return self._machine.given_up or Ended(error="died")


class FakeHost:
    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    async def do(self, work: Callable[[Any], Any]) -> Any:
        return work(self._machine)

    def guard(self, uplink: int, *, tripped: Callable[[], None]) -> FakeGuard:
        assert uplink == PLAN.ifindex
        self._machine.guards.append(FakeGuard(self._machine, tripped))
        return self._machine.guards[-1]

    def watch_rules(self, changed: Callable[[], None]) -> Any:
        self._machine.do("watch rules")
        self._machine.done.pop()  # it changes nothing
        self._machine.watchers.append(changed)
        return SimpleNamespace(close=lambda: self._machine.watchers.remove(changed))


class FakeGuard:
    def __init__(self, machine: FakeMachine, tell: Callable[[], None]) -> None:
        self._machine = machine
        self._tell = tell
        self._protects = False
        self.tripped = self.closed = False

    def trip(self) -> None:
        """The manager begins to translate."""
        self.tripped = True
        if self._protects:
            self._machine.route = None
        self._tell()

    def protect(self, index: int, address: IPv4Address) -> None:
        assert (index, address) == (INDEX, PLAN.clat_v4)
        self._protects = True
        if self.tripped:
            self._machine.route = None

    def close(self) -> None:
        self.closed = True


class FakeHooks:
    """A `takeover.Preparable`."""

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    async def prepare(self, plan: Plan, device_index: int) -> None:
        assert device_index == INDEX
        self._machine.do("prepare hook")

    async def attach(self, plan: Plan, device_index: int) -> None:
        assert device_index == INDEX
        self._machine.do("hook")
        self._machine.hooked = True

    async def update(self, plan: Plan) -> None:
        self._machine.do("update hook")

    def counters(self, slow: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**slow, "fast": 100}

    async def held(self) -> Held:
        return Held()

    async def close(self) -> None:
        self._machine.hooked = False
