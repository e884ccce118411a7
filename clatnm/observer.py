# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that is looked at: network managers, the kernel, the network. It adds up to a `World`.

Whatever happens only calls `changed`. `look` then brings all sources up to date, `world` puts together what they know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from clatnm.dbus.bus import Bus
from clatnm.discovery import static
from clatnm.discovery.attachment import Attachment
from clatnm.discovery.dhcp4 import Dhcp4Watch
from clatnm.discovery.dns64 import Dns64
from clatnm.discovery.manager import ManagerKnowledge
from clatnm.discovery.plat import PlatProbe, user_packets
from clatnm.discovery.ra import RouterAdvertisements
from clatnm.discovery.roaming import Roaming
from clatnm.discovery.turns import Turns
from clatnm.errors import HostError
from clatnm.kernel import sockets
from clatnm.kernel.changes import Monitor
from clatnm.kernel.host import Host
from clatnm.kernel.steady import PATIENCE_S, Steady
from clatnm.model import Link, Plan, PrefixCandidate, Running, Settings, SourceReport, Uplink, Verdict, Ways, World
from clatnm.policy.prefixes import asks_dns, to_probe
from clatnm.policy.settings import with_own
from clatnm.policy.verdict import has_ipv6
from clatnm.policy.vpn import interfaces, leads_out
from clatnm.uplinks.managers import Managers
from clatnm.uplinks.networkd import Networkd
from clatnm.uplinks.networkmanager import NetworkManager
from clatnm.uplinks.plain import Plain

log = logging.getLogger(__name__)

_READ_AGAIN_S = 0.2


class Observer:
    """`clock` gives CLOCK_BOOTTIME seconds; `backends` are what settings may name. HostError in the constructor: no raw
    sockets."""

    def __init__(
        self,
        host: Host,
        *,
        clock: Callable[[], float],
        changed: Callable[[], None],
        backends: tuple[str, ...] = (),
    ) -> None:
        self._host = host
        self._clock = clock
        self._changed = changed
        self._links: dict[str, Link] = {}
        self._read: dict[str, Link] = {}
        self._links_stale = True
        self._ways = Ways()
        self._steady = Steady()
        self._roaming = Roaming()
        self._turns = Turns(self._turn)
        self._told_since: dict[str, float] = {}
        self._rights: dict[str, tuple[str, float]] = {}
        self._without_ipv6_since: dict[str, float] = {}
        self._users: Mapping[IPv4Address, int] = {}
        self._waiting: asyncio.TimerHandle | None = None
        self._networkd = Networkd(backends=backends)
        self._plain = Plain(changed=changed)
        # NetworkManager shows the links of others too, as foreign ones with a profile that it made up.
        self._manager = Managers((self._networkd, self._plain, NetworkManager()))
        self._without_bus = False
        self.adverts = RouterAdvertisements(clock=clock, changed=changed)
        self._known = ManagerKnowledge(changed=changed, tellers=(self._networkd,))
        self._dns64 = Dns64(clock=clock, changed=changed)
        self._dhcp4 = Dhcp4Watch(clock=clock, changed=changed)
        self._plats = PlatProbe(clock=clock, changed=changed)
        self._attachment = Attachment(changed=changed)
        self._monitor = Monitor(self.read_again)

    def close(self) -> None:
        """Stop looking."""
        for part in (self._monitor, self._turns, self._networkd, self._plain, self._attachment, *self._sources()):
            part.close()

    def _sources(self) -> tuple[RouterAdvertisements, ManagerKnowledge, Dns64, Dhcp4Watch, PlatProbe]:
        """Whoever knows something of a network, and has to forget it when the link is on another one."""
        return self.adverts, self._known, self._dns64, self._dhcp4, self._plats

    async def attach(self, bus: Bus) -> None:
        """Follow the network managers over `bus`. BusError."""
        self._without_bus = False
        await self._manager.attach(bus, self._changed)
        self._changed()  # what nobody manages is known now

    def without_bus(self) -> None:
        """No network manager can be followed now: nothing is anybody's."""
        self._without_bus = True

    def manager_of(self, interface: str) -> str:
        """The name of the network manager that has an interface, with a connection on it or without; "": nobody."""
        return self._manager.manager_of(interface)

    def read_again(self) -> None:
        """Something about the links may have changed."""
        self._links_stale = True
        self._changed()

    def forget(self) -> None:
        """After a suspend any link may be on another network."""
        for source in self._sources():
            source.forget()

    async def look(self, settings: Settings, running: Mapping[str, Running]) -> None:
        """Bring what is known up to date: the links, which of them the sources follow, and whom to ask for more."""
        if self._links_stale or self._roaming.elsewhere(self._manager.uplinks()):
            await self._read_links()
        managed = self._manager.managed()
        self._plain.follow(settings.interfaces, self._read, () if managed is None and self._without_bus else managed)
        settings = with_own(settings, self._manager.uplinks())
        await self._count_users(running.values())
        uplinks = [u for u in self._manager.uplinks() if leads_out(u, World(settings=settings))]
        self._notice_roaming(uplinks, self._clock())
        followed = {uplink.interface for uplink in uplinks}
        self.adverts.follow(self._links, followed)
        self._dhcp4.follow(self._links, followed)
        self._attachment.follow({name: link for name, link in self._links.items() if name in followed})
        now = self._clock()
        self._known.follow(self._links, {name for name in followed if not self.adverts.candidates(name, now)})
        self._date(settings, now)
        world = replace(self.world(settings, now), running=running)
        asked = [uplink for uplink in uplinks if asks_dns(uplink, world, now)]
        self._dns64.follow(self._links, {uplink.interface: self._resolvers(uplink, world, now) for uplink in asked})

    def world(self, settings: Settings, now: float) -> World:
        """What is known, but for what only the daemon knows: translators, failures, backends, the secret."""
        uplinks = self._manager.uplinks()
        settings = with_own(settings, uplinks)
        names = [uplink.interface for uplink in uplinks]
        return World(
            uplinks=uplinks,
            links=self._links,
            prefixes={uplink.interface: self._prefixes(uplink, settings, now) for uplink in uplinks},
            told_since=self._told_since,
            without_ipv6_since=self._without_ipv6_since,
            reports={name: self._reports(name, now) for name in names},
            advertised_mtus={name: mtu for name in names if (mtu := self.adverts.mtu(name))},
            advertised_prefixes={name: self.adverts.slaac_prefixes(name, now) for name in names},
            dead_gateways={name: self._attachment.dead(name) for name in names},
            dhcp4={name: state for name in names if (state := self._dhcp4.state(name))},
            plats=self._plats.healths(now),
            ways=self._ways,
            users=self._users,
            settings=settings,
        )

    def probe(self, world: World, verdicts: Iterable[Verdict], now: float) -> None:
        """Look for the PLATs that the decisions count on."""
        probed = {v.uplink.interface: to_probe(v.uplink, v.candidate, world, now) for v in verdicts}
        targets = {u.interface: world.settings.of(u.uuid).plat_check_targets for u in world.uplinks}
        self._plats.follow(self._links, probed, targets)

    def count(self, plan: Plan, counters: Mapping[str, Any]) -> None:
        """A translator has counted these packets since it began."""
        told = user_packets(counters)
        if told is not None:
            sent, received = told
            self._plats.traffic(plan.key, plan.interface, plan.prefix, sent=sent, received=received)

    def _date(self, settings: Settings, now: float) -> None:
        """Note since when there is what nobody dates: what a manager's CLAT needs, or a carrier without IPv6."""
        uplinks = self._manager.uplinks()
        told = [uplink for uplink in uplinks if self._prefixes(uplink, settings, now)]
        links = [link for uplink in uplinks if (link := self._links.get(uplink.interface))]
        also = (link for each in settings.statics if (link := self._links.get(each.uplink)))
        without = [link.name for link in (*links, *also) if link.carrier and not has_ipv6(link)]
        able = {link.name for link in links if has_ipv6(link)}
        # Another profile, or another word in the same one: the manager may begin anew.
        rights = {u.interface: (u.uuid, u.manager_wait_s) for u in told if u.interface in able}
        since = {name: at for name, at in self._told_since.items() if self._rights.get(name) == rights.get(name)}
        self._rights, self._told_since = rights, {name: since.get(name, now) for name in rights}
        self._without_ipv6_since = {name: self._without_ipv6_since.get(name, now) for name in without}

    def _prefixes(self, uplink: Uplink, settings: Settings, now: float) -> tuple[PrefixCandidate, ...]:
        name = uplink.interface
        told = (source.candidates(name, now) for source in (self.adverts, self._known, self._dns64))
        return (*(candidate for source in told for candidate in source), *static.candidates(settings.of(uplink.uuid)))

    def _reports(self, name: str, now: float) -> tuple[SourceReport, ...]:
        return tuple(source.report(name, now) for source in (self.adverts, self._known, self._dns64))

    def _resolvers(self, uplink: Uplink, world: World, now: float) -> tuple[IPv4Address | IPv6Address, ...]:
        """Whom to ask: what is configured, else the link's own, those that its routers tell first (RFC 8106)."""
        configured = world.settings.of(uplink.uuid).dns64_servers
        own = (*self.adverts.resolvers(uplink.interface, now), *uplink.resolvers)
        return configured or tuple(dict.fromkeys(own))

    def _notice_roaming(self, uplinks: Iterable[Uplink], now: float) -> None:
        """Another access point may lead to another network, and neither kernel nor NetworkManager asks it."""
        uplinks = tuple(uplinks)
        if any(uplink.access_point for uplink in uplinks):
            self._turns.listen()
        self._links, roamed = self._roaming.take(self._read, uplinks, now)
        for link in (self._links[name] for name in roamed):
            log.debug("%s: another access point; asking its routers", link.name)
            for doubting in (self.adverts, self._dns64, self._attachment):
                doubting.suspect(link.index)
            for source in (self._known, self._dhcp4, self._plats):
                source.forget(link.index)
        self.adverts.arrive(self._roaming.places())
        until = self._roaming.wait_until()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if until is not None:
            self._waiting = asyncio.get_running_loop().call_later(until - now, self._changed)

    def _turn(self, ifindex: int, access_point: str) -> None:
        self._roaming.turn(ifindex, access_point)
        self._changed()

    async def _count_users(self, running: Iterable[Running]) -> None:
        """Who still uses translators that have no route."""
        draining = {run.plan.clat_v4 for run in running if not run.plan.offered}
        try:
            self._users = await self._host.do(lambda _: sockets.users(draining)) if draining else {}
        except HostError as error:
            log.debug("%s", error)
            self._users = dict.fromkeys(draining, 1)  # somebody may; the drain has an end in any case

    async def _read_links(self) -> None:
        self._links_stale = False
        try:
            read = await self._host.do(lambda kernel: kernel.links())
            # Whoever has no VPN is not kept waiting for this. What managers tell is looked at here, and not in the
            # kernel's thread: it changes with each signal.
            there = World(links=read, uplinks=self._manager.uplinks())
            vpns = interfaces(there) & read.keys()
            self._ways = await self._host.do(lambda kernel: kernel.ways(read)) if vpns else Ways()
        except HostError as error:
            # A dump that the kernel had to interrupt, most likely: what we know stays until the next try.
            log.debug("%s", error)
            asyncio.get_running_loop().call_later(_READ_AGAIN_S, self.read_again)
            return
        self._read = self._steady.take(read, self._clock())
        if self._steady.unsure:
            asyncio.get_running_loop().call_later(PATIENCE_S, self.read_again)
