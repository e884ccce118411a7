# SPDX-License-Identifier: GPL-2.0-or-later
"""All that one translator is told, once it is decided that there is to be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.model import (
    Address6,
    AddressKind,
    Link,
    Plan,
    PrefixCandidate,
    Reason,
    Relay,
    Retry,
    Running,
    Uplink,
    World,
)
from clatnm.policy import addressing
from clatnm.policy.others import own_devices
from clatnm.policy.verdict import Case
from clatnm.policy.vpn import metric_before

# A relay speaks IPv4 to report errors only, with the address that stands for routers without one (RFC 7600).
_NOBODY = IPv4Address("192.0.0.8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the next plan may not use: filled up while one connection after another is decided."""

    addresses: set[IPv4Address]
    metrics: set[int]
    plans: list[Plan] = field(default_factory=list)

    @classmethod
    def before(cls, world: World) -> Taken:
        """What others have, before anything of ours."""
        return cls(addresses=_foreign_ipv4(world), metrics=_foreign_metrics(world))

    def add(self, plan: Plan) -> None:
        self.addresses.add(plan.clat_v4)
        self.metrics.add(plan.metric)
        self.plans.append(plan)

    def speaks(self, plan: Plan) -> bool:
        """Whether another translator on the same link answers for the IPv6 address of this one already."""
        return any(
            one.interface == plan.interface
            and one.key != plan.key
            and (one.clat_v6 == plan.clat_v6 or _maps(one.relay, plan.clat_v6))
            and not (one.shared and plan.shared and one.prefix != plan.prefix)  # who sent it tells whose it is
            for one in self.plans
        )


def draft(
    this: Case, link: Link, candidate: PrefixCandidate, *, world: World, taken: Taken, current: Running | None
) -> Plan | Reason:
    """What a translator is told; `current` is the one that it is to be, None for another one."""
    uplink = this.uplink
    own = current.plan if current else None
    # What another translator holds stays its own, whichever connection is looked at first.
    others = [run.plan for run in world.running.values() if run is not current]
    clat_v6, shared = _clat_v6(this, link, candidate, world=world, current=own, others=others)
    relay = uplink.choices.relay
    if relay is not None:
        clat_v6, shared = _speaker(this, link, relay, dedicated=None if shared else clat_v6), False
    backend = _backend(world, this, shared=shared)
    if backend is None:
        return Reason.NO_CLAT_ADDRESS if shared and _backend(world, this, shared=False) else Reason.NO_TRANSLATOR
    used = taken.addresses | {plan.clat_v4 for plan in others}
    free = _NOBODY if relay else addressing.clat_v4(used=used, current=own.clat_v4 if own else None)
    clat_v4 = uplink.choices.clat_v4 or free
    if clat_v4 is None or clat_v6 is None:
        return Reason.NO_CLAT_ADDRESS
    advertised_mtu = world.advertised_mtus.get(uplink.interface)
    path = addressing.path(link, advertised_mtu=advertised_mtu, chosen_mtu=uplink.choices.mtu_bytes)
    plan = Plan(
        interface=uplink.interface,
        ifindex=link.index,
        uuid=uplink.uuid,
        device=device_of(uplink),
        backend=backend,
        clat_v4=clat_v4,
        clat_v6=clat_v6,
        shared=shared,
        prefix=candidate.prefix,
        gateway=path.gateway,
        link_address=path.link_address,
        ipv6_mtu_bytes=path.ipv6_mtu_bytes,
        ipv4_mtu_bytes=path.ipv4_mtu_bytes,
        metric=addressing.metric(
            link,
            dead=this.dead_gateways,
            taken=taken.metrics | _metrics_of([one for one in others if not _goes_before(one, this, link)], world),
            own=uplink.ipv4_metric,
            behind=metric_before(uplink, this.vpns, world),
            chosen=uplink.choices.metric,
        ),
        gateways=uplink.vpn_gateways,
        default_route=uplink.choices.default_route,
        relay=relay,
        static=uplink.static,
    )
    return Reason.NO_CLAT_ADDRESS if taken.speaks(plan) else plan


def _maps(relay: Relay | None, address: IPv6Address) -> bool:
    return relay is not None and relay.mappings.to_ipv4(address) is not None


def device_of(uplink: Uplink) -> str:
    """The name of its device, once it is the only one or the newest."""
    return uplink.choices.device or addressing.device_name(uplink.interface)


def _clat_v6(
    this: Case, link: Link, candidate: PrefixCandidate, *, world: World, current: Plan | None, others: list[Plan]
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
    if in_use is not None and in_use in within and current is not None and not current.shared:
        return in_use, False
    address = addressing.clat_v6(
        within,
        uuid=this.uplink.uuid,
        interface=interface,
        collisions=this.retry.collisions if this.retry else 0,
        secret=world.secret,
        used={plan.clat_v6 for plan in others},
    )
    return address, False


def _speaker(this: Case, link: Link, relay: Relay, *, dedicated: IPv6Address | None) -> IPv6Address:
    """Which address a relay speaks with to its neighbours: one of the link, which all of them answer.

    That is the chosen one, its first own one if that is of the link, else a `dedicated` one; without any of these, a
    mapped one.
    """
    if this.uplink.choices.clat_v6 is not None:
        return this.uplink.choices.clat_v6
    first = next(iter(relay.mappings))[1].network_address
    mapped = relay.mappings.to_ipv6(relay.addresses[0]) if relay.addresses else None
    on_link = mapped is not None and any(mapped in _network(own) for own in link.addresses6)
    return (mapped if on_link else dedicated) or mapped or first


def _network(own: Address6) -> IPv6Network:
    return IPv6Network((own.address, own.prefixlen), strict=False)


def _backend(world: World, this: Case, *, shared: bool) -> str | None:
    """The first backend that works here, of those the configuration allows; one that could not start comes last."""
    wanted = this.settings.backend
    able = [name for name, fault in world.backends.items() if not fault and wanted in ("auto", name)]
    if shared:
        able = [name for name in able if name in world.sharing_backends]
    retry: Retry | None = this.retry
    refused = retry.refused if retry else frozenset()
    return next((name for name in able if name not in refused), able[0] if able else None)


def _foreign_ipv4(world: World) -> set[IPv4Address]:
    """Every IPv4 address of the machine, except those of our own devices."""
    own = own_devices(world)
    return {address for link in world.links.values() if link.name not in own for address in link.addresses4}


def _goes_before(plan: Plan, this: Case, link: Link) -> bool:
    """A translator that another one has to wait for: of an earlier connection, or device, of the same name."""
    uplink = this.uplink
    return plan.owner == uplink.owner and (plan.uuid, plan.ifindex) != (uplink.uuid, link.index)


def _metrics_of(plans: Sequence[Plan], world: World) -> set[int]:
    """Metrics of the default routes of these translators: wanted ones, and those that are still there."""
    devices = [world.links[plan.device] for plan in plans if plan.device in world.links]
    return {plan.metric for plan in plans} | {route.metric for device in devices for route in device.default4}


def _foreign_metrics(world: World) -> set[int]:
    """Metrics of the IPv4 default routes that are not ours."""
    own = own_devices(world)
    return {route.metric for link in world.links.values() if link.name not in own for route in link.default4}
