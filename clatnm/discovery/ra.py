# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes from Router Advertisements (RFC 8781), heard on our own socket, link by link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv6Network

from clatnm.errors import HostError, ParseError
from clatnm.kernel.icmp6 import Received, RouterSocket
from clatnm.model import Link, PrefixCandidate, PrefixSource
from clatnm.proto import ndp
from clatnm.proto.pref64 import Pref64Table

log = logging.getLogger(__name__)

# RFC 4861 section 10
_MAX_SOLICITATIONS = 3
_SOLICITATION_INTERVAL_S = 4.0
_SLAAC_LENGTH = 64
_MAX_PREFIXES = 16  # a flood of them must not grow our memory


class _Ear:
    """What one link told us since its carrier last came up."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.table = Pref64Table()
        self.mtu_bytes: int | None = None
        self.prefixes: dict[IPv6Network, float] = {}  # SLAAC prefix → until when it is preferred
        self.heard = False
        self.asked = 0
        self.timer: asyncio.TimerHandle | None = None

    def quiet(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class RouterAdvertisements:
    """Listens on every link, asks on the uplinks. `changed` is called when a link's prefixes or MTU change.

    HostError in the constructor: no raw socket.
    """

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._ears: dict[int, _Ear] = {}
        self.heard = 0
        self.dropped = 0
        self._socket = RouterSocket()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Stop listening and asking."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        for ear in self._ears.values():
            ear.quiet()
        self._socket.close()

    def follow(self, links: Mapping[str, Link], uplinks: Collection[str]) -> None:
        """Keep up with the links. A link whose carrier came or went may be on another network: forget what it said.

        On `uplinks` (interface names) that have a carrier and have not heard a router yet, ask for one.
        """
        for index in self._ears.keys() - {link.index for link in links.values()}:
            self._ears.pop(index).quiet()
        for link in links.values():
            ear = self._ears.get(link.index)
            # A link that is switched off has no carrier, but only some drivers count that.
            if ear is None or (ear.link.carrier, ear.link.carrier_changes) != (link.carrier, link.carrier_changes):
                if ear is not None:
                    ear.quiet()
                    log.debug("%s: the carrier changed; forgetting its prefixes", link.name)
                ear = self._ears[link.index] = _Ear(link)
            ear.link = link
            if link.name in uplinks and link.carrier and ear.asked == 0 and not ear.heard:
                self._ask(ear)

    def forget(self) -> None:
        """After a suspend any link may be on another network: forget all, and ask again at the next `follow`."""
        for ear in self._ears.values():
            ear.quiet()
        self._ears.clear()
        self._changed()

    def candidates(self, interface: str, now: float) -> tuple[PrefixCandidate, ...]:
        """The prefixes valid on a link now, best first."""
        for ear in self._ears.values():
            if ear.link.name == interface:
                return tuple(
                    PrefixCandidate(
                        prefix=entry.prefix, source=PrefixSource.RA, router=entry.router, expires_at=entry.expires_at
                    )
                    for entry in ear.table.valid(now)
                )
        return ()

    def mtu(self, interface: str) -> int | None:
        """The MTU that a router of this link advertised last (RFC 4861 section 4.6.4), in bytes."""
        return next((ear.mtu_bytes for ear in self._ears.values() if ear.link.name == interface), None)

    def slaac_prefixes(self, interface: str, now: float) -> frozenset[IPv6Network]:
        """The /64s for address configuration that this link's routers prefer now (RFC 4862 section 5.5.3)."""
        for ear in self._ears.values():
            if ear.link.name == interface:
                return frozenset(prefix for prefix, until in ear.prefixes.items() if until > now)
        return frozenset()

    def _ask(self, ear: _Ear) -> None:
        """Send one solicitation and, until a router answers, two more (RFC 4861 section 6.3.7)."""
        ear.timer = None
        if ear.heard or ear.asked >= _MAX_SOLICITATIONS or not ear.link.carrier:
            return
        ear.asked += 1
        ear.timer = asyncio.get_running_loop().call_later(_SOLICITATION_INTERVAL_S, self._ask, ear)
        try:
            self._socket.solicit(
                ear.link.index,
                from_link_local=ndp.router_solicitation(link_address=ear.link.link_address),
                from_unspecified=ndp.router_solicitation_packet(source=ndp.UNSPECIFIED),
            )
        except HostError as error:
            log.debug("%s: %s", ear.link.name, error)

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
        ear = self._ears.get(message.ifindex)
        if ear is None:  # a link that appeared this moment; it will be asked once it is followed
            return False
        self.heard += 1
        ear.heard = True
        ear.quiet()
        now = self._clock()
        changed = ear.table.update(advert, now)
        if advert.mtu_bytes is not None and advert.mtu_bytes != ear.mtu_bytes:
            ear.mtu_bytes = advert.mtu_bytes
            changed = True
        before = self.slaac_prefixes(ear.link.name, now)
        for info in advert.prefixes[:_MAX_PREFIXES]:
            if info.autonomous and info.prefix.prefixlen == _SLAAC_LENGTH:
                ear.prefixes[info.prefix] = now + info.preferred_s
        ear.prefixes = dict(sorted(ear.prefixes.items(), key=lambda item: -item[1])[:_MAX_PREFIXES])
        return changed or self.slaac_prefixes(ear.link.name, now) != before
