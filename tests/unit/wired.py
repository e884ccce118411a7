# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with nothing real around it: an observer of what the test says, a bus that comes when the test lets it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clatnm import config, daemon
from clatnm.daemon import Daemon
from clatnm.dbus import service, suspend
from clatnm.dbus.bus import Bus, Signal
from clatnm.dbus.names import LOGIN1, LOGIN1_MANAGER, LOGIN1_PATH
from clatnm.model import Plan, Running, Settings, Verdict, World
from clatnm.worker import launch
from tests.unit.aio import run_virtual, settle
from tests.unit.policy.worlds import a_candidate, a_world
from tests.unit.supervised import FakeBackend

WORLD = a_world(prefixes={"wlan0": (a_candidate(expires_at=None),)})


class FakeBus:
    """A connection that lasts until `close`."""

    def __init__(self) -> None:
        self._handlers: list[Callable[[Signal], None]] = []
        self._gone = asyncio.Event()

    def on_signal(self, handler: Callable[[Signal], None]) -> None:
        self._handlers.append(handler)

    async def follow(self, name: str) -> str:
        return ""

    async def add_match(self, rule: str) -> None:
        return None

    async def closed(self) -> None:
        await self._gone.wait()

    def close(self) -> None:
        self._gone.set()

    def say(self, member: str, *body: Any) -> None:
        """As logind."""
        said = Signal(sender=LOGIN1, path=LOGIN1_PATH, interface=LOGIN1_MANAGER, member=member, body=body)
        for handler in self._handlers:
            handler(said)


class FakeObserver:
    """What there is, is `stage.world`; `looks` are the times at which somebody has looked."""

    def __init__(self, stage: Stage, *, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.looks: list[float] = []
        self.forgotten = 0
        self.managers: dict[str, str] = {}
        self.probed: list[str] = []
        self.counted: list[tuple[str, Mapping[str, Any]]] = []
        self.closed = False
        self.deprecations: list[float] = []
        self.adverts = SimpleNamespace(next_deprecation=self._next_deprecation, heard=0, dropped=0)
        self._stage = stage

    def _next_deprecation(self, now: float) -> float | None:
        return min((at for at in self.deprecations if at > now), default=None)

    async def attach(self, bus: FakeBus) -> None:
        self._stage.said.append("attached")

    def without_bus(self) -> None:
        self._stage.said.append("without bus")

    def manager_of(self, interface: str) -> str:
        return self.managers.get(interface, "")

    async def look(self, settings: Settings, running: Mapping[str, Running]) -> None:
        self.looks.append(self._stage.now())

    def world(self, settings: Settings, now: float) -> World:
        return replace(self._stage.world, settings=settings)

    def probe(self, world: World, verdicts: Iterable[Verdict], now: float) -> None:
        self.probed = [verdict.uplink.interface for verdict in verdicts]

    def count(self, plan: Plan, counters: Mapping[str, Any]) -> None:
        self.counted.append((plan.key, counters))

    def forget(self) -> None:
        self.forgotten += 1
        self.changed()

    def read_again(self) -> None:
        self.changed()

    def close(self) -> None:
        self.closed = True


class Stage:
    """`said` is what the service manager was told, in order, and when the bus was there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.world = WORLD
        self.settings = Settings()
        self.said: list[str] = []
        self.said_at: list[float] = []
        self.asleep_s = 0.0
        """How long the machine has slept: by so much CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC."""
        self.watched_s: float | None = None
        self.waiting: list[str] = []
        """The translator processes that wait for a start."""
        self.connecting, self.offering = asyncio.Event(), asyncio.Event()
        for gate in (self.connecting, self.offering):
            gate.set()
        self.refusal: Exception | None = None
        """What the bus says to whoever wants to join it."""
        self.backend = FakeBackend()
        self.buses: list[FakeBus] = []
        self._delays: list[int] = []
        self._directory = directory
        self._put(monkeypatch)

    async def run(self) -> None:
        await Daemon(config_dir=self._directory, state_dir=self._directory).run()

    def _put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def observe(_: object, *, changed: Callable[[], None], **__: object) -> FakeObserver:
            self.observer = FakeObserver(self, changed=changed)
            return self.observer

        host: Any = SimpleNamespace(do=_nothing, close=_nothing)
        put: dict[str, Any] = {
            "Observer": observe,
            "Host": lambda: host,
            "available": lambda _: {"tun": self.backend},
            "boottime": lambda: self.now() + self.asleep_s,
            "time": SimpleNamespace(monotonic=self.now, time=self.now),
            "notify": self._notified,
            "watched_every_s": lambda: self.watched_s,
        }
        for name, value in put.items():
            monkeypatch.setattr(daemon, name, value)
        monkeypatch.setattr(config, "load", lambda *_, **__: self.settings)
        monkeypatch.setattr(service, "offer", self._offer)
        monkeypatch.setattr(Bus, "connect", self._connect)
        monkeypatch.setattr(suspend, "_delay", self._delay)
        monkeypatch.setattr(launch, "prepare", lambda: self.waiting.append("process"))
        monkeypatch.setattr(launch, "dismiss", self.waiting.clear)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _notified(self, message: str) -> None:
        self.said.append(message)
        if message == "WATCHDOG=1":
            self.said_at.append(self.now())

    async def _connect(self) -> FakeBus:
        await self.connecting.wait()
        if self.refusal is not None:
            raise self.refusal
        self.buses.append(FakeBus())
        return self.buses[-1]

    async def _offer(self, bus: FakeBus, _: Daemon) -> None:
        await self.offering.wait()
        self.said.append("offered")

    @property
    def held_up(self) -> bool:
        """A suspend would have to wait."""
        return any(map(_is_open, self._delays))

    async def _delay(self) -> int:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self._delays.append(ours)
        return theirs

    def close(self) -> None:
        for pipe in self._delays:
            os.close(pipe)


def _is_open(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) != b""
    except BlockingIOError:
        return True


async def _nothing(*_: object) -> list[str]:
    return []


Scene = Callable[[Stage], Coroutine[Any, Any, None]]


def play(scene: Scene, stage: Stage) -> None:
    """Let the daemon run while the scene does; then tell it to end, which it does with nothing left."""

    async def work() -> None:
        running = asyncio.ensure_future(stage.run())
        await settle()
        await scene(stage)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        assert stage.observer.closed
        assert (stage.backend.alive, stage.waiting, stage.held_up) == ([], [], False)
        assert stage.said[-1] == "STOPPING=1"

    try:
        run_virtual(work())
    finally:
        stage.close()
