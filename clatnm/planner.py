# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm plan`: the daemon's decisions without its hands, for the machine as it is, or for a recorded trace."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from clatnm import config, status, trace
from clatnm.clock import boottime
from clatnm.dbus import service
from clatnm.dbus.bus import Bus
from clatnm.errors import BusError, ConfigError, NoDaemonError, ParseError
from clatnm.kernel.host import Host
from clatnm.model import DEVICE_PREFIX, Plan, Settings, Step, Stop, Update, Verdict, World
from clatnm.observer import Observer
from clatnm.policy.plan import decide
from clatnm.policy.rehearsal import Rehearsal
from clatnm.policy.steps import diff, wake_at, wanted
from clatnm.printable import printable
from clatnm.translators.backends import BACKENDS, available, faults, sharing
from clatnm.waiting import wait_for

# A router answers a solicitation within half a second, a resolver within two (RFC 4861 6.2.6; the resolver's patience).
_WAIT_S = 5.0
_MAX_WAKES = 10_000
# A world of a thousand connections is half a megabyte.
_MAX_LINE = 1 << 24
_SLAAC_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One moment: CLOCK_BOOTTIME seconds, the decisions, and the steps that they lead to."""

    at: float
    verdicts: tuple[Verdict, ...]
    steps: tuple[Step, ...]


def replay(worlds: Iterable[tuple[float, World]]) -> Iterator[Scene]:
    """What the daemon would have done, at each moment when it would have done anything; the last moment in any case.

    Translators are imagined: each step succeeds at once. Failures are those of the trace. ParseError.
    """
    mind: Rehearsal | None = None
    scene: Scene | None = None
    for at, world in worlds:
        if mind is None:
            mind = Rehearsal(_facts(world), now=at)
        for _ in range(_MAX_WAKES):
            wake = mind.wake_at()
            if wake is None or wake >= at:
                break
            scene = _play(mind, wake)
            if scene.steps:
                yield scene
        mind.facts, mind.retries = _facts(world), dict(world.retries)
        scene = _play(mind, at)
        if scene.steps:
            yield scene
    if scene is not None and not scene.steps:
        yield scene


def _facts(world: World) -> World:
    """Without the translators of the machine where the trace comes from."""
    own = {run.plan.device for run in world.running.values()}
    links = {n: link for n, link in world.links.items() if n not in own and not n.startswith(DEVICE_PREFIX)}
    return replace(world, links=links, running={}, users={})


def _play(mind: Rehearsal, at: float) -> Scene:
    mind.now = at
    steps = mind.settle()
    return Scene(at=at, verdicts=mind.verdicts(), steps=steps)


def read_trace(name: str) -> Iterator[tuple[float, World]]:
    """The worlds in a file, `-` for standard input. ConfigError: it cannot be read, or is no trace."""
    try:
        if name == "-" and sys.stdin is None:
            raise ConfigError("standard input is closed", hint="a file that `clatnm daemon --record` wrote")
        if name == "-":
            yield from _possible(trace.parse(_lines(sys.stdin)))
        else:
            with Path(name).open(encoding="utf-8") as file:
                yield from _possible(trace.parse(_lines(file)))
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{name}: {what}", hint="a file that `clatnm daemon --record` wrote") from error
    except ParseError as error:
        raise ConfigError(f"{name}: {error.what}", hint="a file that `clatnm daemon --record` wrote") from error


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a file, which may be one that never ends. ParseError."""
    for number in itertools.count(1):
        line = file.readline(_MAX_LINE)
        if not line:
            return
        if len(line) == _MAX_LINE:
            raise ParseError(f"line {number} is not of a trace: it is too long")
        yield line


def _possible(worlds: Iterable[tuple[float, World]]) -> Iterator[tuple[float, World]]:
    """The worlds that a daemon could have seen. ParseError for one that it could not."""
    for at, world in worlds:
        for prefix in itertools.chain.from_iterable(world.advertised_prefixes.values()):
            if prefix.prefixlen != _SLAAC_BITS:  # RFC 4862 5.5.3 (d): with 64 bits of interface identifier
                raise ParseError(f"at {at} s {prefix} is advertised for SLAAC, which takes a /64")
        yield at, world


async def now(*, config_dir: Path, state_dir: Path) -> Scene:
    """What the daemon would do next: for its own view of the world if one runs, else for what we find ourselves.

    HostError: only root can look. BusError: there is no bus.
    """
    try:
        answer = await service.ask("World")
    except NoDaemonError:
        at, world = await _look_around(config.load(config_dir, backends=tuple(BACKENDS)), state_dir)
    else:
        at, world = _told(answer)
    verdicts = decide(world, at)
    return Scene(at=at, verdicts=verdicts, steps=diff(world.running, wanted(verdicts)))


def _told(answer: str) -> tuple[float, World]:
    """The world that the daemon tells. BusError: it is of another version, and tells another one."""
    try:
        ((at, world),) = _possible(trace.parse([answer]))
    except (ParseError, ValueError) as error:  # ValueError: none, or several
        what = "the daemon's answer is not understood"
        raise BusError(what, hint="is it of another version? systemctl restart clatnm") from error
    return at, world


async def _look_around(settings: Settings, state_dir: Path) -> tuple[float, World]:
    """Observe until nothing more is to be expected, as a daemon that has just started."""
    host, changed = Host(), asyncio.Event()
    observer = Observer(host, clock=boottime, changed=changed.set, backends=tuple(BACKENDS))
    backends, secret = available(host), config.some_secret(state_dir)
    bus: Bus | None = None
    try:
        bus = await Bus.connect()
        await observer.attach(bus)
        end = boottime() + _WAIT_S
        while True:
            changed.clear()
            await observer.look(settings, {})
            at = boottime()
            world = replace(
                observer.world(settings, at),
                backends=faults(backends),
                sharing_backends=sharing(backends),
                secret=secret,
            )
            if at >= end or _is_settled(world, at):
                return at, world
            wake = wake_at(world, at)
            try:
                await wait_for(changed.wait(), (end if wake is None else min(end, wake)) - at)
            except asyncio.TimeoutError:
                continue
    finally:
        observer.close()
        if bus is not None:
            bus.close()
        await host.close()


def _is_settled(world: World, at: float) -> bool:
    verdicts = decide(world, at)
    waiting = {v.uplink.interface for v in verdicts if v.reason == "no-pref64"}
    reports = [report for name in waiting for report in world.reports.get(name, ())]
    yielding = any(v.reason == "manager-translates" and not v.uplink.manager_clat for v in verdicts)
    return bool(world.uplinks) and not yielding and all(report.settled for report in reports)


def as_json(scene: Scene) -> dict[str, Any]:
    """A scene as JSON values."""
    return {
        "at": round(scene.at, 3),
        "steps": [{"step": type(step).__name__.lower(), **_plan_json(step.plan)} for step in scene.steps],
        "connections": [
            {"interface": v.uplink.interface, "reason": str(v.reason) if v.reason else None, "evidence": v.line()}
            for v in scene.verdicts
            if not v.uplink.static
        ],
        "static": [
            {"name": v.uplink.static, "reason": str(v.reason) if v.reason else None, "evidence": v.line()}
            for v in scene.verdicts
            if v.uplink.static
        ],
    }


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "interface": plan.interface,
        "device": plan.device,
        "backend": plan.backend,
        "clat_v4": str(plan.clat_v4),
        "clat_v6": str(plan.clat_v6),
        "prefix": str(plan.prefix),
        "metric": plan.metric if plan.offered and plan.default_route else None,
        "ipv4_mtu_bytes": plan.ipv4_mtu_bytes,
    }


def as_text(scene: Scene) -> str:
    """A scene for people."""
    lines = [f"at {scene.at:.3f} s:"]
    lines += [f"  {_step_text(step)}" for step in scene.steps] or ["  nothing to do"]
    lines += [f"  {status.log_line(v, None, start_ms=0)}" for v in scene.verdicts if v.plan is None]
    return "\n".join(map(printable, lines))


# field of Plan → what people call it
_SHOWN = {
    "device": "device",
    "clat_v6": "IPv6 address",
    "prefix": "NAT64",
    "gateway": "gateway",
    "ipv4_mtu_bytes": "MTU",
    "metric": "metric",
}


def _step_text(step: Step) -> str:
    plan = step.plan
    if isinstance(step, Stop):
        return f"stop {plan.device}"
    if isinstance(step, Update):
        changes = [(words, getattr(step.old, name), getattr(plan, name)) for name, words in _SHOWN.items()]
        told = [f"{words} {old} → {new}" for words, old, new in changes if old != new]
        if plan.relay != step.old.relay:
            told.append("other mappings")
        if plan.offered != step.old.offered:
            told.append("default route back" if plan.offered else "no default route, older connections may finish")
        return f"change {step.old.device}: {', '.join(told) or 'link-layer address'}"
    if plan.relay is not None:
        routes = ", ".join(map(str, plan.relay.routes)) or "nowhere"
        count = f"{len(plan.relay.mappings)} mapping{'s' if len(plan.relay.mappings) != 1 else ''}"
        route = f"routes to {routes} with metric {plan.metric}, MTU {plan.ipv4_mtu_bytes}"
        return f"start {plan.device} ({plan.backend}): {count}, prefix {plan.prefix}, {route}"
    route = f"default route with metric {plan.metric}, MTU {plan.ipv4_mtu_bytes}"
    route = route if plan.default_route else "no default route"
    return f"start {plan.device} ({plan.backend}): {plan.clat_v4} as {plan.clat_v6}, NAT64 {plan.prefix}, {route}"
