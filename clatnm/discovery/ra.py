# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes from Router Advertisements (RFC 8781), heard on our own socket, link by link."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv6Address, IPv6Network

from clatnm.discovery.ear import Ear
from clatnm.errors import HostError, ParseError
from clatnm.kernel.icmp6 import Received, RouterSocket
from clatnm.model import Link, PrefixCandidate, PrefixSource, SourceReport
from clatnm.proto import ndp

log = logging.getLogger(__name__)

# How long each solicitation waits for its answer (RFC 4861 section 10).
_PATIENCE_S = (4.0, 4.0, 4.0)
# The first one after a roam may come while the new access point does not forward yet.
_PATIENCE_AFTER_ROAM_S = (0.6, 1.0, 4.0)
# What was known at the old access point is given up then, if no router of the new one has confirmed it.
_DOUBT_S = 5.0
# As many as a large building has on one walk.
_MAX_PLACES = 16


class _Post:
    """One link: what it has told, and the asking that goes on there.

    What was said at an access point is remembered: whoever comes back to it has its addresses and routes still, so IPv6
    works at once there, and IPv4 need not wait for an advertisement either.
    """

    def __init__(self, link: Link, now: float) -> None:
        self.link = link
        self.ear = Ear(now)
        self.place = ""
        """The access point, where that is known for certain."""
        self._remembered: dict[str, Ear] = {}
        self.patience_s = _PATIENCE_S
        self._timers: list[asyncio.TimerHandle] = []

    def leave(self) -> None:
        """The link may be at another access point from here on."""
        if self.place and not self.ear.doubtful:
            self._remembered.pop(self.place, None)
            self._remembered[self.place] = self.ear
            self.ear = copy.deepcopy(self.ear)
        while len(self._remembered) > _MAX_PLACES:
            del self._remembered[next(iter(self._remembered))]
        self.place = ""
        self.ear.doubt()

    def arrive(self, place: str, now: float) -> bool:
        """It is at that access point. True when something is known from there."""
        self.place = place
        known = self._remembered.get(place)
        if known is None or not self.ear.doubtful or not known.holds(now):
            return False
        asked, self.ear = self.ear.asked, copy.deepcopy(known)
        self.ear.doubt()
        self.ear.asked = asked
        return True

    def later(self, delay_s: float, work: Callable[[_Post], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, work, self))

    def quiet(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


class RouterAdvertisements:
    """Listens on every link, asks on the uplinks. `changed` is called when it has something new to tell of a link.

    HostError in the constructor: no raw socket.
    """

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._posts: dict[int, _Post] = {}
        self.heard = 0
        self.dropped = 0
        self._socket = RouterSocket()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Stop listening and asking."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        for post in self._posts.values():
            post.quiet()
        self._socket.close()

    def follow(self, links: Mapping[str, Link], uplinks: Collection[str]) -> None:
        """Keep up with the links. A link whose carrier came or went may be on another network: forget what it said.

        On `uplinks` (interface names) that have a carrier and have not heard a router yet, ask for one.
        """
        for index in self._posts.keys() - {link.index for link in links.values()}:
            self._posts.pop(index).quiet()
        for link in links.values():
            post = self._posts.get(link.index)
            # A link that is switched off has no carrier, but only some drivers count that.
            if post is None or (post.link.carrier, post.link.carrier_changes) != (link.carrier, link.carrier_changes):
                if post is not None:
                    post.quiet()
                    log.debug("%s: the carrier changed; forgetting its prefixes", link.name)
                post = self._posts[link.index] = _Post(link, self._clock())
            post.link = link
            if link.name in uplinks and link.carrier and post.ear.asked == 0 and post.ear.waiting:
                self._ask(post)

    def forget(self, ifindex: int | None = None) -> None:
        """A link, or after a suspend any, may be on another network: forget all, and ask again at the next `follow`."""
        for index in [index for index in self._posts if ifindex in (None, index)]:
            self._posts.pop(index).quiet()
        self._changed()

    def suspect(self, ifindex: int) -> None:
        """A link has another access point: mostly the same network, and nobody else asks whether it is. So ask.

        What is known holds until the next advertisement, which confirms it or not; at the longest for 5 s.
        """
        if ifindex not in self._posts:
            return
        self._read()  # what still waits to be read was said at the old access point
        post = self._posts[ifindex]
        post.quiet()
        post.leave()
        post.patience_s = _PATIENCE_AFTER_ROAM_S
        post.later(_DOUBT_S, self._give_up_doubted)
        self._ask(post)

    def arrive(self, places: Mapping[int, str]) -> None:
        """The access points that links are at, by index. What was heard at one before counts again, until the next
        advertisement, or for 5 s."""
        for index, place in places.items():
            post = self._posts.get(index)
            if post is None or place in ("", post.place):
                continue
            if post.place:
                self.suspect(index)
            if post.arrive(place, self._clock()):
                log.debug("%s: at %s as before", post.link.name, place)

    def candidates(self, interface: str, now: float) -> tuple[PrefixCandidate, ...]:
        """The prefixes valid on a link now, best first."""
        ear = self._ear(interface)
        return ear.candidates(now) if ear else ()

    def report(self, interface: str, now: float) -> SourceReport:
        """What else there is to say of a link; `settled` once a router was heard or three solicitations were not."""
        ear = self._ear(interface)
        if ear:
            return ear.report(now)
        return SourceReport(source=PrefixSource.RA, settled=False, detail="not asked", since=now)

    def mtu(self, interface: str) -> int | None:
        """The MTU that a router of this link advertised last (RFC 4861 section 4.6.4), in bytes."""
        ear = self._ear(interface)
        return ear.mtu_bytes if ear else None

    def slaac_prefixes(self, interface: str, now: float) -> frozenset[IPv6Network]:
        """The /64s for address configuration that this link's routers prefer now (RFC 4862 section 5.5.3)."""
        ear = self._ear(interface)
        return ear.slaac_prefixes(now) if ear else frozenset()

    def next_deprecation(self, now: float) -> float | None:
        """When `slaac_prefixes` of any link next loses one by itself: nobody calls `changed` then."""
        ends = (post.ear.next_deprecation(now) for post in self._posts.values())
        return min((end for end in ends if end is not None), default=None)

    def resolvers(self, interface: str, now: float) -> tuple[IPv6Address, ...]:
        """The DNS servers that this link's routers tell now (RFC 8106 section 5.1); link-local ones have no scope."""
        ear = self._ear(interface)
        return ear.resolvers(now) if ear else ()

    def _ear(self, interface: str) -> Ear | None:
        return next((post.ear for post in self._posts.values() if post.link.name == interface), None)

    def _ask(self, post: _Post) -> None:
        """Send one solicitation and, until a router answers, two more (RFC 4861 section 6.3.7)."""
        if not post.link.carrier:
            return
        if post.ear.asked == len(post.patience_s):
            if post.ear.give_up_asking(self._clock()):
                self._changed()
            return
        post.later(post.patience_s[post.ear.asked], self._ask)
        post.ear.ask(self._clock())
        try:
            self._socket.solicit(
                post.link.index,
                from_link_local=ndp.router_solicitation(link_address=post.link.link_address),
                from_unspecified=ndp.router_solicitation_packet(source=ndp.UNSPECIFIED),
            )
        except HostError as error:
            log.debug("%s: %s", post.link.name, error)

    def _give_up_doubted(self, post: _Post) -> None:
        if post.ear.give_up_doubted(self._clock()):
            log.debug("%s: no router of the other access point says anything; forgetting its prefixes", post.link.name)
            self._changed()

    def _read(self) -> None:
        changed = False
        for message in self._socket.receive():
            try:
                changed |= self._take(message)
            except ParseError as error:
                self.dropped += 1
                log.debug("Router Advertisement from %s dropped: %s", message.source, error)
        if changed:
            self._changed()

    def _take(self, message: Received) -> bool:
        advert = ndp.parse_router_advertisement(message.data, source=message.source, hop_limit=message.hop_limit)
        post = self._posts.get(message.ifindex)
        if post is None:  # a link that appeared this moment; it will be asked once it is followed
            return False
        self.heard += 1
        post.quiet()
        return post.ear.hear(advert, self._clock())
