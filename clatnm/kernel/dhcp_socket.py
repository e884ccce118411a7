# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet socket that overhears this host's DHCPv4 client on one link, and the servers that answer it.

Only a socket for all protocols is shown what the host itself sends. While there is one, the kernel copies the head of
every packet that leaves through the link, 0.3 µs each: open it while there is something to hear, and no longer.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from clatnm.errors import HostError
from clatnm.kernel import packet_filter
from clatnm.kernel.packet_filter import (
    AND,
    ANY_BIT,
    EQUAL,
    IN_VLAN,
    KIND,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_HALF_BEHIND,
    LOAD_WORD,
    LOAD_WORD_BEHIND,
    PROTOCOL,
    VLAN,
    Test,
)
from clatnm.proto.dhcp4 import CLIENT_PORT, SERVER_PORT

_ETH_P_IP, _ETH_P_ALL = 0x0800, 3
_RECEIVE_BYTES: Final = 1 << 16
_LARGEST_BYTES: Final = 1 << 16
# A flood leaves time for other work; the rest is read the next time around.
_AT_ONCE: Final = 64

_HINTS: Final = {
    errno.EPERM: "a packet socket needs CAP_NET_RAW",
    errno.EACCES: "a packet socket needs CAP_NET_RAW",
    errno.EAFNOSUPPORT: "RestrictAddressFamilies= of the unit lacks AF_PACKET, or the kernel does",
}


class DhcpSocket:
    """Hears DHCPv4 from and to the client with `link_address` on one link. HostError when the kernel refuses it."""

    def __init__(self, ifindex: int, link_address: bytes) -> None:
        sock = None
        try:
            # Protocol 0 hears nothing until bind(), so no packet slips in ahead of the filter.
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
            packet_filter.attach(sock, filter_program(link_address))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            packet_filter.bind(sock, ifindex, _ETH_P_ALL)
        except OSError as error:
            if sock is not None:
                sock.close()
            number = error.errno or errno.ENODEV  # if_indextoname() sets none
            raise HostError(
                f"cannot overhear DHCPv4: {os.strerror(number)}", errno=number, hint=_HINTS.get(number, "")
            ) from None
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> Iterator[tuple[bytes, bool]]:
        """The IPv4 packets waiting now, each with whether this host sent it; some of them if there are very many."""
        for _ in range(_AT_ONCE):
            try:
                packet, (_, _, kind, _, _) = self._socket.recvfrom(_LARGEST_BYTES)
            except OSError:  # nothing more, or the link went down, which netlink tells
                return
            yield packet, kind == socket.PACKET_OUTGOING


_HEADER_TO_X: Final = (0xB1, 0)  # X = 4 * (packet[0] & 15), the length of the IPv4 header
# Offsets in the IPv4 packet
_FRAGMENT, _IP_PROTOCOL = 6, 9
_MORE_OR_OFFSET: Final = 0x3FFF
# Offsets behind the IPv4 header: UDP's destination port, and chaddr (RFC 2131 section 2)
_PORT, _CHADDR = 2, 8 + 28


def filter_program(link_address: bytes) -> bytes:
    """`struct sock_filter[]` that passes DHCPv4 which the host sends as this client, and answers for this client."""
    high, low = struct.unpack("!IH", link_address)
    tests = (
        Test("start", [(LOAD_WORD, PROTOCOL)], (EQUAL, _ETH_P_IP), "tagged", "reject"),
        # Here a link is also shown what is for the VLANs on it. A tag with VLAN 0 is a mere priority.
        Test("tagged", [(LOAD_WORD, IN_VLAN)], (EQUAL, 0), "udp", "vlan"),
        Test("vlan", [(LOAD_WORD, VLAN), (AND, 0xFFF)], (EQUAL, 0), "udp", "reject"),
        Test("udp", [(LOAD_BYTE, _IP_PROTOCOL)], (EQUAL, socket.IPPROTO_UDP), "fragment", "reject"),
        Test("fragment", [(LOAD_HALF, _FRAGMENT)], (ANY_BIT, _MORE_OR_OFFSET), "reject", "sent"),
        Test("sent", [_HEADER_TO_X, (LOAD_WORD, KIND)], (EQUAL, socket.PACKET_OUTGOING), "question", "others"),
        Test("others", [], (EQUAL, socket.PACKET_OTHERHOST), "reject", "answer"),
        Test("answer", [(LOAD_HALF_BEHIND, _PORT)], (EQUAL, CLIENT_PORT), "client", "reject"),
        Test("question", [(LOAD_HALF_BEHIND, _PORT)], (EQUAL, SERVER_PORT), "client", "reject"),
        Test("client", [(LOAD_WORD_BEHIND, _CHADDR)], (EQUAL, high), "client low", "reject"),
        Test("client low", [(LOAD_HALF_BEHIND, _CHADDR + 4)], (EQUAL, low), "accept", "reject"),
    )
    return packet_filter.assemble(tests)
