# SPDX-License-Identifier: GPL-2.0-or-later
"""From what runs to what should run: the steps, and when to look again though nothing has happened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from clatnm.model import Plan, Reason, Running, RunState, Start, Step, Stop, Update, Verdict, World
from clatnm.policy import drain


def wanted(verdicts: Iterable[Verdict]) -> tuple[Plan, ...]:
    """Every translator that there should be."""
    return tuple(
        plan for verdict in verdicts for plan in ((verdict.plan, *verdict.keep) if verdict.plan else verdict.keep)
    )


def unjudged(verdicts: Iterable[Verdict], running: Mapping[str, Running], now: float) -> tuple[Plan, ...]:
    """Translators taken over a moment ago of whose connections nobody has told yet. They stay as they are."""
    judged = {verdict.uplink.owner for verdict in verdicts}
    runs = (run for run in running.values() if run.plan.owner not in judged)
    return tuple(run.plan for run in runs if drain.settling(run, now=now))


def trying(verdicts: Iterable[Verdict], running: Mapping[str, Running]) -> set[str]:
    """Owners that want a translator, or have one still: what went wrong there before is not history yet."""
    wanting = {v.uplink.owner for v in verdicts if v.plan or v.reason is Reason.BACKING_OFF}
    return wanting | {run.plan.owner for run in running.values()}


def diff(running: Mapping[str, Running], plans: Iterable[Plan]) -> tuple[Step, ...]:
    """The steps from what runs (by `Plan.key`) to what should. Nothing to do gives no steps; stops come first.

    A translator that is starting or stopping is left alone: its outcome is an event, and the next look at the world
    corrects whatever has changed meanwhile. For the same reason none starts beside one that is on its way to or from
    the same owner, or now begins to go.
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
    going = {step.plan.key for step in stops}
    rest = [step for step in rest if not (step.plan.static and _frees(step.plan, running, going))]
    rest.extend(Start(plan=plan) for plan in goal.values() if not _in_the_way(plan, running, going))
    return (*stops, *rest)


def _in_the_way(plan: Plan, running: Mapping[str, Running], going: Collection[str]) -> bool:
    if plan.key in running:
        return True
    if any(run.plan.device == plan.device for run in running.values()):
        return True
    for key, run in running.items():
        leaves = key in going or run.state is RunState.STOPPING
        if run.plan.owner == plan.owner and (leaves or run.state is not RunState.ON):
            return True
    return bool(plan.static) and _frees(plan, running, going)


def _frees(plan: Plan, running: Mapping[str, Running], going: Collection[str]) -> bool:
    """A static translator leaves the uplink: what it has stood for, another file may have for `plan` now."""
    return any(
        run.plan.static and run.plan.interface == plan.interface and (key in going or run.state is RunState.STOPPING)
        for key, run in running.items()
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
    times += [since + drain.HOLD_S for since in world.without_ipv6_since.values()]
    for run in world.running.values():
        limit_s = world.settings.of(run.plan.uuid).drain_s
        check = drain.next_check(run, limit_s=limit_s, now=now)
        times += [] if check is None else [check]
        times += [] if run.adopted_at is None else [run.adopted_at + drain.SETTLE_S]
    return min((time for time in times if time > now), default=None)
