# SPDX-License-Identifier: GPL-2.0-or-later
"""An observer of a machine that is as the test says, with sources that note what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from clatnm import observer
from clatnm.errors import HostError
from clatnm.kernel import sockets
from clatnm.model import (
    Dhcp4,
    Link,
    PlatHealth,
    PrefixCandidate,
    PrefixSource,
    Running,
    Settings,
    SourceReport,
    Uplink,
    Ways,
    World,
)
from clatnm.observer import Observer
from tests.unit.aio import run_virtual
from tests.unit.policy.worlds import a_link, an_uplink

T = TypeVar("T")
# In the order in which `Steady` gives them back.
LINK = a_link(ipv6=("2001:db8:a::5/64", "fe80::5/64"))
CABLE = a_link("eth0", index=3, ipv6=("2001:db8:b::5/64",))
_PARTS = {
    "adverts": "RouterAdvertisements",
    "known": "ManagerKnowledge",
    "dns64": "Dns64",
    "dhcp4": "Dhcp4Watch",
    "plats": "PlatProbe",
    "attachment": "Attachment",
    "networkd": "Networkd",
    "networkmanager": "NetworkManager",
    "plain": "Plain",
    "monitor": "Monitor",
}


class Part:
    """Notes whatever it is told to do; what it knows is what the test has put there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done: list[tuple[str, tuple[Any, ...]]] = []
        self.prefixes: dict[str, tuple[PrefixCandidate, ...]] = {}
        self.dns: dict[str, tuple[IPv6Address, ...]] = {}
        self.mtus: dict[str, int] = {}
        self.slaac: dict[str, frozenset[IPv6Network]] = {}
        self.gateways: dict[str, frozenset[IPv4Address]] = {}
        self.states: dict[str, Dhcp4] = {}
        self.health: dict[tuple[str, IPv6Network], PlatHealth] = {}

    def __getattr__(self, verb: str) -> Callable[..., None]:
        def note(*what: Any, **how: Any) -> None:
            self.done.append((verb, (*what, *how.values())))

        return note

    def told(self, verb: str) -> list[tuple[Any, ...]]:
        """With what it was told to do that, each time."""
        return [what for done, what in self.done if done == verb]

    def last(self, verb: str = "follow") -> tuple[Any, ...]:
        return self.told(verb)[-1]

    def candidates(self, interface: str, now: float) -> tuple[PrefixCandidate, ...]:
        return self.prefixes.get(interface, ())

    def report(self, interface: str, now: float) -> SourceReport:
        return SourceReport(source=PrefixSource.RA, settled=True, detail=f"{self.name} of {interface}", since=now)

    def resolvers(self, interface: str, now: float) -> tuple[IPv6Address, ...]:
        return self.dns.get(interface, ())

    def mtu(self, interface: str) -> int | None:
        return self.mtus.get(interface)

    def slaac_prefixes(self, interface: str, now: float) -> frozenset[IPv6Network]:
        return self.slaac.get(interface, frozenset())

    def dead(self, interface: str) -> frozenset[IPv4Address]:
        return self.gateways.get(interface, frozenset())

    def state(self, interface: str) -> Dhcp4 | None:
        return self.states.get(interface)

    def healths(self, now: float) -> Mapping[tuple[str, IPv6Network], PlatHealth]:
        return self.health


class Stage:
    """`links` and `uplinks` are what there is; `parts` are the observer's, by the names above."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.links: tuple[Link, ...] = (LINK,)
        self.uplinks: tuple[Uplink, ...] = (an_uplink(),)
        self.running: Mapping[str, Running] = {}
        self.settings = Settings()
        self.users: dict[IPv4Address, int] = {}
        self.ways = Ways()
        self.fault: HostError | None = None
        """What the kernel says instead of an answer."""
        self.reads = self.changes = 0
        self._in_thread = False
        """What is done now, is done in the kernel's own."""
        self.parts = {name: Part(name) for name in _PARTS}
        for name, kind in _PARTS.items():
            monkeypatch.setattr(observer, kind, lambda *_, name=name, **__: self.parts[name])
        self.followed: list[tuple[Any, Callable[[], None]]] = []
        """Each bus on which the managers are followed, and whom they tell of changes."""
        self.managed: frozenset[str] | None = frozenset()
        all_of_them = SimpleNamespace(uplinks=self._uplinks, attach=self._attach, managed=lambda: self.managed)
        monkeypatch.setattr(observer, "Managers", lambda _: all_of_them)
        monkeypatch.setattr(sockets, "users", self._count)
        host: Any = SimpleNamespace(do=self._do)
        self.observer = Observer(host, clock=self.now, changed=self._changed)

    def __getitem__(self, name: str) -> Part:
        return self.parts[name]

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def look(self) -> World:
        """Look as the daemon does; what is known then."""
        await self.observer.look(self.settings, self.running)
        return self.observer.world(self.settings, self.now())

    async def look_again(self) -> World:
        """As after a message of the kernel's about some link."""
        self.observer.read_again()
        return await self.look()

    def forget_the_past(self) -> None:
        """Only what comes now is of interest."""
        self.changes = self.reads = 0
        for part in self.parts.values():
            part.done.clear()

    def _changed(self) -> None:
        self.changes += 1

    def _uplinks(self) -> tuple[Uplink, ...]:
        assert not self._in_thread, "what managers tell changes meanwhile"
        return self.uplinks

    async def _attach(self, bus: Any, changed: Callable[[], None]) -> None:
        self.followed.append((bus, changed))

    async def _do(self, work: Callable[[Any], T]) -> T:
        self._in_thread = True
        try:
            return work(SimpleNamespace(links=self._links, ways=lambda _: self.ways))
        finally:
            self._in_thread = False

    def _links(self) -> dict[str, Link]:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        return {link.name: link for link in self.links}

    def _count(self, addresses: Collection[IPv4Address]) -> dict[IPv4Address, int]:
        if self.fault is not None:
            raise self.fault
        return {address: self.users.get(address, 0) for address in addresses}


Scene = Callable[[Stage], Coroutine[Any, Any, None]]
Play = Callable[[Scene], None]


def player(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a scene on a clock of its own."""
    return lambda scene: run_virtual(scene(Stage(monkeypatch)))
