# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes from the DNS resolvers of a link (RFC 7050): for networks whose routers do not tell theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network

from clatnm.discovery.asking import Answer, Asking, Failure, Outcome, Resolver
from clatnm.model import Link, PrefixCandidate, PrefixSource, SourceReport

log = logging.getLogger(__name__)

_MAX_PREFIXES = 4
_MAX_RESOLVERS = 4
_AHEAD_S = 10.0  # RFC 7050 section 3: asked again before the TTL ends
# A resolver's cache may have a second left, and nobody should hold on to one answer for weeks.
_TTL_S = (60.0, 86400.0)
_DENIAL_TTL_S = (60.0, 3600.0)
_STALE_S = 3600.0  # RFC 8767 section 4: a resolver that is away for a while is no reason to lose the connection
_RETRY_S = (10.0, 30.0, 60.0)
_NO_RESOLVER_S = 3.0  # DHCPv6 may tell resolvers later than the routers told addresses


class _Network:
    """What the resolvers of one link said since its carrier last came up, and when they are asked again."""

    def __init__(self, link: Link, now: float) -> None:
        self.link = link
        self.wanted = False
        self.resolvers: tuple[Resolver, ...] = ()
        self.prefixes: tuple[IPv6Network, ...] = ()
        self.teller: Resolver | None = None
        self.heard_at = self.ends_at = now
        self.settled = False
        self.doubtful = False
        """It may be another network by now, though the carrier never went away."""
        self.words = ""
        """The last outcome without a prefix."""
        self.since = now
        self.due = now
        self.failures = 0
        self.asked_over: object = None
        """The addresses and routes that the link had when it was last asked on."""
        self.asking: Asking | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def paths(self) -> object:
        """What decides whether a question can be sent at all."""
        usable = {address.address for address in self.link.addresses6 if not address.tentative}
        return usable, self.link.addresses4, self.link.default4, self.link.default6

    def expires_at(self, now: float) -> float:
        """Until the TTL ends; past that for a while, as long as somebody tries to confirm it."""
        confirming = self.wanted and bool(self.resolvers)
        return self.ends_at + _STALE_S if confirming and now >= self.ends_at else self.ends_at

    def valid(self, now: float) -> bool:
        return bool(self.prefixes) and now < self.expires_at(now)

    def rest(self) -> None:
        if self.asking is not None:
            self.asking.close()
            self.asking = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def say(self, words: str, now: float) -> None:
        if words != self.words:
            self.words = words
            self.since = now

    def detail(self, now: float) -> str:
        told = ", ".join(map(str, self.prefixes))
        if self.valid(now) and now < self.ends_at:
            return f"{self.teller} tells {told}, {self.ends_at - now:.0f} s left"
        if self.valid(now):
            return f"{self.teller} told {told}, until {now - self.ends_at:.0f} s ago; {self.words or 'asking again'}"
        if not self.wanted:
            return "not asked"
        if not self.link.carrier:
            return "no carrier"
        if not self.resolvers:
            return "no resolver known"
        if self.asking is not None and not self.words:
            return f"asking {self.asking.current}"
        return self.words


class Dns64:
    """Asks the resolvers of the links where a prefix is wanted. `changed` is called when an asking has ended.

    `clock` gives CLOCK_BOOTTIME seconds.
    """

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._networks: dict[int, _Network] = {}
        self._began = clock()

    def close(self) -> None:
        """Stop asking."""
        for network in self._networks.values():
            network.rest()
        self._networks.clear()

    def follow(self, links: Mapping[str, Link], wanted: Mapping[str, Iterable[Resolver]]) -> None:
        """Keep up with the links: ask where a prefix is wanted and not known.

        `wanted` has the resolvers to ask for each interface that is to be asked on, in order; of that link only. A
        link whose carrier came or went may be on another network: what its resolvers said is forgotten.
        """
        now = self._clock()
        for index in self._networks.keys() - {link.index for link in links.values()}:
            self._networks.pop(index).rest()
        for link in links.values():
            network = self._networks.get(link.index)
            if network is not None and _moved(network.link, link):
                log.debug("%s: the carrier changed; forgetting what its resolvers said", link.name)
                self._networks.pop(link.index).rest()
                network = None
            if network is None:
                if link.name not in wanted:
                    continue
                network = self._networks[link.index] = _Network(link, now)
            network.link = link
            if link.name in wanted and link.carrier:
                self._want(network, _usable(wanted[link.name], link), now)
            else:
                network.rest()
                network.wanted = link.name in wanted

    def forget(self, ifindex: int | None = None) -> None:
        """This link, or any, may be on another network: forget what its resolvers said, and ask at the next `follow`.

        None: all links, as after a suspend.
        """
        for index in [index for index in self._networks if ifindex in (None, index)]:
            self._networks.pop(index).rest()
        self._changed()

    def suspect(self, ifindex: int) -> None:
        """This link may be on another network: ask again at the next `follow`.

        Until the resolvers have answered, or have been silent for too long, what they said holds.
        """
        network = self._networks.get(ifindex)
        if network is not None:
            network.rest()
            network.doubtful = True
            network.due = self._clock()
        self._changed()

    def candidates(self, interface: str, now: float) -> tuple[PrefixCandidate, ...]:
        """The prefixes valid on a link now, in the order in which they were first told."""
        network = self._of(interface)
        if network is None or not network.valid(now):
            return ()
        return tuple(
            PrefixCandidate(
                prefix=prefix,
                source=PrefixSource.DNS64,
                router=network.teller if isinstance(network.teller, IPv6Address) else None,
                expires_at=network.expires_at(now),
                heard_at=network.heard_at,
            )
            for prefix in network.prefixes
        )

    def report(self, interface: str, now: float) -> SourceReport:
        """What the resolvers of a link say besides. Settled where nobody is to be asked: nothing will come of it."""
        network = self._of(interface)
        if network is None:
            return SourceReport(source=PrefixSource.DNS64, settled=True, detail="not asked", since=self._began)
        settled = network.settled or not network.wanted
        if not settled and not network.resolvers and network.link.carrier:
            settled = now >= network.since + _NO_RESOLVER_S
        return SourceReport(source=PrefixSource.DNS64, settled=settled, detail=network.detail(now), since=network.since)

    def _of(self, interface: str) -> _Network | None:
        return next((n for n in self._networks.values() if n.link.name == interface), None)

    def _want(self, network: _Network, resolvers: tuple[Resolver, ...], now: float) -> None:
        """A prefix is wanted from these: ask, if it is time to."""
        if not network.wanted and now >= network.ends_at:
            network.prefixes = ()  # nobody tried to confirm it while it was not wanted
        network.wanted = True
        others = set(resolvers) != set(network.resolvers)
        network.resolvers = resolvers
        satisfied = network.asking is None and network.valid(now) and network.teller in resolvers
        if others and not satisfied:
            network.rest()
            network.due = now
        elif network.failures and network.asking is None and network.paths != network.asked_over:
            network.due = now
        if network.asking is not None:
            return
        if resolvers and network.due <= now:
            self._ask(network)
        elif network.timer is None:
            self._wait(network, network.due if resolvers else network.since + _NO_RESOLVER_S)

    def _wait(self, network: _Network, until: float) -> None:
        delay_s = until - self._clock()
        if delay_s > 0:
            network.timer = asyncio.get_running_loop().call_later(delay_s, self._wake, network)

    def _wake(self, network: _Network) -> None:
        network.timer = None
        if network.resolvers:
            self._ask(network)
        else:
            self._changed()

    def _ask(self, network: _Network) -> None:
        # dnspython takes a tenth of the daemon's start, and most networks never need it: their routers tell.
        from clatnm.discovery.question import Question  # noqa: PLC0415

        network.rest()
        network.asked_over = network.paths
        network.asking = Asking(
            network.resolvers,
            interface=network.link.name,
            ifindex=network.link.index,
            query=Question,
            done=lambda outcome: self._done(network, outcome),
        )

    def _done(self, network: _Network, outcome: Outcome) -> None:
        now = self._clock()
        network.asking = None
        said = outcome.said
        if isinstance(said, Failure):
            network.say(said.words, now)
            if network.doubtful:
                network.prefixes = ()
            network.due = now + _RETRY_S[min(network.failures, len(_RETRY_S) - 1)]
            network.failures += 1
        else:
            self._learn(network, said, outcome.resolver, now)
            network.failures = 0
        network.doubtful = False
        if not network.settled:
            network.settled = True
            network.since = now
        log.debug("%s: %s", network.link.name, network.detail(now))
        self._wait(network, network.due)
        self._changed()

    def _learn(self, network: _Network, said: Answer, resolver: Resolver | None, now: float) -> None:
        # Resolvers shuffle their answers; a shuffled one must not exchange the prefix in use for another.
        known = [prefix for prefix in network.prefixes if prefix in said.prefixes]
        prefixes = tuple(dict.fromkeys([*known, *said.prefixes]))[:_MAX_PREFIXES]
        if (prefixes, resolver) != (network.prefixes, network.teller):
            network.since = now
        network.prefixes = prefixes
        network.teller = resolver
        if prefixes:
            network.words = ""
            network.heard_at = now
            network.ends_at = now + _within(_TTL_S, said.ttl_s)
            network.due = network.ends_at - _AHEAD_S
        else:
            network.say(f"{resolver} {said.words}", now)
            network.due = now + _within(_DENIAL_TTL_S, said.ttl_s)


def _moved(before: Link, after: Link) -> bool:
    # A link that is switched off has no carrier, but only some drivers count that.
    return (before.carrier, before.carrier_changes) != (after.carrier, after.carrier_changes)


def _usable(resolvers: Iterable[Resolver], link: Link) -> tuple[Resolver, ...]:
    """Those that can be asked, each once, without zones: that of a link-local one is its link."""
    plain = (IPv6Address(int(r)) if isinstance(r, IPv6Address) else r for r in resolvers)
    usable = dict.fromkeys(r for r in plain if not r.is_multicast and not r.is_unspecified and _in_reach(r, link))
    return tuple(usable)[:_MAX_RESOLVERS]


def _in_reach(resolver: Resolver, link: Link) -> bool:
    # Without IPv4 on this link, the kernel would ask with another link's address.
    return resolver.version == 6 or resolver.is_loopback or bool(link.addresses4)


def _within(bounds: tuple[float, float], ttl_s: float) -> float:
    return min(max(ttl_s, bounds[0]), bounds[1])
