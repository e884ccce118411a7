# SPDX-License-Identifier: GPL-2.0-or-later
"""From the world to what should run (`decide`), and from there to the steps that get us there (`diff`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from clatnm.model import (
    AddressKind,
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
    current = _current(uplink, link, world)
    clat_v6, shared = _clat_v6(this, link, candidate, world=world, current=current)
    backend = _backend(world, this.retry, shared=shared)
    if backend is None:
        return Reason.NO_CLAT_ADDRESS if shared and _backend(world, this.retry, shared=False) else Reason.NO_TRANSLATOR
    # What another translator holds stays its own, whichever connection is looked at first.
    held = {run.plan.clat_v4 for interface, run in world.running.items() if interface != uplink.interface}
    in_use = current.clat_v4 if current else None
    clat_v4 = uplink.choices.clat_v4 or addressing.clat_v4(used=taken.addresses | held, current=in_use)
    if clat_v4 is None or clat_v6 is None:
        return Reason.NO_CLAT_ADDRESS
    route = addressing.best_default(link.default6)
    ipv6_mtu_bytes = addressing.ipv6_mtu(link, advertised=world.advertised_mtus.get(uplink.interface))
    return Plan(
        interface=uplink.interface,
        ifindex=link.index,
        uuid=uplink.uuid,
        device=uplink.choices.device or addressing.device_name(uplink.interface),
        backend=backend,
        clat_v4=clat_v4,
        clat_v6=clat_v6,
        shared=shared,
        prefix=candidate.prefix,
        gateway=route.gateway if route and isinstance(route.gateway, IPv6Address) else None,
        link_address=link.link_address,
        ipv6_mtu_bytes=ipv6_mtu_bytes,
        ipv4_mtu_bytes=addressing.ipv4_mtu(ipv6_mtu_bytes),
        metric=addressing.metric(link, dead=this.dead_gateways, taken=taken.metrics),
    )


def _clat_v6(
    this: Case, link: Link, candidate: PrefixCandidate, *, world: World, current: Plan | None
) -> tuple[IPv6Address | None, bool]:
    """The CLAT's IPv6 address, and whether it is the host's own: by itself only where there is no /64 for another."""
    interface, choices = this.uplink.interface, this.uplink.choices
    if choices.clat_v6 is not None:
        return choices.clat_v6, any(choices.clat_v6 == own.address for own in link.addresses6)
    in_use = current.clat_v6 if current else None
    advertised = world.advertised_prefixes.get(interface, frozenset())
    within = addressing.source_prefix(link, advertised=advertised, towards=candidate.prefix, current=in_use)
    if choices.address_kind is AddressKind.SHARED or (within is None and choices.address_kind is AddressKind.AUTO):
        return addressing.host_address(link, towards=candidate.prefix, current=in_use), True
    if within is None:
        return None, False
    collisions = this.retry.collisions if this.retry else 0
    address = addressing.clat_v6(
        within, uuid=this.uplink.uuid, interface=interface, collisions=collisions, secret=world.secret
    )
    return address, False


def _current(uplink: Uplink, link: Link, world: World) -> Plan | None:
    """The plan now running for this very connection on this very device, whose addresses are worth keeping."""
    running = world.running.get(uplink.interface)
    if running is None or running.plan.uuid != uplink.uuid or running.plan.ifindex != link.index:
        return None
    return running.plan


def _backend(world: World, retry: Retry | None, *, shared: bool) -> str | None:
    """The first backend that works here, of those the configuration allows; one that could not start comes last."""
    wanted = world.settings.backend
    able = [name for name, fault in world.backends.items() if not fault and wanted in ("auto", name)]
    if shared:
        able = [name for name in able if name in world.sharing_backends]
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
