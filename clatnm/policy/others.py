# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators that are not ours, told by what they have: an IPv4 address of 192.0.0.0/29 (RFC 7335).

clatd has it on a TUN device `clat`, phones on `v4-…`, a DS-Lite tunnel as well; NetworkManager on the uplink itself,
and so has the guest of a phone that shares its own CLAT. Names and programs do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from clatnm.model import DEVICE_PREFIX, Link, World
from clatnm.policy import addressing
from clatnm.policy.addressing import CONTINUITY_PREFIX, best_default


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Somebody else's translator: its device, and the metric of its IPv4 default route, if it has one."""

    device: str
    address: IPv4Address
    metric: int | None

    def __str__(self) -> str:
        route = "" if self.metric is None else f", default route of metric {self.metric}"
        return f"{self.address} on {self.device}{route}"


def manager_address(link: Link) -> IPv4Address | None:
    """From which address `link` itself is translated by whoever configures it."""
    return _address(link) if _leads_out(link) and not _is_guest(link) else None


def other_translator(link: Link | None, world: World) -> Other | None:
    """Whose translator the IPv4 connections of `link` have, if not the manager's: the network's, or this machine's.

    One of this machine counts on every link: it does not say by which of them its packets leave, and new connections
    are its already. Without a default route it is there for somebody else.
    """
    if link is not None and _leads_out(link) and _is_guest(link):
        return next(_others([link]), None)
    return min(_others(_of_this_machine(world)), key=lambda other: (other.metric or 0, other.device), default=None)


def own_devices(world: World) -> set[str]:
    """Names of our devices; of one that is being renamed the kernel may have either."""
    plans = [running.plan for running in world.running.values()]
    names = (addressing.device_name, addressing.spare_name)
    static = {addressing.static_device(static) for static in world.settings.statics}
    return static | {plan.device for plan in plans} | {name(plan.interface) for plan in plans for name in names}


def is_own(name: str, world: World) -> bool:
    """Whether this device is one that a translator of ours has now, whatever it is called (`device = clat`)."""
    return name.startswith(DEVICE_PREFIX) or any(run.plan.device == name for run in world.running.values())


def _of_this_machine(world: World) -> Iterator[Link]:
    """Devices that somebody may have made to translate. A manager may list them, too, as connections of their own."""
    ours, uplinks = own_devices(world), {uplink.interface for uplink in world.uplinks}
    for link in world.links.values():
        own = link.name in ours or link.name.startswith(DEVICE_PREFIX)
        if link.default4 and not own and not (link.name in uplinks and _leads_out(link)):
            yield link


def _leads_out(link: Link) -> bool:
    """It has IPv6 of its own, as a translator's device has not."""
    return any(not own.address.is_link_local for own in link.addresses6)


def _is_guest(link: Link) -> bool:
    """A guest of a phone that shares its CLAT: it has no other IPv4 address, and an IPv4 router."""
    only = bool(link.addresses4) and all(address in CONTINUITY_PREFIX for address in link.addresses4)
    return only and bool(link.default4) and all(route.gateway is not None for route in link.default4)


def _others(links: Iterable[Link]) -> Iterator[Other]:
    for link in links:
        address, route = _address(link), best_default(link.default4)
        if address is not None:
            yield Other(device=link.name, address=address, metric=None if route is None else route.metric)


def _address(link: Link) -> IPv4Address | None:
    return min((address for address in link.addresses4 if address in CONTINUITY_PREFIX), default=None)
