# SPDX-License-Identifier: GPL-2.0-or-later
"""What the routers of one link have said, as far as it still holds. Pure: advertisements and `now` in, answers out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from typing import TypeVar

from clatnm.model import PrefixCandidate, PrefixSource, SourceReport
from clatnm.proto.ndp import RouterAdvert
from clatnm.proto.pref64 import Pref64Entry, Pref64Table

_SLAAC_LENGTH = 64
# A flood of any of them must not grow our memory.
_MAX_PREFIXES = 16
_MAX_RESOLVERS = 8
_MAX_ROUTERS = 8

_T = TypeVar("_T")


class Ear:
    """The knowledge of one link; `now` is CLOCK_BOOTTIME seconds throughout.

    `doubt` says that the link may be on another network now, though its carrier never went away. Then what is known
    holds until the next advertisement, which says what of it is true here as well, or until `give_up_doubted`.
    """

    def __init__(self, now: float) -> None:
        self.asked = 0
        """How many solicitations have gone out: since the beginning, or since the last doubt."""
        self.settled = False
        """A router was heard, or none answers."""
        self.mtu_bytes: int | None = None
        self._since = now
        self._doubtful = False
        self._unanswered = False
        self._table = Pref64Table()
        self._prefixes: dict[IPv6Network, float] = {}  # for SLAAC; until when it is preferred
        self._resolvers: dict[IPv6Address, float] = {}  # until when it may be used; in order of arrival
        self._routers: dict[IPv6Address, float] = {}  # until when it is one

    @property
    def waiting(self) -> bool:
        """No router was heard yet: since the beginning, or since the last doubt."""
        return self.doubtful or not self._routers

    @property
    def doubtful(self) -> bool:
        """What is known was said elsewhere, or earlier, and no advertisement has confirmed it."""
        return self._doubtful

    def holds(self, now: float) -> bool:
        """Some router that was heard is still one, by its own word."""
        return bool(_alive(self._routers, now))

    def hear(self, advert: RouterAdvert, now: float) -> bool:
        """Take in one advertisement. True when it changed an answer that is not only for people, or when it will end
        sooner than it would have."""
        before, first, doubted = self._answers(now), not self._routers, self._doubtful
        end_before = self._end(now)
        if doubted:
            self._keep_confirmed(advert)
        self._doubtful = self._unanswered = False
        self.settled = True
        self._table.update(advert, now)
        self.mtu_bytes = advert.mtu_bytes or self.mtu_bytes
        for info in advert.prefixes[:_MAX_PREFIXES]:
            if info.autonomous and info.prefix.prefixlen == _SLAAC_LENGTH:
                self._prefixes[info.prefix] = now + info.preferred_s
        self._prefixes = dict(sorted(self._prefixes.items(), key=lambda item: -item[1])[:_MAX_PREFIXES])
        for server in advert.rdnss:
            self._resolvers[server.address] = now + server.lifetime_s  # RFC 8106 5.1: 0 ends it
        self._resolvers = dict(_alive(self._resolvers, now)[:_MAX_RESOLVERS])
        self._remember_router(advert, now)
        changed = self._answers(now) != before
        if first or (doubted and changed):
            self._since = now
        return changed or self._end(now) < end_before

    def ask(self, now: float) -> None:
        """A solicitation goes out."""
        if not self.asked and not self._routers:
            self._since = now
        self.asked += 1

    def doubt(self) -> None:
        """This may be another network from here on."""
        self._doubtful = True
        self._unanswered = False
        self.asked = 0

    def give_up_doubted(self, now: float) -> bool:
        """Nobody has confirmed what was known before `doubt`: forget it. True when that changed an answer."""
        if not self._doubtful:
            return False
        before = self._answers(now)
        self._doubtful = False
        self._since = now
        self._table.clear()
        self._prefixes.clear()
        self._resolvers.clear()
        self._routers.clear()
        self.mtu_bytes = None
        return self._answers(now) != before

    def give_up_asking(self, now: float) -> bool:
        """No router has answered. True when that settled something."""
        settled, self.settled = self.settled, True
        self._unanswered = True
        self._since = now
        return not settled

    def candidates(self, now: float) -> tuple[PrefixCandidate, ...]:
        """The NAT64 prefixes in force, best first."""
        return tuple(_candidate(entry) for entry in self._table.valid(now))

    def slaac_prefixes(self, now: float) -> frozenset[IPv6Network]:
        """The /64s for address configuration that are preferred now (RFC 4862 section 5.5.3)."""
        return frozenset(prefix for prefix, _ in _alive(self._prefixes, now))

    def next_deprecation(self, now: float) -> float | None:
        """When `slaac_prefixes` next loses one by itself."""
        return min((until for _, until in _alive(self._prefixes, now)), default=None)

    def resolvers(self, now: float) -> tuple[IPv6Address, ...]:
        """The recursive DNS servers in force (RFC 8106 section 5.1), in order of first arrival."""
        return tuple(address for address, _ in _alive(self._resolvers, now))

    def report(self, now: float) -> SourceReport:
        """`since`: when asking began, the first router was heard, or hope was given up."""
        return SourceReport(source=PrefixSource.RA, settled=self.settled, detail=self._in_words(now), since=self._since)

    def _answers(self, now: float) -> tuple[object, ...]:
        entries = [(e.prefix, e.router, e.preference, e.fading) for e in self._table.valid(now)]
        return entries, self.mtu_bytes, self.slaac_prefixes(now), self.resolvers(now), self.settled

    def _end(self, now: float) -> float:
        """When `candidates` next loses one by itself."""
        end = self._table.next_expiry(now)
        return math.inf if end is None else end

    def _keep_confirmed(self, advert: RouterAdvert) -> None:
        self._table.keep_only(advert)
        prefixes = {info.prefix for info in advert.prefixes}
        servers = {server.address for server in advert.rdnss}
        self._prefixes = {prefix: until for prefix, until in self._prefixes.items() if prefix in prefixes}
        self._resolvers = {address: until for address, until in self._resolvers.items() if address in servers}
        self._routers.clear()
        self.mtu_bytes = None

    def _remember_router(self, advert: RouterAdvert, now: float) -> None:
        """Where there are too many, those go that were not heard for longest and announce nothing."""
        self._routers.pop(advert.router, None)
        self._routers[advert.router] = now + advert.lifetime_s
        announcing = {entry.router for entry in self._table.valid(now)}
        silent = [router for router in self._routers if router not in announcing]
        for router in silent[: max(0, len(self._routers) - _MAX_ROUTERS)]:
            del self._routers[router]

    def _in_words(self, now: float) -> str:
        asked = "asked once" if self.asked == 1 else f"asked {self.asked} times"
        if self._unanswered:
            return "no router answers"
        if not self._routers:
            return asked if self.asked else "not asked"
        alive = sorted(router for router, _ in _alive(self._routers, now))
        entries = self._table.valid(now)
        said = "; ".join(_announcement(router, entries) for router in alive) or "no router is left"
        return f"{said}; at another access point now, {asked}" if self._doubtful else said


def _alive(ends: dict[_T, float], now: float) -> list[tuple[_T, float]]:
    return [(key, until) for key, until in ends.items() if until > now]


def _candidate(entry: Pref64Entry) -> PrefixCandidate:
    return PrefixCandidate(
        prefix=entry.prefix,
        source=PrefixSource.RA,
        router=entry.router,
        expires_at=entry.expires_at,
        heard_at=entry.heard_at,
        fading=entry.fading,
    )


def _announcement(router: IPv6Address, entries: Iterable[Pref64Entry]) -> str:
    """`fe80::1 announces 64:ff9b::/96`; `fe80::1 announces none`"""
    own = [entry for entry in entries if entry.router == router]
    now = " and ".join(str(entry.prefix) for entry in own if not entry.fading) or "none"
    before = " and ".join(str(entry.prefix) for entry in own if entry.fading)
    return f"{router} announces {now}" + (f", no longer {before}" if before else "")
