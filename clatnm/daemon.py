# SPDX-License-Identifier: GPL-2.0-or-later
"""The only wiring: what is observed becomes a World, the World is decided on, the steps are carried out.

One consumer, so no locks: every event only sets `_wake`, and `_look` rebuilds the world from what is there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from clatnm import __version__, config, status, trace
from clatnm.caretaker import Caretaker
from clatnm.clock import boottime
from clatnm.dbus.bus import Bus
from clatnm.dbus.front import Front
from clatnm.dbus.scopes import Group, Scopes
from clatnm.dbus.suspend import Suspend
from clatnm.errors import BusError, ConfigError
from clatnm.explain import explanation, unfollowed
from clatnm.explain_static import static_explanation
from clatnm.firewall.firewalld import Firewalld
from clatnm.firewall.memory import Memory
from clatnm.hooks import Hooks
from clatnm.journal import Journal
from clatnm.kernel import who
from clatnm.kernel.host import Host
from clatnm.log import Message, about
from clatnm.metrics import families
from clatnm.metrics.listener import Listener
from clatnm.model import RunState, Settings, Verdict, World
from clatnm.notify import notify, watched_every_s
from clatnm.observer import Observer
from clatnm.policy.others import is_own
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, trying, unjudged, wake_at, wanted
from clatnm.recorder import Recorder
from clatnm.supervisor import Supervisor
from clatnm.translators.adoption import adopt_all
from clatnm.translators.backends import BACKENDS, available, faults, sharing
from clatnm.translators.estate import Estate
from clatnm.translators.leftovers import clean_first
from clatnm.translators.process import Spare
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

_RECONNECT_S = 1.0
_READING_S = 5.0
_RESUME_JUMP_S = 1.0


class Daemon:
    """`run()` returns after SIGTERM or SIGINT, with nothing of ours left on the machine. It is a `service.Answers`.

    After SIGUSR1, and when it is killed, the translators go on for a while: whoever has the same `estate` adopts them.
    """

    def __init__(
        self, *, config_dir: Path, state_dir: Path, record: Path | None = None, estate: Estate | None = None
    ) -> None:
        self._config_dir = config_dir
        self._state_dir = state_dir
        self._recorder = Recorder(record) if record else None
        self._settings = self._in_force = Settings()
        self._secret = b""
        self._wake = asyncio.Event()
        self._stopping = self._leaving = False
        self._estate = estate
        self._answering = False
        self._front = Front(self, changed=self._wake.set)
        self._suspend = Suspend(changed=self._wake.set, resumed=self._on_resume)
        self._firewalld = Firewalld(Memory(estate.zones, who.name(os.getpid())) if estate else None)
        self._metrics = Listener(self._page)
        self._caretaker = Caretaker(engaged=self._give_units, noted=estate.caretaker if estate else None)
        self._scopes = Scopes()
        self._verdicts: tuple[Verdict, ...] = ()
        self._journal = Journal(wall_clock=time.time)
        self._looked_at = 0.0
        self._asleep_s = boottime() - time.monotonic()
        self._host = Host()
        self._backends = available(self._host)
        hooks = Hooks(lambda: self._in_force)
        self._supervisor = Supervisor(
            self._backends, clock=boottime, changed=self._wake.set, hooks=hooks, estate=estate
        )

    async def run(self) -> None:
        """Work until told to stop. ConfigError, HostError or AlreadyRunningError when it cannot even begin."""
        self._catch_signals()  # first, or one meanwhile would end us
        self._settings = config.load(self._config_dir, backends=tuple(BACKENDS))
        self._tell_missing(before=None)
        self._secret = config.some_secret(self._state_dir)
        self._observer = Observer(self._host, clock=boottime, changed=self._wake.set, backends=tuple(BACKENDS))
        await self._begin()
        spare = Spare()
        bus = asyncio.ensure_future(self._keep_bus())
        bus.add_done_callback(lambda _: self._stop())
        reading = asyncio.ensure_future(self._keep_reading())
        try:
            while not self._stopping:
                await self._look()
                if self._answering:
                    notify("READY=1")
                await self._sleep()
        finally:
            notify("STOPPING=1")
            reading.cancel()
            self._observer.close()
            self._suspend.close()
            self._scopes.close()
            await self._end()
            await self._metrics.close()
            spare.close()
            bus.cancel()
            await asyncio.wait({bus, reading})
            await self._host.close()
            if self._recorder is not None:
                self._recorder.close()
        if not bus.cancelled():
            bus.result()  # raises what ended it

    async def _begin(self) -> None:
        """Take over what an earlier daemon has left, and clean up after it."""
        if self._estate is not None:
            for past, translator in await adopt_all(self._host, self._estate, self._backends):
                if translator is None:
                    await self._supervisor.bury(past)
                else:
                    self._supervisor.adopt(past, translator)
        await clean_first(self._host)

    async def _end(self) -> None:
        """End every translator or, if another daemon is to come at once, leave them to that."""
        if not self._leaving:
            await self._supervisor.stop_all()
            await self._firewalld.close()
            self._caretaker.dismiss()
            if self._estate is not None:
                self._estate.close()
            return
        await self._supervisor.leave_all()

    async def _keep_reading(self) -> None:
        """Tell the PLAT check what the translators have counted."""
        while True:
            await asyncio.sleep(_READING_S)
            for key, run in self._supervisor.running().items():
                if run.plan.static or run.state is not RunState.ON or not self._in_force.of(run.plan.uuid).plat_check:
                    continue
                counters = await self._supervisor.counters(key)
                # An update meanwhile: nobody knows to which prefix the counters belong.
                if self._supervisor.running().get(key) == run:
                    self._observer.count(run.plan, counters)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGUSR1, self._leave)

    def _leave(self) -> None:
        self._leaving = self._estate is not None
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def reload(self) -> str:
        try:
            settings = config.load(self._config_dir, backends=tuple(BACKENDS))
        except ConfigError as error:
            told = about(Message.CONFIG_REFUSED)
            log.warning("%s; keeping the last good configuration", error, extra=told)
            return str(error)
        before, self._settings = self._settings, config.kept(settings, self._settings)
        self._tell_missing(before=before)
        self._supervisor.forgive(static.key for static in self._settings.statics if static not in before.statics)
        log.info("configuration read again", extra=about(Message.CONFIG_READ))
        self._wake.set()
        return ""

    def _tell_missing(self, *, before: Settings | None) -> None:
        for line in config.missing_uplinks(self._settings, _interfaces(), before=before):
            log.warning("%s", line, extra=about(Message.UPLINK_MISSING))

    def _on_resume(self, why: str) -> None:
        log.debug("the machine woke up (%s): any link may be on another network", why)
        self._observer.forget()

    async def _sleep(self) -> None:
        """Until something changes, or time alone changes something."""
        # As of the last look: what has ended since then has not been seen yet.
        looked_at = self._looked_at
        times = (wake_at(self._world(looked_at), looked_at), self._observer.adverts.next_deprecation(looked_at))
        await self._wait(min((at for at in times if at is not None), default=None))
        asleep_s = boottime() - time.monotonic()
        if asleep_s - self._asleep_s > _RESUME_JUMP_S:
            self._suspend.woken("the clock jumped")
        self._asleep_s = asleep_s

    async def _wait(self, until: float | None) -> None:
        """Until `_wake` is set, or that time; the service manager hears that this loop goes around."""
        watched_s = watched_every_s()
        while True:
            notify("WATCHDOG=1")
            times_s = [] if until is None else [max(0.0, until - boottime())]
            times_s += [] if watched_s is None else [watched_s / 3]
            try:
                await wait_for(self._wake.wait(), min(times_s, default=None))
                return
            except asyncio.TimeoutError:
                if until is not None and boottime() >= until:
                    log.debug("time to look again")
                    return

    async def _look(self) -> None:
        """Observe, decide, apply: once."""
        self._wake.clear()
        await self._observer.look(self._settings, self._supervisor.running())
        now = self._looked_at = boottime()
        world = self._world(now)
        self._in_force = world.settings
        self._verdicts = decide(world, now)
        self._supervisor.forget_failures(keep=trying(self._verdicts, world.running))
        # Nothing is sent to a prefix while the machine sleeps: it may wake up in another network.
        awake = () if self._suspend.asleep else self._verdicts
        untold = () if self._suspend.asleep else unjudged(self._verdicts, world.running, now)
        plans = (*wanted(awake), *untold)
        if any(self._backends[plan.backend].marks or not plan.offered for plan in plans):
            self._caretaker.engage()
        elif plans and self._estate is not None:
            self._caretaker.engage_soon()
        self._supervisor.apply(diff(world.running, plans))
        self._firewalld.want({run.plan.device: run.plan.interface for run in self._supervisor.running().values()})
        self._metrics.want(world.settings.metrics)
        self._give_units()
        self._observer.probe(world, [verdict for verdict in awake if not verdict.uplink.static], now)
        if not self._supervisor.running():
            self._suspend.ready()
        if self._recorder is not None:
            self._recorder.write(world, now)
        news = self._journal.note(self._verdicts, self._supervisor.running(), self._supervisor.start_ms)
        for each in news:
            log.info("%s", each.text, extra=each.extra)
        if self._front.objects is not None:
            self._front.objects.publish(self.connections(), [each.text for each in news])

    def _give_units(self) -> None:
        """To the processes that outlive us, once they are at work."""
        plans = {key: run.plan for key, run in self._supervisor.running().items()}
        groups = [
            Group(name=plan.device, description=status.title(plan), pids=pids)
            for key, plan in plans.items()
            if (pids := self._supervisor.pids(key))
        ]
        if self._caretaker.pid:
            what = "Cleans up after a clatnm that was killed"
            groups.append(Group(name="clatnm-caretaker", description=what, pids=(self._caretaker.pid,)))
        self._scopes.want(groups)

    def _world(self, now: float) -> World:
        return replace(
            self._observer.world(self._settings, now),
            running=self._supervisor.running(),
            retries=self._supervisor.retries,
            backends=faults(self._backends),
            sharing_backends=sharing(self._backends),
            secret=self._secret,
        )

    async def _keep_bus(self) -> None:
        """Stay on the bus: connect, offer our object, follow the managers; again whenever the bus dies."""
        complained = False
        while True:
            try:
                await self._use_bus()
                log.warning("the system bus went away; connecting again", extra=about(Message.BUS_LOST))
                complained = False
            except BusError as error:
                if not complained:
                    log.warning("%s; trying again", error, extra=about(Message.BUS_LOST))
                complained = True
            if not self._answering:
                self._observer.without_bus()
            self._now_answering()  # as well as can be
            await asyncio.sleep(_RECONNECT_S)

    async def _use_bus(self) -> None:
        bus = await Bus.connect()
        try:
            await self._front.open()
            self._now_answering()
            await self._suspend.attach(bus)
            await self._observer.attach(bus)
            await self._firewalld.attach(bus)
            self._scopes.attach(bus)
            await self._front.stay(bus)
        finally:
            self._front.close()
            bus.close()

    def _now_answering(self) -> None:
        if not self._answering:
            self._answering = True
            self._wake.set()

    def poke(self, why: str) -> None:
        log.debug("poked: %s", why)
        self._observer.read_again()

    def world(self) -> str:
        now = boottime()
        return trace.line(self._world(now), now)

    def explain(self, connection: str) -> str:
        now = boottime()
        world, running = self._world(now), self._supervisor.running()
        # Decided anew: what routers repeat is no reason to look, but to be told it is.
        asked = [v for v in decide(world, now) if connection in status.names(v)]
        if not asked and connection in world.links:
            manager, own = self._observer.manager_of(connection), is_own(connection, world)
            return json.dumps([unfollowed(connection, manager, own=own)])
        statics = {static.key: static for static in world.settings.statics}
        told = []
        for verdict in asked:
            decisions, static = self._journal.decisions(verdict.uplink.owner), statics.get(verdict.uplink.uuid)
            if static is None:
                told.append(explanation(verdict, world, running, decisions, now))
            else:
                state = status.state_of(status.run_of(verdict, running))
                told.append(static_explanation(static, verdict, world, decisions, state=state, now=now))
        return json.dumps(told)

    def connections(self) -> list[dict[str, Any]]:
        now = boottime()
        running, retries = self._supervisor.running(), self._supervisor.retries
        return [
            status.connection(
                verdict, status.run_of(verdict, running), retries.get(verdict.uplink.owner), counters={}, now=now
            )
            for verdict in self._verdicts
        ]

    def _life(self, key: str, now: float) -> dict[str, Any]:
        """What `status` says of a translator's process."""
        pid, began = next(iter(self._supervisor.pids(key)), None), self._supervisor.began(key)
        return {
            "start_ms": round(self._supervisor.start_ms(key), 1),
            "pid": pid,
            "unit": (self._scopes.unit(pid) if pid else "") or None,
            "up_s": None if began is None else max(0, round(now - began)),
        }

    async def _page(self) -> str:
        return families.as_text(json.loads(await self.status()))

    async def status(self) -> str:
        now = boottime()
        running, retries = self._supervisor.running(), self._supervisor.retries
        connections: list[dict[str, Any]] = []
        statics: list[dict[str, Any]] = []
        for verdict in decide(self._world(now), now):
            run = status.run_of(verdict, running)
            counters = await self._supervisor.counters(run.plan.key) if run else {}
            owner = verdict.uplink.owner
            told = status.connection(verdict, run, retries.get(owner), counters=counters, now=now)
            told["totals"] = self._supervisor.totals(owner)
            if run is not None:
                told["translator"] |= self._life(run.plan.key, now)
            (statics if verdict.uplink.static else connections).append(told)
        adverts = {"heard": self._observer.adverts.heard, "dropped": self._observer.adverts.dropped}
        return json.dumps(
            {
                "version": __version__,
                "default_mode": str(self._settings.mode),
                "connections": connections,
                "static": statics,
                "router_advertisements": adverts,
            }
        )


def _interfaces() -> set[str]:
    """The names of all that there are now."""
    return {name for _, name in socket.if_nameindex()}
