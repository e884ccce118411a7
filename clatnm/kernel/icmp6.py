# SPDX-License-Identifier: GPL-2.0-or-later
"""The raw ICMPv6 socket that hears every Router Advertisement, whoever else listens, and can ask for one.

NetworkManager and networkd do neighbour discovery themselves and switch the kernel's off, so neither the kernel nor
(in most versions) they would tell us what an RA said.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from clatnm.errors import HostError

_ROUTER_ADVERTISEMENT = 134
_ICMP6_FILTER = 1
_ALL_ROUTERS = "ff02::2"
_ALL_ROUTERS_MAC = bytes.fromhex("333300000002")
_ETH_P_IPV6 = 0x86DD
_HOP_LIMIT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One ICMPv6 message, with what the IPv6 header said."""

    data: bytes
    source: IPv6Address
    ifindex: int
    hop_limit: int


class RouterSocket:
    """Hears RAs on all links; sends Router Solicitations. HostError when the kernel refuses it (CAP_NET_RAW)."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
        except OSError as error:
            raise HostError(
                f"cannot listen for Router Advertisements: {error.strerror}",
                errno=error.errno or 0,
                hint="needs root or CAP_NET_RAW",
            ) from error
        # RFC 3542 section 3.2: a set bit blocks that type.
        blocked = bytearray(b"\xff" * 32)
        struct.pack_into(
            "@I", blocked, _ROUTER_ADVERTISEMENT // 32 * 4, ~(1 << _ROUTER_ADVERTISEMENT % 32) & 0xFFFFFFFF
        )
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(blocked))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> Iterator[Received]:
        """The messages waiting now."""
        while True:
            try:
                data, ancillary, _, source = self._socket.recvmsg(65535, 256)
            except OSError:  # nothing more, or an error that an ICMPv6 message put on the socket: no use to us
                return
            hop_limit, ifindex = -1, 0
            for level, kind, value in ancillary:
                if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
                    (hop_limit,) = struct.unpack_from("@i", value)
                elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                    (ifindex,) = struct.unpack_from("@I", value, 16)
            address = IPv6Address(source[0].partition("%")[0])
            yield Received(data=data, source=address, ifindex=ifindex, hop_limit=hop_limit)

    def solicit(self, ifindex: int, *, from_link_local: bytes, from_unspecified: bytes) -> None:
        """Send a Router Solicitation on one link.

        `from_link_local` is the ICMPv6 message (checksum left to the kernel). While the link-local address is still
        tentative it may not be used (RFC 4862 section 5.4); then `from_unspecified`, a whole IPv6 packet from ::,
        goes out instead (RFC 4861 section 6.3.7), so that nobody waits for duplicate address detection. HostError.
        """
        try:
            self._socket.sendto(from_link_local, (_ALL_ROUTERS, 0, 0, ifindex))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise HostError(f"Router Solicitation: {error.strerror}", errno=error.errno or 0) from error
            self._send_raw(ifindex, from_unspecified)

    @staticmethod
    def _send_raw(ifindex: int, packet: bytes) -> None:
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as link:
                name = socket.if_indextoname(ifindex)
                link.sendto(packet, (name, _ETH_P_IPV6, 0, 0, _ALL_ROUTERS_MAC))
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else str(error)
            raise HostError(f"Router Solicitation: {text}", errno=error.errno or errno.ENODEV) from error
