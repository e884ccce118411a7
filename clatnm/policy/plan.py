# SPDX-License-Identifier: GPL-2.0-or-later
"""From the world to what should run (`decide`), and from there to the steps that get us there (`diff`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from clatnm.model import (
    Link,
    Plan,
    PrefixCandidate,
    Reason,
    Retry,
    Running,
    RunState,
    Start,
    Step,
    Stop,
    Update,
    Uplink,
    Verdict,
    World,
)
from clatnm.policy import addressing
from clatnm.policy.verdict import Case, case, should_start_clat


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What the next plan may not use: filled up while one connection after another is decided."""

    addresses: set[IPv4Address]
    metrics: set[int]


def decide(world: World, now: float) -> tuple[Verdict, ...]:
    """One verdict a connection, in the order of `world.uplinks`."""
    verdicts: list[Verdict] = []
    taken = _Taken(addresses=_foreign_ipv4(world), metrics=_foreign_metrics(world))
    for uplink in world.uplinks:
        running = world.running.get(uplink.interface)
        candidate = choose_prefix(world.prefixes.get(uplink.interface, ()), running)
        this = case(uplink, candidate, world, now)
        reason: Reason | None = should_start_clat(this)
        plan: Plan | None = None
        if reason is None and this.link is not None and candidate is not None:
            planned = _plan(this, this.link, candidate, world=world, taken=taken)
            if isinstance(planned, Plan):
                plan = planned
                taken.addresses.add(plan.clat_v4)
                taken.metrics.add(plan.metric)
            else:
                reason = planned
        verdict = Verdict(
            uplink=uplink, mode=this.mode, plan=plan, reason=reason, evidence=this.evidence(), candidate=candidate
        )
        verdicts.append(verdict)
    return tuple(verdicts)


def choose_prefix(candidates: Sequence[PrefixCandidate], running: Running | None) -> PrefixCandidate | None:
    """The prefix in use while it is still valid (stability beats novelty), else the best one."""
    if running is not None:
        for candidate in candidates:
            if candidate.prefix == running.plan.prefix:
                return candidate
    return candidates[0] if candidates else None


def _plan(this: Case, link: Link, candidate: PrefixCandidate, *, world: World, taken: _Taken) -> Plan | Reason:
    uplink = this.uplink
    backend = _backend(world, this.retry)
    if backend is None:
        return Reason.NO_TRANSLATOR
    current = _current(uplink, link, world)
    # What another translator holds stays its own, whichever connection is looked at first.
    held = {run.plan.clat_v4 for interface, run in world.running.items() if interface != uplink.interface}
    clat_v4 = addressing.clat_v4(used=taken.addresses | held, current=current.clat_v4 if current else None)
    within = addressing.source_prefix(
        link,
        advertised=world.advertised_prefixes.get(uplink.interface, frozenset()),
        towards=candidate.prefix,
        current=current.clat_v6 if current else None,
    )
    if clat_v4 is None or within is None:
        return Reason.NO_CLAT_ADDRESS
    clat_v6 = addressing.clat_v6(
        within,
        uuid=uplink.uuid,
        interface=uplink.interface,
        collisions=this.retry.collisions if this.retry else 0,
        secret=world.secret,
    )
    route = addressing.best_default(link.default6)
    ipv6_mtu_bytes = addressing.ipv6_mtu(link, advertised=world.advertised_mtus.get(uplink.interface))
    return Plan(
        interface=uplink.interface,
        ifindex=link.index,
        uuid=uplink.uuid,
        device=addressing.device_name(uplink.interface),
        backend=backend,
        clat_v4=clat_v4,
        clat_v6=clat_v6,
        prefix=candidate.prefix,
        gateway=route.gateway if route and isinstance(route.gateway, IPv6Address) else None,
        link_address=link.link_address,
        ipv6_mtu_bytes=ipv6_mtu_bytes,
        ipv4_mtu_bytes=addressing.ipv4_mtu(ipv6_mtu_bytes),
        metric=addressing.metric(link, dead=this.dead_gateways, taken=taken.metrics),
    )


def _current(uplink: Uplink, link: Link, world: World) -> Plan | None:
    """The plan now running for this very connection on this very device, whose addresses are worth keeping."""
    running = world.running.get(uplink.interface)
    if running is None or running.plan.uuid != uplink.uuid or running.plan.ifindex != link.index:
        return None
    return running.plan


def _backend(world: World, retry: Retry | None) -> str | None:
    """The first backend that works here, of those the configuration allows; one that could not start comes last."""
    wanted = world.settings.backend
    able = [name for name, fault in world.backends.items() if not fault and wanted in ("auto", name)]
    refused = retry.refused if retry else frozenset()
    return next((name for name in able if name not in refused), able[0] if able else None)


def _own_devices(world: World) -> set[str]:
    return {running.plan.device for running in world.running.values()}


def _foreign_ipv4(world: World) -> set[IPv4Address]:
    """Every IPv4 address of the machine, except those of our own devices."""
    own = _own_devices(world)
    return {address for link in world.links.values() if link.name not in own for address in link.addresses4}


def _foreign_metrics(world: World) -> set[int]:
    """Metrics of the IPv4 default routes that are not ours."""
    own = _own_devices(world)
    return {route.metric for link in world.links.values() if link.name not in own for route in link.default4}


def diff(running: Mapping[str, Running], wanted: Iterable[Plan]) -> tuple[Step, ...]:
    """The steps from what runs to what should run. Nothing to do gives no steps; stops come first.

    A translator that is starting or stopping is left alone: its outcome is an event, and the next look at the
    world corrects whatever has changed meanwhile.
    """
    goal = {plan.interface: plan for plan in wanted}
    stops: list[Step] = []
    rest: list[Step] = []
    for interface, now in running.items():
        new = goal.get(interface)
        if now.state is not RunState.ON or new == now.plan:
            continue
        if new is not None and now.plan.same_translator(new):
            rest.append(Update(old=now.plan, plan=new))
        else:
            stops.append(Stop(plan=now.plan))
    rest.extend(Start(plan=plan) for interface, plan in goal.items() if interface not in running)
    return (*stops, *rest)


def wake_at(world: World, now: float) -> float | None:
    """When time alone may change a verdict: a prefix expires, or a back-off ends. CLOCK_BOOTTIME seconds."""
    times = [c.expires_at for candidates in world.prefixes.values() for c in candidates if c.expires_at is not None]
    times += [r.not_before for r in world.retries.values() if r.not_before > now]
    return min((time for time in times if time > now), default=None)
