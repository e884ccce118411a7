# SPDX-License-Identifier: GPL-2.0-or-later
"""A supervisor with a backend that does what the test says, on a clock that moves when the test says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clatnm.errors import TranslatorError
from clatnm.memo import Memo, Past
from clatnm.model import Plan, RunState, Step, Verdict
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, wake_at, wanted
from clatnm.supervisor import Supervisor
from clatnm.translators.base import Backend, Ended
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import Orphan
from tests.unit.aio import run_virtual, settle
from tests.unit.policy.worlds import NOW, a_candidate, a_link, a_world, the_plan

WORLD = a_world(prefixes={"wlan0": (a_candidate(expires_at=None),)})
PLAN = the_plan(WORLD)
OTHER = the_plan(a_world(a_link("eth0", index=3, ipv6=("2001:db8:b::5/64",))))


_PIDS = itertools.count(4711)


class FakeTranslator:
    def __init__(self, backend: FakeBackend, plan: Plan) -> None:
        self.backend = backend
        self.plan = plan
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.pids: tuple[int, ...] = (next(_PIDS),)

    async def update(self, plan: Plan) -> None:
        await self.backend.take("update")
        self.plan = plan

    async def stop(self) -> None:
        try:
            await self.backend.take("stop")
        finally:
            self.end(Ended(error="stopped"))

    async def counters(self) -> Mapping[str, Any]:
        await self.backend.take("counters")
        return {"device": self.plan.device}

    async def ended(self) -> Ended:
        return await asyncio.shield(self._ended)

    async def entrust(self, estate: Estate, past: Past) -> bool:
        await self.backend.take("entrust")
        self.backend.entrusted[past.plan.key] = past
        return self.backend.outlives

    def end(self, ended: Ended) -> None:
        """Die, or be dead."""
        if self in self.backend.alive:
            self.backend.alive.remove(self)
            self._ended.set_result(ended)

    def break_down(self, fault: Exception) -> None:
        """Die in a way that cannot even be told."""
        self.backend.alive.remove(self)
        self._ended.set_exception(fault)


class FakeBackend:
    """`faults[verb]` is raised by the next such calls; `gates[verb]` lets them wait until it is set."""

    shares = False
    marks = False

    def __init__(self, host: object = None) -> None:
        self.alive: list[FakeTranslator] = []
        self.starts: list[Plan] = []
        self.faults: dict[str, list[Exception]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.entrusted: dict[str, Past] = {}
        """What was last told of each translator."""
        self.outlives = True

    def probe(self) -> str:
        return ""

    async def take(self, verb: str) -> None:
        if verb in self.gates:
            await self.gates[verb].wait()
        if self.faults.get(verb):
            raise self.faults[verb].pop(0)

    async def start(self, plan: Plan) -> FakeTranslator:
        self.starts.append(plan)
        await self.take("start")
        assert all(other.plan.key != plan.key for other in self.alive), "one translator twice"
        translator = FakeTranslator(self, plan)
        self.alive.append(translator)
        return translator

    async def adopt(self, memo: Memo, orphan: Orphan, estate: Estate) -> FakeTranslator:
        raise TranslatorError("nobody has left any")


class Stage:
    """A supervisor, its backend, and a daemon that looks when it is told to."""

    def __init__(self) -> None:
        self.now = NOW
        self.changes = 0
        self.backend = FakeBackend()
        backends: dict[str, Backend] = {"tun": self.backend}
        self.supervisor = Supervisor(
            backends, clock=lambda: self.now, changed=self._changed, estate=Estate(Path("/nonexistent"))
        )
        self.world = WORLD

    def _changed(self) -> None:
        self.changes += 1

    def verdict(self) -> Verdict:
        world = replace(self.world, running=self.supervisor.running(), retries=self.supervisor.retries)
        return decide(world, self.now)[0]

    async def look(self) -> None:
        """Decide and apply, then let things happen."""
        world = replace(self.world, running=self.supervisor.running(), retries=self.supervisor.retries)
        self.supervisor.apply(diff(world.running, wanted(decide(world, self.now))))
        await settle()

    async def apply(self, *steps: Step) -> None:
        self.supervisor.apply(steps)
        await settle()

    def states(self) -> dict[str, RunState]:
        """By interface: here each has one translator."""
        return {run.plan.interface: run.state for run in self.supervisor.running().values()}

    def wake(self) -> float | None:
        world = replace(self.world, retries=self.supervisor.retries)
        return wake_at(world, self.now)


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def work() -> None:
        stage = Stage()
        await scene(stage)
        for gate in stage.backend.gates.values():
            gate.set()
        await stage.supervisor.stop_all()
        assert stage.backend.alive == []
        assert stage.states() == {}

    run_virtual(work())
