# SPDX-License-Identifier: GPL-2.0-or-later
"""Router Advertisements as bytes, and a socket that hears them without a network."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from clatnm.errors import HostError
from clatnm.kernel.icmp6 import Received

ROUTER = IPv6Address("fe80::1")
OTHER_ROUTER = IPv6Address("fe80::2")
WELL_KNOWN = IPv6Network("64:ff9b::/96")
OWN_PREFIX = IPv6Network("2001:db8:64::/96")
SLAAC = IPv6Network("2001:db8:a::/64")


def pref64(prefix: IPv6Network = WELL_KNOWN, *, lifetime_s: int = 600) -> bytes:
    """RFC 8781 section 4; only /96."""
    return struct.pack("!BBH", 38, 2, lifetime_s // 8 << 3) + prefix.network_address.packed[:12]


def slaac(prefix: IPv6Network = SLAAC, *, valid_s: int = 3600, preferred_s: int = 1800, flags: int = 0xC0) -> bytes:
    """RFC 4861 section 4.6.2"""
    fixed = struct.pack("!BBBBIII", 3, 4, prefix.prefixlen, flags, valid_s, preferred_s, 0)
    return fixed + prefix.network_address.packed


def mtu(mtu_bytes: int) -> bytes:
    """RFC 4861 section 4.6.4"""
    return struct.pack("!BBHI", 5, 1, 0, mtu_bytes)


def rdnss(*servers: str, lifetime_s: int = 600) -> bytes:
    """RFC 8106 section 5.1"""
    fixed = struct.pack("!BBHI", 25, 1 + 2 * len(servers), 0, lifetime_s)
    return fixed + b"".join(IPv6Address(server).packed for server in servers)


def advert(*options: bytes, lifetime_s: int = 1800, preference: int = 0) -> bytes:
    """RFC 4861 section 4.2, without checksum; `preference` as in RFC 4191 section 2.1: 1 high, 0 medium, 3 low."""
    return struct.pack("!BBHBBHII", 134, 0, 0, 64, preference << 3, lifetime_s, 0, 0) + b"".join(options)


class FakeSocket:
    """A `RouterSocket`: what is delivered is heard, what is asked is noted with its time."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self._waiting: list[Received] = []
        self.asked: list[tuple[float, int]] = []
        self.refuse = 0
        """An errno for every solicitation, or 0."""

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def receive(self) -> Iterator[Received]:
        with contextlib.suppress(BlockingIOError):
            self._near.recv(1)
        while self._waiting:
            yield self._waiting.pop(0)

    def solicit(self, ifindex: int, *, from_link_local: bytes, from_unspecified: bytes) -> None:
        assert from_link_local[0] == 133
        assert from_unspecified[40] == 133
        assert from_unspecified[8:24] == bytes(16)
        self.asked.append((asyncio.get_running_loop().time(), ifindex))
        if self.refuse:
            raise HostError(errno.errorcode[self.refuse], errno=self.refuse)

    def deliver(self, *messages: bytes, router: IPv6Address = ROUTER, ifindex: int = 2, hop_limit: int = 255) -> None:
        """All of these arrive at once."""
        for data in messages:
            self._waiting.append(Received(data=data, source=router, ifindex=ifindex, hop_limit=hop_limit))
        self._far.send(b"!")
