# SPDX-License-Identifier: GPL-2.0-or-later
"""Pings through the PLATs of the links in use. When to ask and what the answers mean is in `policy/plat.py`."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from clatnm.errors import HostError
from clatnm.kernel.echo import EchoSocket
from clatnm.model import Link, PlatHealth
from clatnm.policy import plat
from clatnm.policy.plat import Plat
from clatnm.proto import nat64

log = logging.getLogger(__name__)

_MAX_TARGETS = 8
# A flood of prefixes must not grow our memory, nor what we send.
_MAX_ASKED = 4
_MAX_REMEMBERED = 16
_MAX_TRANSLATORS = 64
# Nobody is that slow; later answers are to be forgotten, as their numbers will be used again.
_LATEST_ANSWER_S = 30.0
# What was known is old when a prefix is needed again after this time.
_OLD_S = 60.0
# This host itself has no way there, as definite as a router's word. Anything else is a trouble of the moment.
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES})  # EACCES: a `prohibit` route


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ping:
    """One that is under way."""

    prefix: IPv6Network
    target: IPv4Address
    destination: IPv6Address
    sent_at: float


class _Line:
    """One link since its carrier last changed. A PLAT no longer wanted is remembered, but not asked."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.wanted: tuple[IPv6Network, ...] = ()
        self.targets: tuple[IPv4Address, ...] = ()
        self.plats: dict[IPv6Network, Plat] = {}
        self.pings: dict[int, _Ping] = {}
        self.sequence = 0
        self.socket: EchoSocket | None = None

    @property
    def listening(self) -> bool:
        """Silence would mean something now."""
        return self.ready and self.socket is not None

    @property
    def ready(self) -> bool:
        """The link can carry a ping; else its silence would say nothing about the PLAT."""
        usable = (a.address for a in self.link.addresses6 if not a.tentative)
        return (
            self.link.carrier
            and bool(self.link.default6)
            and any(not (address.is_link_local or address.is_loopback) for address in usable)
        )

    def want(self, prefixes: Sequence[IPv6Network], now: float) -> None:
        wanted = tuple(prefixes)[:_MAX_ASKED]
        for prefix in wanted:
            known = self.plats.pop(prefix, None) or plat.new(now)  # to the end: needed last
            if prefix not in self.wanted and known.asked_at is not None and now >= known.asked_at + _OLD_S:
                known = plat.doubted(known, now)
            self.plats[prefix] = known
        self.wanted = wanted
        for prefix in list(self.plats)[:-_MAX_REMEMBERED]:
            del self.plats[prefix]

    def targets_for(self, prefix: IPv6Network) -> tuple[IPv4Address, ...]:
        """Whom to ask. The well-known prefix stands for global addresses only (RFC 6052 section 3.1)."""
        targets = (t for t in self.targets if prefix != nat64.WELL_KNOWN or nat64.is_global(t))
        return tuple(targets)[:_MAX_TARGETS]

    def next_sequence(self) -> int:
        self.sequence = (self.sequence + 1) & 0xFFFF
        return self.sequence

    def close(self) -> None:
        if self.socket is not None:
            asyncio.get_running_loop().remove_reader(self.socket.fileno())
            self.socket.close()
            self.socket = None
        self.pings.clear()


class PlatProbe:
    """Asks the wanted PLATs; `changed` is called when what is known about one has changed.

    `clock` gives CLOCK_BOOTTIME seconds.
    """

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._lines: dict[int, _Line] = {}
        self._counted: dict[str, tuple[IPv6Network, int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._news = False
        self.sent = 0
        """Pings since the start."""

    def close(self) -> None:
        """Stop asking and listening."""
        self._rest()
        for index in list(self._lines):
            self._drop(index)

    def follow(
        self,
        links: Mapping[str, Link],
        wanted: Mapping[str, Sequence[IPv6Network]],
        targets: Mapping[str, Sequence[IPv4Address]],
    ) -> None:
        """Keep up with the links, the prefixes to be asked about on them (best first; four at most) and the targets.

        All by interface name. A link whose carrier came or went may be on another network: begin anew.
        """
        now = self._clock()
        for index in self._lines.keys() - {link.index for link in links.values()}:
            self._drop(index)
        for name, link in links.items():
            line = self._lines.get(link.index)
            if line is not None and _attachment(line.link) != _attachment(link):
                log.debug("%s: the carrier changed; forgetting its PLATs", name)
                self._drop(link.index)
                line = None
            if line is None:
                if not wanted.get(name):
                    continue
                line = self._lines[link.index] = _Line(link)
            line.link = link
            line.targets = tuple(targets.get(name, ()))
            line.want(wanted.get(name, ()), now)
            if not line.wanted:
                line.close()
        self._turn()

    def forget(self, ifindex: int | None = None) -> None:
        """This link, or any, may be on another network now: begin anew at the next `follow`."""
        indices = [index for index in self._lines if ifindex in (None, index)]
        for index in indices:
            self._drop(index)
        if indices:
            self._changed()

    def traffic(self, translator: str, interface: str, prefix: IPv6Network, *, sent: int, received: int) -> None:
        """Packets (no ICMP) that a translator has sent to this prefix and received from it since its start.

        `translator` tells the translators of one interface apart, as `Plan.key` does. What it did before it came to
        this prefix does not count for it; a first reading is only where counting begins.
        """
        last_prefix, last_sent, last_received = self._counted.pop(translator, (None, 0, 0))
        self._counted[translator] = (prefix, sent, received)
        for old in list(self._counted)[:-_MAX_TRANSLATORS]:
            del self._counted[old]
        line = self._line(interface)
        known = line.plats.get(prefix) if line else None
        if line is None or known is None or last_prefix != prefix or sent < last_sent or received < last_received:
            return
        went, came = sent - last_sent, received - last_received
        # What a link without IPv6 swallows, no PLAT has seen.
        self._put(line, prefix, plat.traffic(known, self._clock(), sent=went if line.ready else 0, received=came))
        self._turn()

    def health(self, interface: str, prefix: IPv6Network, now: float) -> PlatHealth | None:
        """What is known about one PLAT; None for one that nobody ever wanted to know about."""
        line = self._line(interface)
        known = line.plats.get(prefix) if line else None
        return None if known is None else plat.health(known, now)

    def healths(self, now: float) -> Mapping[tuple[str, IPv6Network], PlatHealth]:
        """What is known, by interface name and prefix; also about those not wanted any more."""
        return {
            (line.link.name, prefix): plat.health(known, now)
            for line in self._lines.values()
            for prefix, known in line.plats.items()
        }

    def _line(self, interface: str) -> _Line | None:
        return next((line for line in self._lines.values() if line.link.name == interface), None)

    def _turn(self) -> None:
        """Do what is due, and come back when something is."""
        self._rest()
        now = self._clock()
        ends: list[float] = []
        for line in self._lines.values():
            for prefix, known in list(line.plats.items()):
                self._put(line, prefix, plat.passed(known if line.listening else plat.spoiled(known), now))
                if prefix in line.wanted and line.ready and line.targets_for(prefix):
                    due = plat.next_probe(line.plats[prefix], now)
                    if due is not None and due <= now:
                        self._ask(line, prefix, now)
                    ends.extend(_known(plat.next_probe(line.plats[prefix], now)))
                ends.extend(_known(plat.next_change(line.plats[prefix])))
        if ends:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, min(ends) - self._clock()), self._turn)
        if self._news:
            self._news = False
            self._changed()

    def _put(self, line: _Line, prefix: IPv6Network, after: Plat) -> None:
        """Note what has become of a PLAT, and whether that is news."""
        judged = after.judged
        if judged != line.plats[prefix].judged:
            log.debug("%s: the PLAT behind %s is %s: %s", line.link.name, prefix, judged.state, judged.detail)
            self._news = True
        line.plats[prefix] = after

    def _ask(self, line: _Line, prefix: IPv6Network, now: float) -> None:
        """Send one round."""
        line.pings = {number: ping for number, ping in line.pings.items() if ping.sent_at > now - _LATEST_ANSWER_S}
        asked: set[IPv4Address] = set()
        refused: dict[IPv4Address, str] = {}
        for target in line.targets_for(prefix):
            ping = _Ping(prefix=prefix, target=target, destination=nat64.embed(prefix, target), sent_at=now)
            try:
                self._send(line, ping)
                asked.add(target)
            except HostError as error:
                log.debug("%s: %s: %s", line.link.name, ping.destination, error)
                if error.errno in _NO_WAY:
                    refused[target] = "no route on this host"
        known = plat.asked(line.plats[prefix], now, frozenset(asked | refused.keys()))
        if not known.targets:
            known = plat.spoiled(known)
        for target, detail in refused.items():
            known = plat.refused(known, now, target=target, detail=detail)
        self._put(line, prefix, known)

    def _send(self, line: _Line, ping: _Ping) -> None:
        if line.socket is None:
            line.socket = EchoSocket(line.link.name)
            asyncio.get_running_loop().add_reader(line.socket.fileno(), self._hear, line)
        number = line.next_sequence()
        line.socket.ask(ping.destination, number)
        line.pings[number] = ping
        self.sent += 1

    def _hear(self, line: _Line) -> None:
        assert line.socket is not None
        now = self._clock()
        own = {a.address for a in line.link.addresses6}
        for wrong in line.socket.errors():
            # That the next hop does not answer for a moment is no router's word about the prefix.
            ping = None if wrong.offender in own else line.pings.get(wrong.sequence)
            known = line.plats.get(ping.prefix) if ping else None
            if ping is not None and known is not None and ping.destination == wrong.destination:
                after = plat.error(
                    known,
                    now,
                    prefix=ping.prefix,
                    target=ping.target,
                    kind=wrong.kind,
                    code=wrong.code,
                    offender=wrong.offender,
                )
                self._put(line, ping.prefix, after)
        for reply in line.socket.replies():
            ping = line.pings.get(reply.sequence)
            known = line.plats.get(ping.prefix) if ping else None
            if ping is not None and known is not None and ping.destination == reply.source:
                after = plat.replied(known, now, target=ping.target, rtt_s=now - ping.sent_at)
                self._put(line, ping.prefix, after)
        self._turn()

    def _drop(self, index: int) -> None:
        self._lines.pop(index).close()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def user_packets(counters: Mapping[str, Any]) -> tuple[int, int] | None:
    """What `PlatProbe.traffic` wants out of a translator's counters: sent, received; None when it told none."""
    try:
        sent, received = (counters[direction]["protocols"] for direction in ("ipv4_to_ipv6", "ipv6_to_ipv4"))
    except KeyError:
        return None
    return _but_icmp(sent), _but_icmp(received)


def _but_icmp(protocols: Mapping[str, Mapping[str, int]]) -> int:
    # Errors from routers on the way are translated too, and would look like life.
    return sum(row["packets"] for name, row in protocols.items() if name != "icmp")


def _attachment(link: Link) -> tuple[bool, int]:
    # A link that is switched off has no carrier, but only some drivers count that.
    return link.carrier, link.carrier_changes


def _known(when: float | None) -> Iterator[float]:
    if when is not None:
        yield when
