# SPDX-License-Identifier: GPL-2.0-or-later
"""From what runs to what should run: the steps, and when to look again though nothing has happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clatnm.model import Plan, Running, RunState, Start, Step, Stop, Update, Verdict, World
from clatnm.policy import drain


def wanted(verdicts: Iterable[Verdict]) -> tuple[Plan, ...]:
    """Every translator that there should be."""
    return tuple(
        plan for verdict in verdicts for plan in ((verdict.plan, *verdict.keep) if verdict.plan else verdict.keep)
    )


def diff(running: Mapping[str, Running], plans: Iterable[Plan]) -> tuple[Step, ...]:
    """The steps from what runs (by `Plan.key`) to what should. Nothing to do gives no steps; stops come first.

    A translator that is starting or stopping is left alone: its outcome is an event, and the next look at the world
    corrects whatever has changed meanwhile. For the same reason none starts beside one that is on its way to or from
    the same interface.
    """
    goal = {plan.key: plan for plan in plans}
    stops: list[Step] = []
    rest: list[Step] = []
    for key, now in running.items():
        new = goal.get(key)
        if now.state is not RunState.ON or new == now.plan:
            continue
        if new is not None and now.plan.same_translator(new):
            rest.append(Update(old=now.plan, plan=new))
        else:
            stops.append(Stop(plan=now.plan))
    rest.extend(Start(plan=plan) for plan in goal.values() if not _in_the_way(plan, running.values()))
    return (*stops, *rest)


def _in_the_way(plan: Plan, runs: Iterable[Running]) -> bool:
    return any(
        run.plan.key == plan.key
        or (run.plan.interface == plan.interface and (run.state is not RunState.ON or run.plan.device == plan.device))
        for run in runs
    )


def wake_at(world: World, now: float) -> float | None:
    """When time alone may change a verdict: a prefix expires, a back-off or a drain ends. CLOCK_BOOTTIME seconds."""
    times = [c.expires_at for candidates in world.prefixes.values() for c in candidates if c.expires_at is not None]
    times += [r.not_before for r in world.retries.values() if r.not_before > now]
    times += [
        world.told_since[uplink.interface] + uplink.manager_wait_s
        for uplink in world.uplinks
        if uplink.interface in world.told_since
    ]
    for run in world.running.values():
        limit_s = world.settings.of(run.plan.uuid).drain_s
        check = drain.next_check(run, limit_s=limit_s, now=now)
        times += [] if check is None else [check]
    return min((time for time in times if time > now), default=None)
