# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting old connections finish: translators that stay for a while after something better has come.

The better thing is native IPv4, or another translator with a new prefix or IPv6 address. A connection keeps the IPv4
address it began with, and with it the translator; whoever connects later takes the default route.

    native IPv4 comes          the translator loses its route, and gets it back should native IPv4 go again
    prefix or address changes  the old translator makes room for the device's name; the new one starts; only then the
    while the old ones live    old one loses its route
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from clatnm.model import Link, Plan, PlatState, Reason, Running, RunState, World
from clatnm.policy import addressing
from clatnm.policy.prefixes import plat_states
from clatnm.policy.verdict import Case

# Native IPv4 that goes again within this time costs no new start.
LINGER_S = 10.0
# IPv6 that is gone while the carrier stays comes back, mostly: a network manager that applies a changed profile takes
# everything away first, for up to 1.5 s (NetworkManager 1.42).
HOLD_S = 3.0
# A daemon that has taken over a translator may not have heard yet why there is one: so long it is not asked.
SETTLE_S = 10.0
# And so long its prefix is taken to be valid for connections that there are: what routers say mostly (RFC 8781 4.1).
BELIEVED_S = 1800.0
# How often to look whether anybody still uses a translator that has no route.
CHECK_S = 5.0
# What new connections go by instead, and old ones cannot.
_BETTER = frozenset({Reason.NATIVE_IPV4, Reason.OTHER_TRANSLATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Translators:
    """The translators of one connection: the one with its device's name, and an older one that makes room for it."""

    main: Running | None = None
    spare: Running | None = None
    leaving: bool = False
    """Another one is on its way out, and still has its name."""

    @classmethod
    def sort(cls, runs: Iterable[Running], *, device: str) -> Translators:
        """Tell them apart by the device's name; of several older ones, the one that left last."""
        all_runs = list(runs)
        alive = [run for run in all_runs if run.state is not RunState.STOPPING]
        main = next((run for run in alive if run.plan.device == device), None)
        spares = (run for run in alive if run.plan.device != device)
        return cls(main=main, spare=max(spares, key=_left_at, default=None), leaving=len(alive) < len(all_runs))

    def all(self) -> tuple[Running, ...]:
        """Whichever there are."""
        return tuple(run for run in (self.main, self.spare) if run is not None)


def _left_at(run: Running) -> float:
    return float("inf") if run.withdrawn_at is None else run.withdrawn_at


def over(run: Running, *, limit_s: float, users: int, now: float) -> bool:
    """Has a translator without a route nothing left to do, or had its time?"""
    if run.withdrawn_at is None:
        return limit_s <= 0
    for_s = now - run.withdrawn_at
    return for_s >= limit_s or (for_s >= LINGER_S and not users)


def next_check(run: Running, *, limit_s: float, now: float) -> float | None:
    """When `over` may next change its mind; None while the translator has a route."""
    if run.withdrawn_at is None:
        return None
    first, last = run.withdrawn_at + min(LINGER_S, limit_s), run.withdrawn_at + limit_s
    return first if first > now else min(now + CHECK_S, last)


def settling(run: Running, *, now: float) -> bool:
    """Is it one that was taken over a moment ago? What nobody has told since then may still be so."""
    return run.adopted_at is not None and now < run.adopted_at + SETTLE_S


def without_plan(this: Case, reason: Reason | None, theirs: Translators, *, world: World) -> tuple[Plan, ...]:
    """What stays of a connection that shall have no translator: what old connections need, if something better is why.

    While a manager has the right of way, nobody knows yet whether it comes: old connections go on until it does.
    """
    link = this.link
    if link is None:
        return ()
    if reason is Reason.NO_PREF64 or (reason is Reason.MANAGER_TRANSLATES and not this.manager_clat):
        adopted = tuple(run.plan for run in theirs.all() if settling(run, now=this.now))
        if adopted:
            return adopted
    if reason in _BETTER or _awaits_manager(reason, this):
        return tuple(plan for run in theirs.all() if (plan := _withdrawn(run, this, link, world=world)))
    if reason is Reason.VPN_WITHOUT_IPV4:  # the routes of a VPN that comes or goes are not all there at once
        soon = replace(this, settings=replace(this.settings, drain_s=min(this.settings.drain_s, int(LINGER_S))))
        return tuple(plan for run in theirs.all() if (plan := _withdrawn(run, soon, link, world=world)))
    if reason is Reason.NO_IPV6:
        return tuple(plan for run in theirs.all() if (plan := _unchanged(run, this, link, world=world)))
    if reason is Reason.BACKING_OFF:  # what should have taken its place could not: so one of them goes on
        kept = [plan for run in theirs.all() if (plan := _unchanged(run, this, link, world=world))]
        offered = any(plan.offered for plan in kept)
        return tuple(replace(plan, offered=plan.offered or (plan is kept[0] and not offered)) for plan in kept)
    return ()


def _awaits_manager(reason: Reason | None, this: Case) -> bool:
    """The manager may translate now, or as soon as IPv6 is back: until that is known, new connections have to wait."""
    if reason is Reason.NO_IPV6:
        return this.uplink.manager_wait_s > 0
    return reason is Reason.MANAGER_TRANSLATES and not this.manager_clat


def beside(theirs: Translators, this: Case, link: Link, *, world: World) -> tuple[Plan, ...]:
    """What stays of the older translator, now that the connection has, or is about to have, a newer one."""
    main, spare = theirs.main, theirs.spare
    if spare is None:
        return ()
    replaced = main is not None and main.state is RunState.ON and main.plan.offered
    if replaced or not spare.plan.offered:
        plan = _withdrawn(spare, this, link, world=world)
    else:
        plan = _unchanged(spare, this, link, world=world)
    return () if plan is None else (plan,)


def goes_on_beside(main: Running, planned: Plan, this: Case, link: Link, *, world: World) -> bool:
    """Is the running translator to go on beside a new one, because its connections could not be carried over?"""
    return (
        main.state is RunState.ON
        and not same_path(main.plan, planned)
        and this.settings.drain_s > 0
        and this.uplink.choices.clat_v4 is None
        and _alive(main, this, world=world)
        and _on_link(main.plan, link, world=world)
    )


def same_path(one: Plan, other: Plan) -> bool:
    """Connections through the one are connections through the other."""
    return (one.prefix, one.clat_v6) == (other.prefix, other.clat_v6) and one.same_translator(other)


def told_apart(one: Plan, other: Plan) -> bool:
    """Both can be there at once: it is clear which of them a packet from the network is for."""
    # A dedicated address is one translator's alone: each would defend it against the other.
    return one.clat_v6 != other.clat_v6 or (one.shared and other.shared and one.prefix != other.prefix)


def _withdrawn(run: Running, this: Case, link: Link, *, world: World) -> Plan | None:
    users = world.users.get(run.plan.clat_v4, 0)
    if over(run, limit_s=this.settings.drain_s, users=users, now=this.now):
        return None
    plan = _unchanged(run, this, link, world=world)
    return None if plan is None else replace(plan, offered=False)


def _unchanged(run: Running, this: Case, link: Link, *, world: World) -> Plan | None:
    """As it is, but for what the link decides."""
    if not _alive(run, this, world=world):
        return None
    if not this.ipv6:
        lost_at = world.without_ipv6_since.get(run.plan.interface)
        return run.plan if lost_at is not None and this.now < lost_at + HOLD_S else None
    advertised_mtu = world.advertised_mtus.get(run.plan.interface)
    path = addressing.path(link, advertised_mtu=advertised_mtu, chosen_mtu=this.uplink.choices.mtu_bytes)
    return replace(run.plan, **path._asdict())


def _alive(run: Running, this: Case, *, world: World) -> bool:
    """Its prefix is still valid, and nobody knows its PLAT to be gone."""
    prefix = run.plan.prefix
    valid = any(candidate.prefix == prefix for candidate in world.prefixes.get(this.uplink.interface, ()))
    believed = run.adopted_at is not None and this.now < run.adopted_at + BELIEVED_S
    return (valid or believed) and plat_states(this.uplink, world).get(prefix) is not PlatState.DEAD


def _on_link(plan: Plan, link: Link, *, world: World) -> bool:
    """Its IPv6 address is still one of this link's: the prefix may be deprecated, but it is there."""
    if plan.shared:
        return any(own.address == plan.clat_v6 for own in link.addresses6)
    advertised = world.advertised_prefixes.get(plan.interface, frozenset())
    return any(plan.clat_v6 in prefix for prefix in (*addressing.prefixes_of(link), *advertised))
