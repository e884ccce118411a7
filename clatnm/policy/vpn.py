# SPDX-License-Identifier: GPL-2.0-or-later
"""What VPNs do to a CLAT. IPv4 that a VPN would carry without us, it carries with us; and where a VPN has taken IPv6
alone, the CLAT is no way around it, unless somebody has said that it may be.
"""

from __future__ import annotations

from dataclasses import dataclass

from clatnm.facts import TUNNEL_KINDS
from clatnm.model import AroundVpn, Uplink, World
from clatnm.policy.modes import chosen_itself
from clatnm.policy.others import is_own


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpns:
    """The devices of the VPNs that new IPv4 and IPv6 connections go by; "" where they go by none."""

    ipv4: str = ""
    ipv6: str = ""
    bypass: bool = False
    """It is said that IPv4 may go around them."""

    def leave_out_ipv4(self) -> bool:
        """IPv4 would go around a VPN, if it had a way to go, and it shall not."""
        return bool(self.ipv6) and not self.ipv4 and not self.bypass


def vpns(uplink: Uplink, world: World) -> Vpns:
    """Those that have the Internet's traffic, as far as they matter to a CLAT of `uplink`."""
    ways = world.ways
    ipv4, ipv6 = (name if _is_vpn(name, uplink, world) else "" for name in (ways.ipv4, ways.ipv6))
    return Vpns(ipv4=ipv4, ipv6=ipv6, bypass=_said(ipv6 or ipv4, uplink, world) is AroundVpn.BYPASS)


def metric_before(uplink: Uplink, found: Vpns, world: World) -> int | None:
    """The metric of a VPN's IPv4 default route that ours has to come after."""
    link = world.links.get(found.ipv4)
    if link is None or found.bypass:
        return None
    return min((route.metric for route in link.default4), default=None)


def interfaces(world: World) -> set[str]:
    """The devices of all VPNs and tunnels, but our own."""
    kinds = {link.name for link in world.links.values() if link.kind in TUNNEL_KINDS}
    told = {uplink.interface for uplink in world.uplinks if uplink.is_vpn}
    return {name for name in kinds | told if not is_own(name, world)}


def leads_out(uplink: Uplink, world: World) -> bool:
    """It is an uplink: no VPN, or one that is meant to have a CLAT of its own."""
    if is_own(uplink.interface, world):
        return False
    return not uplink.is_vpn or chosen_itself(uplink, world)


def _is_vpn(name: str, uplink: Uplink, world: World) -> bool:
    return name != uplink.interface and name in interfaces(world)


def _said(vpn: str, uplink: Uplink, world: World) -> AroundVpn:
    """The VPN's own file knows best, then the uplink's, then the one for all."""
    own = (world.settings.connections.get(each.uuid) for each in world.uplinks if each.interface == vpn)
    told = (settings.vpn for settings in own if settings is not None and "vpn" in settings.written)
    return next(told, world.settings.of(uplink.uuid).vpn)
