# SPDX-License-Identifier: GPL-2.0-or-later
"""Should this connection have a CLAT? One question a rule, the first that objects decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from clatnm.model import (
    Dhcp4,
    Dhcp4State,
    Link,
    Mode,
    PlatHealth,
    PlatState,
    PrefixCandidate,
    Reason,
    Retry,
    Settings,
    Uplink,
    World,
)
from clatnm.policy.addressing import CONTINUITY_PREFIX, live_routes
from clatnm.policy.modes import mode_of
from clatnm.policy.others import Other, manager_address, other_translator
from clatnm.policy.vpn import Vpns, leads_out, vpns


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection with everything the rules look at, and the facts that `status` shows."""

    uplink: Uplink
    mode: Mode
    settings: Settings
    link: Link | None
    candidate: PrefixCandidate | None
    plat: PlatHealth | None
    told_since: float
    """Since when there has been all that a manager needs for a CLAT of its own."""
    dhcp4: Dhcp4 | None
    asking: tuple[str, ...]
    """The sources of prefixes that have not had their chance yet."""
    retry: Retry | None
    dead_gateways: frozenset[IPv4Address]
    other: Other | None
    """Somebody else's translator, not the manager's."""
    vpns: Vpns
    uplink_itself: bool
    """Traffic of this connection leaves the machine by it."""
    now: float

    @property
    def native_ipv4(self) -> bool:
        return self.link is not None and has_native_ipv4(self.link, self.dead_gateways)

    @property
    def ipv6(self) -> bool:
        return self.link is not None and has_ipv6(self.link)

    @property
    def manager_clat(self) -> str:
        """Where the manager translates this connection from, as it says itself, or as the kernel says before that."""
        seen = None if self.link is None else manager_address(self.link)
        return self.uplink.manager_clat or ("" if seen is None else str(seen))

    @property
    def ipv4(self) -> str:
        """What there is of native IPv4, and if nothing, whether some may still come."""
        if self.native_ipv4:
            return "native"
        if self.link is not None and self.dead_gateways:
            return "stale"
        if self.uplink.ipv4_disabled:
            return "disabled"
        if self.dhcp4 is not None and self.dhcp4.state is not Dhcp4State.ANSWERED:
            return str(self.dhcp4.state)
        return "none"

    def evidence(self) -> Mapping[str, str]:
        """Short words for logs and `status`, in the order the rules ask."""
        facts = {
            "mode": str(self.mode),
            "ipv4": self.ipv4,
            "ipv6": "yes" if self.ipv6 else "no",
            "pref64": "none" if self.candidate is None else str(self.candidate.prefix),
        }
        if self.link is None or not self.link.carrier:
            facts["carrier"] = "no"
        if self.candidate is None and self.asking:
            facts["asking"] = ",".join(self.asking)
        if self.candidate is not None:
            facts["from"] = str(self.candidate.source)
            if self.candidate.expires_at is not None:
                facts["left"] = f"{max(0, round(self.candidate.expires_at - self.now))}s"
        if self.plat is not None:
            facts["plat"] = str(self.plat.state)
        if self.manager_clat:
            facts["manager-clat"] = self.manager_clat
        elif manager_translates(self):
            facts["manager-clat"] = "expected"
        if self.other is not None:
            facts["other-translator"] = f"{self.other.device}/{self.other.address}"
        if self.vpns.ipv6 or self.vpns.ipv4:
            facts["vpn"] = self.vpns.ipv6 or self.vpns.ipv4
        if self.retry is not None and self.retry.failures:
            facts["failures"] = str(self.retry.failures)
        return facts


def case(uplink: Uplink, candidate: PrefixCandidate | None, world: World, now: float) -> Case:
    """Gather what the rules need about `uplink`; `candidate` is the prefix already chosen for it."""
    interface, settings = uplink.interface, world.settings.of(uplink.uuid)
    return Case(
        uplink=uplink,
        mode=mode_of(uplink, world),
        settings=settings,
        link=world.links.get(interface),
        candidate=candidate,
        plat=world.plats.get((interface, candidate.prefix)) if candidate is not None and settings.plat_check else None,
        told_since=world.told_since.get(interface, now),
        dhcp4=world.dhcp4.get(interface),
        asking=tuple(str(report.source) for report in world.reports.get(interface, ()) if not report.settled),
        retry=world.retries.get(uplink.owner),
        dead_gateways=world.dead_gateways.get(interface, frozenset()),
        other=other_translator(world.links.get(interface), world),
        vpns=vpns(uplink, world),
        uplink_itself=leads_out(uplink, world),
        now=now,
    )


def has_native_ipv4(link: Link, dead: Collection[IPv4Address] = ()) -> bool:
    """An IPv4 default route that leads somewhere, and an address for it, neither link-local nor a CLAT's (RFC 7335)."""
    return bool(live_routes(link, dead)) and any(_is_native(address) for address in link.addresses4)


def _is_native(address: IPv4Address) -> bool:
    return not (address.is_link_local or address.is_loopback or address in CONTINUITY_PREFIX)


def has_ipv6(link: Link) -> bool:
    """A carrier, a default route, and some address that a packet to the Internet could come from."""
    able = any(not (a.address.is_link_local or a.address.is_loopback) for a in link.addresses6)
    return link.carrier and bool(link.default6) and able


def manager_translates(this: Case) -> bool:
    """The manager translates, or it has just heard what we have heard, and would come second."""
    able = this.candidate is not None and this.ipv6
    return bool(this.manager_clat) or (able and this.now < this.told_since + this.uplink.manager_wait_s)


def _native(this: Case) -> bool:
    return this.native_ipv4 and this.mode is not Mode.FORCE


def _unreachable(this: Case) -> bool:
    return this.plat is not None and this.plat.state is PlatState.DEAD and this.mode is not Mode.FORCE


def backing_off(this: Case) -> bool:
    """Its translator failed a short while ago."""
    return this.retry is not None and this.retry.not_before > this.now


Rule = tuple[Reason, Callable[[Case], bool]]
"""A reason, and whether it applies."""

# Is the connection a connected, IPv6-only uplink whose user has not opted out?
_REQUIRING: tuple[Rule, ...] = (
    (Reason.NOT_AN_UPLINK, lambda this: not this.uplink_itself),
    (Reason.OPTED_OUT, lambda this: this.mode is Mode.NO),
    # Two translators on one link is the worst that can happen: not even `force` overrules these.
    (Reason.MANAGER_TRANSLATES, manager_translates),
    (Reason.OTHER_TRANSLATOR, lambda this: this.other is not None),
    (Reason.NATIVE_IPV4, _native),
    (Reason.NEVER_DEFAULT, lambda this: this.uplink.never_default and this.mode is not Mode.FORCE),
    # What its user believes to be safe in the VPN, not even `force` sends around it.
    (Reason.VPN_WITHOUT_IPV4, lambda this: this.vpns.leave_out_ipv4()),
    (Reason.NO_IPV6, lambda this: not this.ipv6),
)
RULES: tuple[Rule, ...] = (
    *_REQUIRING,
    (Reason.NO_PREF64, lambda this: this.candidate is None),
    (Reason.PLAT_UNREACHABLE, _unreachable),
    (Reason.BACKING_OFF, backing_off),
)
"""In the order in which they are asked. What remains is scarce (NO_CLAT_ADDRESS, NO_TRANSLATOR): planning tells."""


def requires_clat(this: Case) -> Reason | None:
    """None when the connection is a connected IPv6-only uplink whose user has not opted out; else why not."""
    return next((reason for reason, applies in _REQUIRING if applies(this)), None)


def should_start_clat(this: Case) -> Reason | None:
    """`requires_clat`, and a NAT64 prefix is known and works, and we are not waiting after a failure."""
    return next((reason for reason, applies in RULES if applies(this)), None)
