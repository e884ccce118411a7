# SPDX-License-Identifier: GPL-2.0-or-later
"""Static translators: what is asked before one runs, and what it is told. Nobody is asked for a prefix, and no rule
about the uplink's own IPv4 counts: whoever wrote the file has decided that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address

from clatnm.model import Mode, Plan, PrefixCandidate, PrefixSource, Reason, Running, Static, Uplink, Verdict, World
from clatnm.policy import addressing, drain
from clatnm.policy.draft import Taken, draft
from clatnm.policy.verdict import Case, Rule, backing_off, case

MANAGER = "static.d"

# With IPv4's default route it is a CLAT like any other: one of them a link. Without, it is in nobody's way.
_AS_DEFAULT: tuple[Rule, ...] = (
    (Reason.MANAGER_TRANSLATES, lambda this: bool(this.manager_clat)),
    (Reason.OTHER_TRANSLATOR, lambda this: this.other is not None),
)
_ALWAYS: tuple[Rule, ...] = (
    (Reason.NO_IPV6, lambda this: not this.ipv6),
    (Reason.BACKING_OFF, backing_off),
)


def rules(static: Static) -> tuple[Rule, ...]:
    """What is asked about it, in this order; then, as for connections, NO_CLAT_ADDRESS and NO_TRANSLATOR."""
    return (*_AS_DEFAULT, *_ALWAYS) if has_default_route(static) else _ALWAYS


def has_default_route(static: Static) -> bool:
    """Whether IPv4 in general goes into it, rather than some networks."""
    relay = static.choices.relay
    return static.choices.default_route if relay is None else relay.has_default


def uplink_of(static: Static) -> Uplink:
    """It as if it were a connection, for what is decided alike."""
    return Uplink(
        interface=static.uplink,
        uuid=static.key,
        name=static.name,
        manager=MANAGER,
        choices=replace(static.choices, device=addressing.static_device(static)),
        static=static.name,
    )


def case_of(static: Static, world: World, now: float) -> Case:
    """What is known about it."""
    candidate = PrefixCandidate(prefix=static.prefix, source=PrefixSource.STATIC)
    this = case(uplink_of(static), candidate, world, now)
    return replace(this, mode=Mode.FORCE, plat=None, settings=replace(this.settings, backend=static.backend))


def decide_static(static: Static, world: World, taken: Taken, now: float) -> Verdict:
    """The verdict on one static translator."""
    this = case_of(static, world, now)
    own = [run for run in world.running.values() if run.plan.owner == this.uplink.owner]
    reason = next((reason for reason, applies in rules(static) if applies(this)), None)
    in_use = _in_use(static, this, taken)
    planned: Plan | Reason | None = reason
    if reason is None:
        planned = Reason.NO_CLAT_ADDRESS if in_use else _plan(this, world, taken=taken, own=own)
    plan, reason = (planned, None) if isinstance(planned, Plan) else (None, planned)
    keep = () if reason is not Reason.NO_IPV6 else tuple(run.plan for run in own if _held(run, this, world))
    for each in (*keep, *([plan] if plan else ())):
        taken.add(each)
    return Verdict(
        uplink=this.uplink,
        mode=this.mode,
        plan=plan,
        keep=keep,
        reason=reason,
        evidence=_evidence(static, this, in_use),
        candidate=this.candidate,
    )


def _plan(this: Case, world: World, *, taken: Taken, own: list[Running]) -> Plan | Reason:
    assert this.link is not None
    assert this.candidate is not None
    current = next((run for run in own if run.plan.ifindex == this.link.index), None)
    return draft(this, this.link, this.candidate, world=world, taken=taken, current=current)


def _in_use(static: Static, this: Case, taken: Taken) -> str:
    """An address that it is to have, or that its prefix stands for, and this host or its router has; "" for none."""
    relay, chosen = static.choices.relay, static.choices.clat_v4
    hosts = [] if this.link is None else [own.address for own in this.link.addresses6]
    spoken = None if relay is None else static.choices.clat_v6  # a CLAT may share it
    own6 = (address for address in hosts if address in static.prefix or address == spoken)
    routers = [] if this.link is None else [route.gateway for route in this.link.default6]
    theirs = (*hosts, *(router for router in routers if isinstance(router, IPv6Address)))
    mapped = (address for address in theirs if relay is not None and relay.mappings.to_ipv4(address) is not None)
    given = relay.addresses if relay is not None else () if chosen is None else (chosen,)
    own4 = (address for address in given if address in taken.addresses)
    return next((str(address) for address in (*own6, *mapped, *own4)), "")


def _held(run: Running, this: Case, world: World) -> bool:
    """IPv6 has just gone, and mostly comes back: see `drain.HOLD_S`."""
    lost_at = world.without_ipv6_since.get(run.plan.interface)
    same = this.link is not None and this.link.index == run.plan.ifindex
    return same and lost_at is not None and this.now < lost_at + drain.HOLD_S


def _evidence(static: Static, this: Case, in_use: str) -> Mapping[str, str]:
    facts = {"uplink": static.uplink, "prefix": str(static.prefix)}
    if static.choices.relay is not None:
        facts["mappings"] = str(len(static.choices.relay.mappings))
    facts["ipv6"] = "yes" if this.ipv6 else "no"
    if this.link is None:
        facts["uplink"] += "/missing"
    elif not this.link.carrier:
        facts["carrier"] = "no"
    if has_default_route(static):
        if this.manager_clat:
            facts["manager-clat"] = this.manager_clat
        if this.other is not None:
            facts["other-translator"] = f"{this.other.device}/{this.other.address}"
    if in_use:
        facts["in-use"] = in_use
    if this.retry is not None and this.retry.failures:
        facts["failures"] = str(this.retry.failures)
    return facts
