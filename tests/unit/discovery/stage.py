# SPDX-License-Identifier: GPL-2.0-or-later
"""A stage for scenes with routers, on a clock that costs no time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from clatnm.discovery.ra import RouterAdvertisements
from clatnm.model import Link
from tests.unit.aio import settle
from tests.unit.discovery.adverts import ROUTER, FakeSocket

LINK = Link(index=2, name="wlan0", ipv6_mtu_bytes=1500, carrier=True, carrier_changes=2, link_address=bytes(5) + b"\5")
OTHER_LINK = replace(LINK, index=3, name="eth0")


class Stage:
    """RouterAdvertisements on a fake socket; `changes` counts how often it wanted another look."""

    def __init__(self) -> None:
        self.changes = 0
        self.adverts = RouterAdvertisements(clock=self.now, changed=self._changed)
        assert isinstance(self.adverts._socket, FakeSocket)
        self.socket: FakeSocket = self.adverts._socket
        self.began = self.now()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _changed(self) -> None:
        self.changes += 1

    def follow(self, *links: Link, uplinks: tuple[str, ...] = ("wlan0",)) -> None:
        self.adverts.follow({link.name: link for link in links or (LINK,)}, set(uplinks))

    async def hears(self, *messages: bytes, router: IPv6Address = ROUTER, ifindex: int = 2) -> None:
        self.socket.deliver(*messages, router=router, ifindex=ifindex)
        await settle()

    def prefixes(self, interface: str = "wlan0") -> list[IPv6Network]:
        return [candidate.prefix for candidate in self.adverts.candidates(interface, self.now())]

    def asked(self) -> list[tuple[float, int]]:
        """When (seconds since the beginning) and on which link a router was asked for."""
        return [(round(when - self.began, 3), index) for when, index in self.socket.asked]


Scene = Callable[[Stage], Awaitable[None]]
Play = Callable[[Scene], None]
