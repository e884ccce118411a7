# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the IPv4 we have from here? Detecting network attachment (RFC 4436) after a carrier came back.

A network manager keeps a DHCPv4 lease over a short loss of carrier, and for minutes when the other network has no DHCP
server to refuse it. So after each flap, and at each other access point, the known IPv4 gateways are asked, by ARP,
whether they are there. One that is silent is dead: its default route leads nowhere. One never seen before came with
this network and needs no question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

from clatnm.errors import HostError, ParseError
from clatnm.kernel.arp import ArpSocket
from clatnm.model import Link
from clatnm.proto import arp

log = logging.getLogger(__name__)

# A gateway on the same link answers within milliseconds; two repetitions make up for lost frames. A verdict that comes
# too early costs little, for it is taken back with the first answer; one that comes late is IPv4 that does not work.
_PROBES = 3
_INTERVAL_S = 0.025
# An access point may not forward anything before it has authenticated us.
_INTERVAL_AFTER_ROAM_S = 0.4
# A dead one may come back, may be a new one of the same address, or was asked before the network let us through.
_AGAIN_S, _AGAIN_AT_MOST_S = 0.1, 5.0
_MAX_SUSPECTS = 16


class _Watch:
    """One link: which gateways are from here, and which may be from where it was before its carrier changed."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.trusted: set[IPv4Address] = set()
        self.suspects: set[IPv4Address] = set()
        self.asked = 0
        self.interval_s = _INTERVAL_S
        self.socket: ArpSocket | None = None
        self.timer: asyncio.TimerHandle | None = None

    def update(self, link: Link) -> bool:
        """Take in what the kernel has now; True when the carrier changed.

        A route may be absent while the carrier is, so it is not its coming back that makes a gateway a new one.
        """
        flapped = self.link.carrier_changes != link.carrier_changes
        self.link = link
        if flapped:
            self.doubt(interval_s=_INTERVAL_S)
        if len(self.suspects) > _MAX_SUSPECTS:
            self.suspects &= _gateways(link)
        self.trusted |= _gateways(link) - self.suspects
        return flapped

    def doubt(self, *, interval_s: float) -> None:
        """All gateways known so far may be of another network."""
        self.suspects |= self.trusted
        self.trusted.clear()
        self.asked = 0
        self.interval_s = interval_s

    def next_s(self) -> float:
        """How long to wait for an answer to the question that was sent just now."""
        if self.asked < _PROBES:
            return self.interval_s
        return min(_AGAIN_S * 2.0 ** min(self.asked - _PROBES, 16), _AGAIN_AT_MOST_S)

    @property
    def silent(self) -> set[IPv4Address]:
        """The suspects that some default route leads to now."""
        return self.suspects & _gateways(self.link)

    @property
    def dead(self) -> frozenset[IPv4Address]:
        """Those among them that had their chance."""
        return frozenset(self.silent) if self.asked >= _PROBES else frozenset()


class Attachment:
    """Watches the carrier of the links given to `follow`; `changed` is called when a gateway dies or answers."""

    def __init__(self, *, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._watches: dict[int, _Watch] = {}

    def close(self) -> None:
        """Stop asking."""
        for watch in self._watches.values():
            self._rest(watch)

    def follow(self, links: Mapping[str, Link]) -> None:
        """Keep up with the links; ask for the gateways of one whose carrier came or went since the last call."""
        known = {link.index for link in links.values()}
        for index in self._watches.keys() - known:
            self._rest(self._watches.pop(index))
        for link in links.values():
            watch = self._watches.setdefault(link.index, _Watch(link))
            if watch.update(link) or not watch.silent:
                self._rest(watch)
            if watch.silent and watch.timer is None:
                self._ask(watch)

    def suspect(self, ifindex: int) -> None:
        """A link has another access point, without its carrier having been away: ask for its known gateways."""
        watch = self._watches.get(ifindex)
        if watch is None:
            return
        self._rest(watch)
        watch.doubt(interval_s=_INTERVAL_AFTER_ROAM_S)
        if watch.silent:
            self._ask(watch)

    def dead(self, interface: str) -> frozenset[IPv4Address]:
        """The IPv4 gateways of a link that do not answer."""
        return next((watch.dead for watch in self._watches.values() if watch.link.name == interface), frozenset())

    def _ask(self, watch: _Watch) -> None:
        """Ask every silent gateway once, and see to it that the next question or the verdict comes."""
        loop = asyncio.get_running_loop()
        sent = False
        try:
            if watch.socket is None:
                watch.socket = ArpSocket(watch.link.name)
                loop.add_reader(watch.socket.fileno(), self._listen, watch)
            for gateway in watch.silent:
                watch.socket.ask(arp.probe(gateway, link_address=watch.link.link_address or bytes(6)))
            sent = watch.link.carrier
        except HostError as error:
            log.debug("%s: %s", watch.link.name, error)
        watch.timer = loop.call_later(watch.next_s() if sent else _AGAIN_AT_MOST_S, self._unanswered, watch, sent)

    def _unanswered(self, watch: _Watch, sent: bool) -> None:
        # Without a question, or without a carrier before and after it, silence says nothing.
        heard_nothing = sent and watch.link.carrier
        watch.asked += heard_nothing
        if heard_nothing and watch.asked == _PROBES:
            log.debug("%s: IPv4 gateway %s is not on this network", watch.link.name, _names(watch.silent))
            self._changed()
        self._ask(watch)

    def _listen(self, watch: _Watch) -> None:
        assert watch.socket is not None
        answered: set[IPv4Address] = set()
        for message in watch.socket.heard():
            try:
                answered.add(arp.parse_reply(message))
            except ParseError:  # somebody else's question, mostly
                continue
        if answered & watch.silent:
            log.debug("%s: IPv4 gateway %s answers", watch.link.name, _names(answered & watch.silent))
            watch.suspects -= answered
            watch.trusted |= answered & _gateways(watch.link)
            if not watch.silent:
                self._rest(watch)
            self._changed()

    def _rest(self, watch: _Watch) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
            watch.timer = None
        if watch.socket is not None:
            asyncio.get_running_loop().remove_reader(watch.socket.fileno())
            watch.socket.close()
            watch.socket = None


def _names(addresses: set[IPv4Address]) -> str:
    return ", ".join(str(address) for address in sorted(addresses))


def _gateways(link: Link) -> set[IPv4Address]:
    """The IPv4 gateways of the link's default routes, where there is ARP to find them with."""
    if link.link_address is None:
        return set()
    return {route.gateway for route in link.default4 if isinstance(route.gateway, IPv4Address)}
