# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the NAT64 prefixes that the sources tell, and whom to ask for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv6Network

from clatnm.model import PlatState, PrefixCandidate, PrefixSource, Reason, Uplink, World
from clatnm.policy.verdict import case, requires_clat

# The order of the enumeration is the order of belief (RFC 9872 section 4: Router Advertisements before DNS).
_BELIEF = {source: rank for rank, source in enumerate(PrefixSource)}
# What DNS is not needed beside.
_BETTER_THAN_DNS = frozenset({PrefixSource.STATIC, PrefixSource.RA, PrefixSource.MANAGER})
_MAX_PROBED = 4


def candidates_for(uplink: Uplink, world: World) -> tuple[PrefixCandidate, ...]:
    """The prefixes that may be used now: a static one alone, a fallback only after all others had their chance.

    One in use goes on being used while they are asked again.
    """
    told = world.prefixes.get(uplink.interface, ())
    static = tuple(c for c in told if c.source is PrefixSource.STATIC)
    if static:
        return static
    settled = all(report.settled for report in world.reports.get(uplink.interface, ()))
    in_use = {run.plan.prefix for run in world.running.values() if run.plan.owner == uplink.owner}
    return tuple(c for c in told if settled or c.source is not PrefixSource.FALLBACK or c.prefix in in_use)


def choose_prefix(
    candidates: Sequence[PrefixCandidate],
    in_use: Sequence[IPv6Network] = (),
    plats: Mapping[IPv6Network, PlatState] | None = None,
) -> PrefixCandidate | None:
    """The prefix whose PLAT works, of the best source, not about to be replaced by its own router, already in use
    (stability beats novelty), told first: in this order. None when there is none.

    `in_use`: where new connections go first, then where older ones still are.
    A PLAT that does not answer probes comes behind another one only if that one does.
    """
    states = plats or {}
    answered = any(states.get(c.prefix) is PlatState.ALIVE for c in candidates)

    def rank(numbered: tuple[int, PrefixCandidate]) -> tuple[int, int, bool, int, int]:
        number, candidate = numbered
        state = states.get(candidate.prefix, PlatState.UNKNOWN)
        trouble = 2 if state is PlatState.DEAD else 1 if state is PlatState.SILENT and answered else 0
        used = in_use.index(candidate.prefix) if candidate.prefix in in_use else len(in_use)
        return trouble, _BELIEF[candidate.source], candidate.fading, used, number

    return min(enumerate(candidates), key=rank, default=(0, None))[1]


def plat_states(uplink: Uplink, world: World) -> Mapping[IPv6Network, PlatState]:
    """What is known of the PLATs behind one link's prefixes, and counts."""
    if not world.settings.of(uplink.uuid).plat_check:
        return {}
    return {prefix: health.state for (name, prefix), health in world.plats.items() if name == uplink.interface}


def asks_dns(uplink: Uplink, world: World, now: float) -> bool:
    """Should this link's resolvers be asked for the prefix (RFC 7050)? Only where nobody better tells one that works.

    While old connections go on beside native IPv4, their prefix is worth keeping up to date too.
    """
    settings = world.settings.of(uplink.uuid)
    if not settings.dns64 or settings.prefix is not None:
        return False
    in_use = [run.plan.prefix for run in world.running.values() if run.plan.owner == uplink.owner]
    reason = requires_clat(case(uplink, None, world, now))
    if reason is not None and not (reason is Reason.NATIVE_IPV4 and in_use):
        return False
    states = plat_states(uplink, world)
    # Not just any that is told by somebody better: as long as one is worse than what DNS told, DNS has to confirm that.
    best = choose_prefix(world.prefixes.get(uplink.interface, ()), in_use, states)
    return best is None or best.source not in _BETTER_THAN_DNS or states.get(best.prefix) is PlatState.DEAD


def to_probe(uplink: Uplink, chosen: PrefixCandidate | None, world: World, now: float) -> tuple[IPv6Network, ...]:
    """Behind which prefixes to look for a PLAT: the chosen one; the others as well, unless that one works."""
    settings = world.settings.of(uplink.uuid)
    if not settings.plat_check or chosen is None or requires_clat(case(uplink, None, world, now)) is not None:
        return ()
    if plat_states(uplink, world).get(chosen.prefix) is PlatState.ALIVE:
        return (chosen.prefix,)
    others = [c.prefix for c in candidates_for(uplink, world)]
    return tuple(dict.fromkeys((chosen.prefix, *others)))[:_MAX_PROBED]
