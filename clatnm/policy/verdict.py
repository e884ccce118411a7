# SPDX-License-Identifier: GPL-2.0-or-later
"""Should this connection have a CLAT? One question a rule, the first that objects decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from clatnm.model import DEVICE_PREFIX, Link, Mode, PrefixCandidate, Reason, Retry, Uplink, World
from clatnm.policy.addressing import CONTINUITY_PREFIX, live_routes


def mode_of(uplink: Uplink, world: World) -> Mode:
    """The connection's own mode, else the global default."""
    return uplink.mode or world.settings.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection with everything the rules look at, and the facts that `status` shows."""

    uplink: Uplink
    mode: Mode
    link: Link | None
    candidate: PrefixCandidate | None
    retry: Retry | None
    dead_gateways: frozenset[IPv4Address]
    now: float

    @property
    def native_ipv4(self) -> bool:
        return self.link is not None and has_native_ipv4(self.link, self.dead_gateways)

    @property
    def ipv6(self) -> bool:
        return self.link is not None and self.link.carrier and bool(self.link.default6) and has_global_ipv6(self.link)

    def evidence(self) -> Mapping[str, str]:
        """Short words for logs and `status`, in the order the rules ask."""
        facts = {
            "mode": str(self.mode),
            "ipv4": "native" if self.native_ipv4 else "stale" if self.link and self.dead_gateways else "none",
            "ipv6": "yes" if self.ipv6 else "no",
            "pref64": "none" if self.candidate is None else str(self.candidate.prefix),
        }
        if self.link is None or not self.link.carrier:
            facts["carrier"] = "no"
        if self.candidate is not None:
            facts["from"] = str(self.candidate.source)
            if self.candidate.expires_at is not None:
                facts["left"] = f"{max(0, round(self.candidate.expires_at - self.now))}s"
        if self.uplink.manager_clat:
            facts["manager-clat"] = self.uplink.manager_clat
        if self.retry is not None and self.retry.failures:
            facts["failures"] = str(self.retry.failures)
        return facts


def case(uplink: Uplink, candidate: PrefixCandidate | None, world: World, now: float) -> Case:
    """Gather what the rules need about `uplink`; `candidate` is the prefix already chosen for it."""
    return Case(
        uplink=uplink,
        mode=mode_of(uplink, world),
        link=world.links.get(uplink.interface),
        candidate=candidate,
        retry=world.retries.get(uplink.interface),
        dead_gateways=world.dead_gateways.get(uplink.interface, frozenset()),
        now=now,
    )


def has_native_ipv4(link: Link, dead: Collection[IPv4Address] = ()) -> bool:
    """An IPv4 default route that leads somewhere, and an address for it, neither link-local nor a CLAT's (RFC 7335)."""
    return bool(live_routes(link, dead)) and any(_is_native(address) for address in link.addresses4)


def _is_native(address: IPv4Address) -> bool:
    return not (address.is_link_local or address.is_loopback or address in CONTINUITY_PREFIX)


def has_global_ipv6(link: Link) -> bool:
    """Some address that a packet to the Internet could come from."""
    return any(not (a.address.is_link_local or a.address.is_loopback) for a in link.addresses6)


def requires_clat(this: Case) -> Reason | None:
    """None when the connection is a connected IPv6-only uplink whose user has not opted out; else why not."""
    if this.uplink.is_vpn or this.uplink.interface.startswith(DEVICE_PREFIX):
        return Reason.NOT_AN_UPLINK
    if this.mode is Mode.NO:
        return Reason.OPTED_OUT
    # Two translators on one link is the worst that can happen: not even `force` overrules this.
    if this.uplink.manager_clat:
        return Reason.MANAGER_TRANSLATES
    if this.native_ipv4 and this.mode is not Mode.FORCE:
        return Reason.NATIVE_IPV4
    if not this.ipv6:
        return Reason.NO_IPV6
    return None


def should_start_clat(this: Case) -> Reason | None:
    """`requires_clat`, and a NAT64 prefix is known, and we are not waiting after a failure."""
    reason = requires_clat(this)
    if reason is not None:
        return reason
    if this.candidate is None:
        return Reason.NO_PREF64
    if this.retry is not None and this.retry.not_before > this.now:
        return Reason.BACKING_OFF
    return None
