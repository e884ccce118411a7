# SPDX-License-Identifier: GPL-2.0-or-later
"""A stage for scenes with PLATs: links, a net that answers pings or does not, and a clock that costs no time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.discovery.plat import PlatProbe
from clatnm.errors import HostError
from clatnm.kernel.echo import EchoError, EchoReply
from clatnm.model import Address6, DefaultRoute, Link, PlatState

WKP, OWN = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:64::/64")
HERE, ROUTER = IPv6Address("2001:db8::5"), IPv6Address("2001:db8::1")
TARGETS = tuple(map(IPv4Address, ("1.1.1.1", "8.8.8.8", "9.9.9.9")))
THROUGH_WKP = [IPv6Address(text) for text in ("64:ff9b::101:101", "64:ff9b::808:808", "64:ff9b::909:909")]
LINK = Link(
    index=2,
    name="wlan0",
    ipv6_mtu_bytes=1500,
    carrier=True,
    carrier_changes=2,
    addresses6=(Address6(address=IPv6Address("fe80::5"), prefixlen=64), Address6(address=HERE, prefixlen=64)),
    default6=(DefaultRoute(gateway=IPv6Address("fe80::1"), metric=600),),
)
OTHER_LINK = replace(LINK, index=3, name="eth0")


class Net:
    """What is behind the links: which addresses answer how, and what was asked."""

    def __init__(self) -> None:
        self.answers: dict[IPv6Address, IPv6Address] = {}
        """Destination → who answers."""
        self.wrong: dict[IPv6Address, tuple[int, int, IPv6Address]] = {}
        """Destination → type, code and sender of the error about it."""
        self.refuse_socket = self.refuse_sending = 0
        self.asked: list[tuple[float, str, IPv6Address]] = []
        self.sockets: list[FakeEchoSocket] = []

    def serve(self, *destinations: IPv6Address) -> None:
        self.answers = {destination: destination for destination in destinations}

    def refuse(self, *destinations: IPv6Address, code: int = 0, by: IPv6Address = ROUTER) -> None:
        self.wrong = dict.fromkeys(destinations, (1, code, by))


class FakeEchoSocket:
    """An `EchoSocket` on the net of the test."""

    net: Net

    def __init__(self, interface: str) -> None:
        if self.net.refuse_socket:
            raise HostError("ping", errno=self.net.refuse_socket)
        self.interface = interface
        self.sequences: list[int] = []
        self._near, self._far = socket.socketpair()
        self._replies: list[EchoReply] = []
        self._errors: list[EchoError] = []
        self.net.sockets.append(self)

    @property
    def closed(self) -> bool:
        return self._near.fileno() < 0

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def ask(self, destination: IPv6Address, sequence: int) -> None:
        if self.net.refuse_sending:
            raise HostError("ping", errno=self.net.refuse_sending)
        self.net.asked.append((asyncio.get_running_loop().time(), self.interface, destination))
        self.sequences.append(sequence)
        if destination in self.net.wrong:
            kind, code, by = self.net.wrong[destination]
            self.fail(EchoError(destination=destination, sequence=sequence, kind=kind, code=code, offender=by))
        if destination in self.net.answers:
            self.answer(EchoReply(source=self.net.answers[destination], sequence=sequence))

    def answer(self, reply: EchoReply) -> None:
        self._replies.append(reply)
        self._far.send(b"!")

    def fail(self, error: EchoError) -> None:
        self._errors.append(error)
        self._far.send(b"!")

    def replies(self) -> Iterator[EchoReply]:
        self._near.recv(4096)
        while self._replies:
            yield self._replies.pop(0)

    def errors(self) -> Iterator[EchoError]:
        while self._errors:
            yield self._errors.pop(0)


class Stage:
    def __init__(self, net: Net) -> None:
        self.net = net
        self.changes = 0
        self.probe = PlatProbe(clock=self.now, changed=self._changed)
        self.began = self.now()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _changed(self) -> None:
        self.changes += 1

    def follow(
        self, *links: Link, prefixes: Sequence[IPv6Network] = (WKP,), targets: Sequence[IPv4Address] = TARGETS
    ) -> None:
        names = [link.name for link in links or (LINK,)]
        self.probe.follow(
            {link.name: link for link in links or (LINK,)},
            dict.fromkeys(names, prefixes),
            dict.fromkeys(names, targets),
        )

    def state(self, prefix: IPv6Network = WKP, interface: str = "wlan0") -> PlatState | None:
        health = self.probe.health(interface, prefix, self.now())
        return None if health is None else health.state

    def detail(self, prefix: IPv6Network = WKP) -> str:
        return self.probe.healths(self.now())["wlan0", prefix].detail

    @property
    def rounds(self) -> list[float]:
        """When something was asked, in seconds since the beginning."""
        return sorted({round(when - self.began, 3) for when, _, _ in self.net.asked})


Scene = Callable[[Stage], Awaitable[None]]
Act = Callable[[Scene], None]
