# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries steps out, and remembers what came of them.

A connection is in a state only after the effect that leads there has succeeded. Each step runs in a task of its own, so
a slow start of one connection delays no other; while it runs, `diff` leaves that connection alone. Translators go by
`Plan.key`, failures by `Plan.owner`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clatnm.compat import assert_never
from clatnm.errors import ClatnmError, GaveWayError, HostError
from clatnm.hooks import Hooks
from clatnm.log import Message, about
from clatnm.memo import Past
from clatnm.model import Plan, Retry, Running, RunState, Settings, Start, Step, Stop, Update
from clatnm.policy import retry
from clatnm.translators.base import Backend, Ended, Translator
from clatnm.translators.estate import Estate

log = logging.getLogger(__name__)

# Owners whose starts and failures are counted; some machines have interfaces whose names never come back.
_MAX_COUNTED = 256


@dataclass(slots=True)
class _Run:
    plan: Plan
    state: RunState
    began: float
    translator: Translator | None = None
    start_ms: float = 0.0
    withdrawn_at: float | None = None
    adopted_at: float | None = None


class Supervisor:
    """`changed` is called whenever an outcome makes the world worth another look.

    `estate`: where a successor finds the translators that we leave; without it none outlives us.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        clock: Callable[[], float],
        changed: Callable[[], None],
        hooks: Hooks | None = None,
        estate: Estate | None = None,
    ) -> None:
        self._backends = backends
        self._estate = estate
        self._hooks = hooks or Hooks(Settings)
        self._clock = clock
        self._changed = changed
        self._runs: dict[str, _Run] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._totals: dict[str, dict[str, int]] = {}
        self.retries: dict[str, Retry] = {}

    def running(self) -> dict[str, Running]:
        """What exists now, by `Plan.key`."""
        return {
            key: Running(plan=run.plan, state=run.state, withdrawn_at=run.withdrawn_at, adopted_at=run.adopted_at)
            for key, run in self._runs.items()
        }

    def start_ms(self, key: str) -> float:
        """How long this translator took to come up, in milliseconds."""
        run = self._runs.get(key)
        return run.start_ms if run else 0.0

    def began(self, key: str) -> float | None:
        """Since when it has been translating, in CLOCK_BOOTTIME seconds; None while it does not."""
        run = self._runs.get(key)
        return run.began if run and run.translator else None

    def pids(self, key: str) -> tuple[int, ...]:
        """The processes of a translator that is up, that with its device first; none while it is not."""
        run = self._runs.get(key)
        return run.translator.pids if run and run.translator else ()

    def totals(self, owner: str) -> dict[str, int]:
        """How often a translator of this owner came up, and failed, since we began."""
        return dict(self._totals.get(owner) or {"starts": 0, "failures": 0})

    def _count(self, owner: str, what: str) -> None:
        self._totals.setdefault(owner, {"starts": 0, "failures": 0})[what] += 1
        for oldest in list(self._totals)[:-_MAX_COUNTED]:
            del self._totals[oldest]

    async def counters(self, key: str) -> Mapping[str, Any]:
        """The counters of one translator; empty while there is none, or none that can tell."""
        run = self._runs.get(key)
        if run is None or run.translator is None:
            return {}
        try:
            return await run.translator.counters()
        except Exception as error:  # whatever it is, only the counting has failed
            log.debug("%s: counters: %s", run.plan.owner, _words(error))
            return {}

    def forget_failures(self, keep: Collection[str]) -> None:
        """Failures belong to an owner that wants, or has, a translator (`keep` names them); else they are history."""
        self.retries = {name: entry for name, entry in self.retries.items() if name in keep}

    def forgive(self, owners: Iterable[str]) -> None:
        """Try again at once: what these shall be has changed since they failed."""
        forgiven = set(owners)
        self.retries = {owner: entry for owner, entry in self.retries.items() if owner not in forgiven}

    def apply(self, steps: Iterable[Step]) -> None:
        """Begin to carry out the steps. Outcomes show in `running` and `retries`, each announced by `changed`."""
        for step in steps:
            match step:
                case Start(plan=plan):
                    run = self._runs[plan.key] = _Run(plan, RunState.STARTING, self._clock())
                    self._spawn(self._start(run))
                case Update(plan=plan):
                    run = self._runs[plan.key]
                    run.plan, run.state = plan, RunState.STARTING
                    if plan.offered:
                        run.withdrawn_at = None
                    elif run.withdrawn_at is None:
                        run.withdrawn_at = self._clock()
                    self._spawn(self._update(run))
                case Stop(plan=plan):
                    run = self._runs[plan.key]
                    run.state = RunState.STOPPING
                    self._spawn(self._stop(run))
                case _:
                    assert_never(step)

    def adopt(self, past: Past, translator: Translator) -> None:
        """It was an earlier daemon's, and is ours from now on. To be told before anything is decided."""
        plan, now = past.plan, self._clock()
        run = _Run(plan, RunState.ON, past.began, translator, past.start_ms, past.withdrawn_at, adopted_at=now)
        self._runs[plan.key] = run
        self._inherit(past)
        self._spawn(self._watch(run, translator))
        self._spawn(self._entrust(run))

    async def bury(self, past: Past) -> None:
        """It was an earlier daemon's, and ended when nobody was there to do what is to be done then."""
        self._inherit(past)
        await self._finish(past.plan)

    def _inherit(self, past: Past) -> None:
        plan = past.plan
        self._hooks.inherit(plan, past.script_down, past.environment)
        if past.collisions:
            self.retries[plan.owner] = Retry(failures=0, error="", not_before=self._clock(), collisions=past.collisions)

    async def leave_all(self) -> None:
        """Let every translator go on that can without us, and end the others. Nothing is to be asked of us any more."""
        self._hooks.hurry()
        while any(run.state is not RunState.ON for run in self._runs.values()):
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
        left = {key for key, run in list(self._runs.items()) if await self._entrust(run)}
        while set(self._runs) - left:
            runs = [run for key, run in self._runs.items() if key not in left and run.state is RunState.ON]
            self.apply([Stop(plan=run.plan) for run in runs])
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def _entrust(self, run: _Run) -> bool:
        """Have it outlive us, should we end from now on. False: it does not, and ends when we do."""
        if self._estate is None or run.translator is None:
            return False
        known = self.retries.get(run.plan.owner)
        script_down, environment = self._hooks.down_of(run.plan)
        past = Past(
            plan=run.plan,
            began=run.began,
            start_ms=run.start_ms,
            withdrawn_at=run.withdrawn_at,
            script_down=script_down,
            environment=environment,
            collisions=known.collisions if known else 0,
        )
        try:
            return await run.translator.entrust(self._estate, past)
        except Exception as error:  # whatever it is, it works as long as we do
            log.debug("%s: it will not outlive us: %s", run.plan.owner, _words(error))
            return False

    async def stop_all(self) -> None:
        """End every translator; return when nothing is left."""
        self._hooks.hurry()
        while self._runs:
            self.apply([Stop(plan=run.plan) for run in self._runs.values() if run.state is RunState.ON])
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, run: _Run) -> None:
        began = time.monotonic()
        try:
            run.translator = await self._backends[run.plan.backend].start(run.plan)
        except GaveWayError as error:
            self._failed(run, _words(error), ran_for_s=0.0, level=logging.DEBUG)
            return
        except Exception as error:  # a bug in a backend included: its connection must not be stuck in `starting`
            if not isinstance(error, ClatnmError):
                log.exception("%s: the %s backend failed", run.plan.owner, run.plan.backend)
            # A name, an address or a route that somebody else has just taken is no fault of the backend's.
            taken = isinstance(error, HostError) and error.errno in (errno.EEXIST, errno.EBUSY)
            self._failed(run, _words(error), ran_for_s=0.0 if taken else None)
            return
        run.start_ms = (time.monotonic() - began) * 1000
        fault = await self._prepared(run.plan)
        if fault:
            await self._take_down(run)
            self._failed(run, fault, ran_for_s=0.0)
            return
        run.state, run.began = RunState.ON, self._clock()
        self._count(run.plan.owner, "starts")
        self._spawn(self._watch(run, run.translator))
        self._spawn(self._entrust(run))
        self._changed()

    async def _prepared(self, plan: Plan) -> str:
        """What went wrong with what the administrator wants to be done now; "" for nothing."""
        try:
            return await self._hooks.up(plan)
        except Exception as error:  # a bug, and its connection must not be stuck in `starting`
            log.exception("%s: script-up", plan.owner)
            return _words(error)

    async def _update(self, run: _Run) -> None:
        assert run.translator is not None
        try:
            await run.translator.update(run.plan)
        except Exception as error:  # a bug in a backend included, as in `_start`
            await self._take_down(run)
            # It counts, or one that comes up and cannot be updated would come up for ever.
            self._failed(run, _words(error), ran_for_s=self._clock() - run.began)
            return
        if run.state is not RunState.STOPPING:  # it has died meanwhile
            run.state = RunState.ON
            self._spawn(self._entrust(run))
        self._changed()

    async def _stop(self, run: _Run) -> None:
        await self._take_down(run)
        self._gone(run)

    async def _take_down(self, run: _Run) -> None:
        run.state = RunState.STOPPING
        try:
            if run.translator is not None:
                await run.translator.stop()
        except Exception as error:  # whatever it is, its process has ended or will when we do
            told = _about(Message.TRANSLATOR_STUCK, run.plan)
            log.error("%s: stopping: %s", run.plan.owner, _words(error), extra=told)
        await self._finish(run.plan)

    async def _finish(self, plan: Plan) -> None:
        """Do what the administrator wants to be done when it is gone."""
        try:
            await self._hooks.down(plan)
        except Exception:  # a bug, and its connection must not be stuck in `stopping`
            log.exception("%s: script-down", plan.owner)

    async def _watch(self, run: _Run, translator: Translator) -> None:
        try:
            ended = await translator.ended()
        except Exception as error:
            ended = Ended(error=_words(error))
        if run.state is RunState.STOPPING or self._runs.get(run.plan.key) is not run:
            return
        ran_for_s = self._clock() - run.began
        run.state = RunState.STOPPING
        await self._finish(run.plan)
        if ended.collision and run.plan.offered:
            then = "trying again" if run.plan.static else "taking another address"
            told = _about(Message.ADDRESS_TAKEN, run.plan, address=ended.collision)
            log.warning("%s: another host uses %s; %s", run.plan.owner, ended.collision, then, extra=told)
            previous = self.retries.get(run.plan.owner)
            self.retries[run.plan.owner] = retry.collided(previous, address=ended.collision, now=self._clock())
            self._gone(run)
        elif ended.gave_way:  # should nobody translate after all, the next try counts as one
            self._failed(run, ended.error, ran_for_s=ran_for_s, level=logging.DEBUG)
        else:
            self._failed(run, ended.error, ran_for_s=None if ended.unfit else ran_for_s)

    def _failed(self, run: _Run, error: str, *, ran_for_s: float | None, level: int = logging.WARNING) -> None:
        owner = run.plan.owner
        if self._runs.get(run.plan.key) is not run:
            return  # its death has been noted already
        told = _about(Message.TRANSLATOR_FAILED, run.plan, error=error)
        if level >= logging.WARNING:
            self._count(owner, "failures")
        if not run.plan.offered:  # nobody will start it again, so there is nothing to wait for
            log.log(level, "%s: %s; the connections that were left to it have ended", owner, error, extra=told)
            self._gone(run)
            return
        previous = self.retries.get(owner)
        now = self._clock()
        entry = retry.failed(previous, error=error, backend=run.plan.backend, ran_for_s=ran_for_s, now=now)
        self.retries[owner] = entry
        wait_s = entry.not_before - now
        then = f"next try in {wait_s:.0f} s" if wait_s > 0 else "trying again"
        log.log(level, "%s: %s; %s", owner, error, then, extra=told)
        self._gone(run)

    def _gone(self, run: _Run) -> None:
        if self._runs.get(run.plan.key) is run:
            del self._runs[run.plan.key]
        self._changed()


def _about(message: Message, plan: Plan, **fields: object) -> dict[str, Any]:
    where = {"uplink": plan.interface, "device": plan.device, "backend": plan.backend, "prefix": plan.prefix}
    return about(message, connection=plan.uuid, **where, **fields)


def _words(error: Exception) -> str:
    """An error for the user; one that is a bug, for whoever reads the report of it."""
    return str(error) if isinstance(error, ClatnmError) else repr(error)
