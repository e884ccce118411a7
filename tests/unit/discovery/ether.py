# SPDX-License-Identifier: GPL-2.0-or-later
"""Links whose IPv4 gateways answer ARP or do not, as a test has it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address

from clatnm.discovery.attachment import Attachment
from clatnm.errors import HostError
from clatnm.model import DefaultRoute, Link

MAC = bytes.fromhex("020000000005")
GATEWAY, OTHER = IPv4Address("192.168.2.1"), IPv4Address("10.0.0.1")


def a_link(*gateways: IPv4Address | None, changes: int = 2, carrier: bool = True, index: int = 2) -> Link:
    return Link(
        index=index,
        name=f"eth{index}",
        ipv6_mtu_bytes=1500,
        carrier=carrier,
        carrier_changes=changes,
        link_address=MAC,
        default4=tuple(DefaultRoute(gateway=gateway, metric=100) for gateway in gateways),
    )


class Ether:
    """One link's ARP: who is there, what was asked and when."""

    def __init__(self) -> None:
        self.there: set[IPv4Address] = set()
        self.asked: list[tuple[float, IPv4Address]] = []
        self.refuse_socket = self.refuse_sending = 0
        self.sockets: list[FakeArpSocket] = []


class FakeArpSocket:
    """An `ArpSocket` on the ether of the test."""

    ether: Ether

    def __init__(self, interface: str) -> None:
        if self.ether.refuse_socket:
            raise HostError("ARP", errno=self.ether.refuse_socket)
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.ether.sockets.append(self)

    @property
    def closed(self) -> bool:
        return self._near.fileno() < 0

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def ask(self, message: bytes) -> None:
        if self.ether.refuse_sending:
            raise HostError("ARP", errno=self.ether.refuse_sending)
        kind, protocol, sizes, operation, sender_mac, sender, _, target = struct.unpack("!HHHH6s4s6s4s", message)
        assert (kind, protocol, sizes, operation) == (1, 0x0800, 0x0604, 1)
        assert (sender_mac, sender) == (MAC, bytes(4))  # RFC 5227 section 2.1.1: no trace in anybody's cache
        self.ether.asked.append((asyncio.get_running_loop().time(), IPv4Address(target)))
        if IPv4Address(target) in self.ether.there:
            self.hear(reply(IPv4Address(target)))

    def hear(self, message: bytes) -> None:
        self._far.send(message)

    def heard(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._near.recv(1500)
            except BlockingIOError:
                return


def reply(sender: IPv4Address, *, operation: int = 2) -> bytes:
    return struct.pack("!HHHH6s4s6s4s", 1, 0x0800, 0x0604, operation, bytes(5) + b"\1", sender.packed, MAC, bytes(4))


class Stage:
    def __init__(self, ether: Ether) -> None:
        self.ether = ether
        self.changes = 0
        self.attachment = Attachment(changed=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def follow(self, *links: Link) -> None:
        self.attachment.follow({link.name: link for link in links})

    async def plug(self, before: Link, after: Link) -> None:
        """The carrier comes and goes, and the probes have their time."""
        self.follow(before)
        self.follow(after)
        await asyncio.sleep(1)

    @property
    def dead(self) -> frozenset[IPv4Address]:
        return self.attachment.dead("eth2")


Scene = Callable[[Stage], Awaitable[None]]
Play = Callable[[Scene], None]
