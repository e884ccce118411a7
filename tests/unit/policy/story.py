# SPDX-License-Identifier: GPL-2.0-or-later
"""One host on one link and a clock: what the network does at which second, and what the policy makes of it.

The link's routers are heard by the real `Ear`, PLATs are judged by the real `policy.plat`, translators are rehearsed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.discovery.ear import Ear
from clatnm.model import (
    Address6,
    Dhcp4,
    Dhcp4State,
    Plan,
    PrefixCandidate,
    PrefixSource,
    SourceReport,
    Start,
    Step,
    Stop,
    World,
)
from clatnm.policy import plat
from clatnm.policy.plat import Plat
from clatnm.policy.verdict import has_ipv6
from clatnm.proto.ndp import Preference, RouterAdvert
from clatnm.proto.pref64 import Pref64Option
from tests.unit.policy.machine import Machine
from tests.unit.policy.worlds import NOW, OWN_PREFIX, WELL_KNOWN, a_link, a_route4, a_world, an_address

TARGETS = frozenset(map(IPv4Address, ("192.0.2.1", "192.0.2.2")))
NAME = "wlan0"
THIRD = IPv6Network("2001:db8:64:ff::/96")
ON, OTHER = f"clat {WELL_KNOWN}", f"clat {OWN_PREFIX}"
DRAINS = f"{WELL_KNOWN} drains"


class Story(Machine):
    """Times are seconds since the beginning; `told` is what a user would notice, with the time."""

    def __init__(self) -> None:
        super().__init__(a_world(a_link(NAME), prefixes={}), now=NOW)
        self.ear = Ear(NOW)
        self.dns: tuple[PrefixCandidate, ...] = ()
        self.dns_settled = True
        self.plats: dict[IPv6Network, Plat] = {}
        self._lost_at: float | None = None
        self.starts = 0
        self.stops = 0
        self.told: list[tuple[float, str]] = []

    # What there is

    def world(self) -> World:
        heard = (*self.ear.candidates(self.now), *(c for c in self.dns if (c.expires_at or self.now + 1) > self.now))
        settings = self.facts.settings
        static = ((settings.prefix, PrefixSource.STATIC), (settings.fallback_prefix, PrefixSource.FALLBACK))
        fixed = tuple(PrefixCandidate(prefix=prefix, source=source) for prefix, source in static if prefix)
        reports = (
            self.ear.report(self.now),
            SourceReport(source=PrefixSource.DNS64, settled=self.dns_settled, detail="", since=NOW),
        )
        return replace(
            super().world(),
            without_ipv6_since=self._without_ipv6(),
            prefixes={NAME: (*heard, *fixed)},
            reports={NAME: reports},
            plats={(NAME, prefix): plat.health(known, self.now) for prefix, known in self.plats.items()},
        )

    def _without_ipv6(self) -> dict[str, float]:
        """As the observer tells it."""
        link = self.facts.links.get(NAME)
        lost = link is not None and link.carrier and not has_ipv6(link)
        self._lost_at = (self._lost_at if self._lost_at is not None else self.now) if lost else None
        return {} if self._lost_at is None else {NAME: self._lost_at}

    def state(self) -> str:
        """`native`, `clat PREFIX`, `clat PREFIX; PREFIX drains`, or `none (reason)`."""
        (verdict,) = self.verdicts()
        offered = [str(run.plan.prefix) for run in self.running.values() if run.plan.offered]
        draining = [f"{run.plan.prefix} drains" for run in self.running.values() if not run.plan.offered]
        assert len(offered) <= 1, "two default routes at rest"
        first = f"clat {offered[0]}" if offered else str(verdict.reason)
        return "; ".join([first, *draining])

    # Time

    def at(self, second: float, *events: Callable[[], object]) -> None:
        """Let time go on to this second, with everything that time alone does; then let these events happen."""
        while (wake := self._next()) is not None and wake < NOW + second:
            self.now = wake
            self._rest()
        self.now = NOW + second
        for event in events:
            event()
        self._rest()

    def _next(self) -> float | None:
        times = [self.wake_at(), *(plat.next_change(known) for known in self.plats.values())]
        return min((time for time in times if time is not None and time > self.now), default=None)

    def _rest(self) -> None:
        for prefix, known in self.plats.items():
            self.plats[prefix] = plat.passed(known, self.now)
        for step in self.settle():
            self._count(step)
        state = self.state()
        if not self.told or self.told[-1][1] != state:
            self.told.append((round(self.now - NOW, 1), state))

    def _count(self, step: Step) -> None:
        self.starts += isinstance(step, Start)
        self.stops += isinstance(step, Stop)

    def only(self) -> Plan:
        """The plan of the only translator."""
        (run,) = self.running.values()
        return run.plan

    def only_device(self, prefix: IPv6Network) -> str:
        """The device of the translator with this prefix."""
        (plan,) = (run.plan for run in self.running.values() if run.plan.prefix == prefix)
        return plan.device

    # What happens

    def lease(self) -> None:
        """DHCPv4 brings an address and a default route."""
        self._link(a_link(NAME, ipv4=("192.168.2.7",), default4=(a_route4(),)).addresses4, (a_route4(),))
        self.facts = replace(self.facts, dhcp4={NAME: Dhcp4(state=Dhcp4State.ANSWERED, since=self.now)})

    def no_lease(self) -> None:
        self._link(frozenset(), ())

    def _link(self, addresses4: frozenset[IPv4Address], default4: tuple[object, ...]) -> None:
        link = replace(self.facts.links[NAME], addresses4=addresses4, default4=default4)  # type: ignore[arg-type]
        self.facts = replace(self.facts, links={**self.facts.links, NAME: link})

    def no_route(self) -> None:
        """The IPv6 default route goes."""
        self.facts = replace(self.facts, links={NAME: replace(self.facts.links[NAME], default6=())})

    def route(self) -> None:
        """And comes back."""
        self.facts = replace(self.facts, links={NAME: replace(self.facts.links[NAME], default6=a_link().default6)})

    def unplug(self) -> None:
        """The carrier goes, and IPv6 with it."""
        link = replace(self.facts.links[NAME], carrier=False, default6=(), addresses6=())
        self.facts = replace(self.facts, links={NAME: link})

    def addresses(self, *addresses: str | Address6) -> None:
        """The link's IPv6 addresses from now on."""
        own = tuple(an_address(a) if isinstance(a, str) else a for a in addresses)
        self.facts = replace(
            self.facts, links={**self.facts.links, NAME: replace(self.facts.links[NAME], addresses6=own)}
        )

    def refused(self) -> None:
        """DHCPv4 option 108."""
        state = Dhcp4(state=Dhcp4State.REFUSED, since=self.now, until=self.now + 1800)
        self.facts = replace(self.facts, dhcp4={NAME: state})

    def ra(
        self,
        *prefixes: IPv6Network,
        lifetime_s: int = 600,
        router: str = "fe80::1",
        router_lifetime_s: int = 1800,
        preference: Preference = Preference.MEDIUM,
    ) -> None:
        """A router speaks; without `prefixes` it has no PREF64."""
        advert = RouterAdvert(
            router=IPv6Address(router),
            lifetime_s=router_lifetime_s,
            preference=preference,
            hop_limit=64,
            managed=False,
            other=False,
            mtu_bytes=None,
            link_address=None,
            prefixes=(),
            rdnss=(),
            pref64=tuple(Pref64Option(prefix=prefix, lifetime_s=lifetime_s) for prefix in prefixes),
        )
        self.ear.hear(advert, self.now)

    def dns64(self, *prefixes: IPv6Network, ttl_s: float = 60) -> None:
        """The resolver answers."""
        self.dns_settled = True
        self.dns = tuple(
            PrefixCandidate(prefix=prefix, source=PrefixSource.DNS64, expires_at=self.now + ttl_s)
            for prefix in prefixes
        )

    def dns64_is_asked(self) -> None:
        """A resolver has become known, and has not answered yet."""
        self.dns_settled = False

    def asked(self, prefix: IPv6Network = WELL_KNOWN) -> None:
        """A round of pings goes out."""
        known = self.plats.get(prefix) or plat.new(self.now)
        self.plats[prefix] = plat.asked(known, self.now, TARGETS)

    def replied(self, prefix: IPv6Network = WELL_KNOWN) -> None:
        for target in TARGETS:
            self.plats[prefix] = plat.replied(self.plats[prefix], self.now, target=target, rtt_s=0.01)

    def refuses(self, prefix: IPv6Network = WELL_KNOWN) -> None:
        """A router says that there is no way."""
        self.asked(prefix)
        for target in TARGETS:
            self.plats[prefix] = plat.refused(self.plats[prefix], self.now, target=target, detail="no route")

    def silence(self, prefix: IPv6Network = WELL_KNOWN) -> None:
        """A round goes by unanswered."""
        self.asked(prefix)
        self.plats[prefix] = plat.unanswered(self.plats[prefix], self.now + 2)

    def users(self, count: int) -> None:
        """So many sockets use each translator."""
        self.facts = replace(self.facts, users={run.plan.clat_v4: count for run in self.running.values()})


def settings(story: Story, **fields: object) -> None:
    story.facts = replace(story.facts, settings=replace(story.facts.settings, **fields))  # type: ignore[arg-type]
