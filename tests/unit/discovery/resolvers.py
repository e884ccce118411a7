# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS resolvers without a network: what they are asked is noted, what they answer is a script."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from clatnm.discovery import asking
from clatnm.discovery.dns64 import Dns64
from clatnm.errors import HostError
from clatnm.model import Address6, Link, SourceReport
from clatnm.proto import nat64
from clatnm.proto.dns64 import WELL_KNOWN_ADDRESSES
from tests.unit.aio import run_virtual, settle

Resolver = IPv4Address | IPv6Address

FIRST = IPv6Address("2001:db8::53")
SECOND = IPv6Address("2001:db8::54")
WELL_KNOWN = IPv6Network("64:ff9b::/96")
OWN_PREFIX = IPv6Network("2001:db8:64::/96")
LINK = Link(
    index=2,
    name="wlan0",
    ipv6_mtu_bytes=1500,
    carrier=True,
    carrier_changes=2,
    addresses6=(Address6(address=IPv6Address("2001:db8:a::5"), prefixlen=64),),
)
OTHER_LINK = replace(LINK, index=3, name="eth0")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question that reached a resolver."""

    at_s: float
    resolver: Resolver
    transport: str
    interface: str
    ifindex: int
    message: dns.message.Message


Reply = bytes | dns.message.Message | tuple[float, bytes]
"""What is sent back, at once or after so many seconds. Over TCP, bytes go out unframed: they bring their length."""
Script = Callable[[Asked], Iterable[Reply]]


def synthesised(*prefixes: IPv6Network) -> list[str]:
    return [str(nat64.embed(prefix, address)) for prefix in prefixes for address in WELL_KNOWN_ADDRESSES]


def answer(
    query: dns.message.Message,
    *addresses: str,
    ttl_s: int = 300,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    soa_ttl_s: int | None = None,
    aliases: Iterable[tuple[str, str, int]] = (),
    owner: str = "ipv4only.arpa.",
) -> dns.message.Message:
    """An honest answer: AAAA records of `owner`, before them CNAMEs as (owner, target, TTL), an SOA if it has a TTL."""
    made = dns.message.make_response(query, recursion_available=True)
    made.set_rcode(rcode)
    for name, target, alias_ttl_s in aliases:
        made.answer.append(dns.rrset.from_text(name, alias_ttl_s, "IN", "CNAME", target))
    for address in addresses:  # each by itself, or dnspython shuffles them
        made.answer.append(dns.rrset.from_text(owner, ttl_s, "IN", "AAAA", address))
    if soa_ttl_s is not None:
        soa = f"ns.arpa. root.arpa. 1 2 3 4 {soa_ttl_s}"
        made.authority.append(dns.rrset.from_text("arpa.", 86400, "IN", "SOA", soa))
    return made


def tells(*prefixes: IPv6Network, ttl_s: int = 300) -> Script:
    return lambda asked: [answer(asked.message, *synthesised(*prefixes or (WELL_KNOWN,)), ttl_s=ttl_s)]


def denies(soa_ttl_s: int | None = 900, rcode: dns.rcode.Rcode = dns.rcode.NXDOMAIN) -> Script:
    return lambda asked: [answer(asked.message, soa_ttl_s=soa_ttl_s, rcode=rcode)]


def fails(rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> Script:
    return lambda asked: [answer(asked.message, rcode=rcode)]


def is_silent(asked: Asked) -> list[Reply]:
    return []


def truncated(query: dns.message.Message) -> dns.message.Message:
    made = answer(query)
    made.flags |= dns.flags.TC
    return made


def framed(message: dns.message.Message) -> bytes:
    """RFC 1035 section 4.2.2"""
    wire = message.to_wire()
    return len(wire).to_bytes(2, "big") + wire


@dataclass
class FakeResolvers:
    """In place of `kernel.bound.connected`."""

    scripts: dict[Resolver, Script] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    refuse: int = 0
    """An errno for whoever wants to connect, or 0."""

    def connected(
        self, kind: socket.SocketKind, server: Resolver, port: int, *, interface: str, ifindex: int
    ) -> socket.socket:
        assert port == 53
        if self.refuse:
            raise HostError(errno.errorcode[self.refuse], errno=self.refuse)
        near, far = socket.socketpair(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        self.sockets.append(near)
        loop = asyncio.get_running_loop()

        def hear() -> None:
            data = far.recv(65535)
            if not data:
                loop.remove_reader(far.fileno())
                far.close()
                return
            stream = kind == socket.SOCK_STREAM
            asked = Asked(
                at_s=loop.time(),
                resolver=server,
                transport="tcp" if stream else "udp",
                interface=interface,
                ifindex=ifindex,
                message=dns.message.from_wire(data[2:] if stream else data),
            )
            self.asked.append(asked)
            for reply in self.scripts.get(server, is_silent)(asked):
                self._send(far, reply, stream)

        loop.add_reader(far.fileno(), hear)
        return near

    def _send(self, far: socket.socket, reply: Reply, stream: bool) -> None:
        delay_s, data = reply if isinstance(reply, tuple) else (0.0, reply)
        if isinstance(data, dns.message.Message):
            data = framed(data) if stream else data.to_wire()

        def send() -> None:
            try:
                if data:
                    far.send(data)
                else:  # the end of a TCP connection
                    far.shutdown(socket.SHUT_WR)
            except OSError:  # nobody listens any more
                pass

        asyncio.get_running_loop().call_later(delay_s, send)


class Stage:
    """Dns64 among fake resolvers, on a clock that costs no time; `changes` counts how often it wanted another look."""

    def __init__(self, resolvers: FakeResolvers) -> None:
        self.changes = 0
        self.resolvers = resolvers
        self.source = Dns64(clock=self.now, changed=self._changed)
        self.began = self.now()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _changed(self) -> None:
        self.changes += 1

    def script(self, resolver: Resolver, script: Script) -> None:
        self.resolvers.scripts[resolver] = script

    def follow(self, *links: Link, ask: Iterable[Resolver] | None = (FIRST,), interface: str = "wlan0") -> None:
        wanted = {} if ask is None else {interface: tuple(ask)}
        self.source.follow({link.name: link for link in links or (LINK,)}, wanted)

    async def hear(self, *links: Link, ask: Iterable[Resolver] = (FIRST,)) -> None:
        """Follow, and let the resolvers that answer at once do so."""
        self.follow(*links, ask=ask)
        await settle()
        await asyncio.sleep(0.01)

    def prefixes(self, interface: str = "wlan0") -> list[IPv6Network]:
        return [candidate.prefix for candidate in self.source.candidates(interface, self.now())]

    def report(self, interface: str = "wlan0") -> SourceReport:
        return self.source.report(interface, self.now())

    def asked(self) -> list[tuple[float, Resolver]]:
        """When (seconds since the beginning) who was asked."""
        return [(round(asked.at_s - self.began, 1), asked.resolver) for asked in self.resolvers.asked]

    def open_sockets(self) -> int:
        return sum(opened.fileno() >= 0 for opened in self.resolvers.sockets)


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    """Play a scene; in the end every socket is closed."""

    async def work() -> None:
        resolvers = FakeResolvers()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asking, "connected", resolvers.connected)
            stage = Stage(resolvers)
            await scene(stage)
            stage.source.close()
            assert stage.open_sockets() == 0
            await settle()

    run_virtual(work())
