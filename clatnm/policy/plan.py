# SPDX-License-Identifier: GPL-2.0-or-later
"""From the world to what should run: one verdict a connection, with all that a translator is told."""

from __future__ import annotations

from dataclasses import replace

from clatnm.model import Link, Plan, PrefixCandidate, Reason, Uplink, Verdict, World
from clatnm.policy import addressing, drain
from clatnm.policy.choices import chosen
from clatnm.policy.draft import Taken, device_of, draft
from clatnm.policy.drain import Translators
from clatnm.policy.prefixes import candidates_for, choose_prefix, plat_states
from clatnm.policy.static import decide_static
from clatnm.policy.verdict import Case, case, should_start_clat


def decide(world: World, now: float) -> tuple[Verdict, ...]:
    """One verdict a connection, in the order of `world.uplinks`; then one a static translator, in that of their names.

    Those come first where both want the same: they stand in a file. A manager may tell of our own devices, too, as of
    connections that somebody else has made: they are none.
    """
    taken = Taken.before(world)
    statics = [decide_static(static, world, taken, now) for static in world.settings.statics]
    devices = {run.plan.device for run in world.running.values()}
    uplinks = [chosen(uplink, world.settings) for uplink in world.uplinks if uplink.interface not in devices]
    return (*(_decide(uplink, world, taken, now) for uplink in uplinks), *statics)


def _decide(uplink: Uplink, world: World, taken: Taken, now: float) -> Verdict:
    theirs = _translators(uplink, world)
    in_use = [run.plan.prefix for run in theirs.all()]  # that of new connections first
    candidate = choose_prefix(candidates_for(uplink, world), in_use, plat_states(uplink, world))
    this = case(uplink, candidate, world, now)
    reason: Reason | None = should_start_clat(this)
    plan: Plan | None = None
    keep: tuple[Plan, ...] = ()
    if reason is None and this.link is not None and candidate is not None:
        planned = _next(this, this.link, candidate, world=world, taken=taken, theirs=theirs)
        if isinstance(planned, Reason):
            reason = planned
        else:
            plan, keep = planned
            taken.add(plan)
    else:
        keep = drain.without_plan(this, reason, theirs, world=world)
    for kept in keep:
        taken.add(kept)
    return Verdict(
        uplink=uplink,
        mode=this.mode,
        plan=plan,
        keep=keep,
        reason=reason,
        evidence=this.evidence(),
        candidate=candidate,
    )


def _translators(uplink: Uplink, world: World) -> Translators:
    """Those of this very connection on this very device, whose addresses are worth keeping."""
    link = world.links.get(uplink.interface)
    runs = [
        run
        for run in world.running.values()
        if link is not None
        and (run.plan.interface, run.plan.uuid, run.plan.ifindex) == (uplink.interface, uplink.uuid, link.index)
    ]
    return Translators.sort(runs, device=device_of(uplink))


def _next(
    this: Case, link: Link, candidate: PrefixCandidate, *, world: World, taken: Taken, theirs: Translators
) -> tuple[Plan, tuple[Plan, ...]] | Reason:
    """The plan, and which of the connection's older translators go on beside it."""
    main, spare = theirs.main, theirs.spare
    planned = draft(this, link, candidate, world=world, taken=taken, current=main)
    if isinstance(planned, Reason):
        return planned
    if main is None and spare is not None:
        back = draft(this, link, candidate, world=world, taken=taken, current=spare)
        if isinstance(back, Plan) and drain.same_path(back, spare.plan):
            return back, ()  # the change is off
    if main is not None and drain.goes_on_beside(main, planned, this, link, world=world):
        if spare is not None or theirs.leaving:
            return main.plan, ()  # one older translator is enough: it goes first
        other = draft(this, link, candidate, world=world, taken=taken, current=None)
        if isinstance(other, Plan) and drain.told_apart(main.plan, other):
            return other, (replace(main.plan, device=addressing.spare_name(this.uplink.interface)),)
    return planned, drain.beside(theirs, this, link, world=world)
