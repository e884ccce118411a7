# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet socket that overhears this host's DHCPv4 client on one link, and the servers that answer it.

Only a socket for all protocols is shown what the host itself sends. While there is one, the kernel copies the head of
every packet that leaves through the link, 0.3 µs each: open it while there is something to hear, and no longer.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from clatnm.errors import HostError
from clatnm.proto.dhcp4 import CLIENT_PORT, SERVER_PORT

_ETH_P_IP, _ETH_P_ALL = 0x0800, 3
_SO_ATTACH_FILTER: Final = 26
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
            _attach(sock, filter_program(link_address))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            sock.bind((socket.if_indextoname(ifindex), _ETH_P_ALL))
            if socket.if_nametoindex(sock.getsockname()[0]) != ifindex:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))  # another device took the name meanwhile
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


# The filter is classic BPF (linux/filter.h).
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_WORD_BEHIND, _LOAD_HALF_BEHIND = 0x40, 0x48  # the IPv4 header: at X + k
_HEADER_TO_X: Final = (0xB1, 0)  # X = 4 * (packet[0] & 15)
_AND, _EQUAL, _ANY_BIT, _RETURN = 0x54, 0x15, 0x45, 0x06
# What the kernel knows of the packet (SKF_AD_OFF + SKF_AD_*)
_PROTOCOL, _KIND, _VLAN, _IN_VLAN = 0xFFFFF000, 0xFFFFF004, 0xFFFFF02C, 0xFFFFF030
_WHOLE_PACKET: Final = 0x40000
# Offsets in the IPv4 packet
_FRAGMENT, _IP_PROTOCOL = 6, 9
_MORE_OR_OFFSET: Final = 0x3FFF
# Offsets behind the IPv4 header: UDP's destination port, and chaddr (RFC 2131 section 2)
_PORT, _CHADDR = 2, 8 + 28


class _Test(NamedTuple):
    """Run `load`, compare, go on at `yes` or `no`."""

    name: str
    load: Sequence[tuple[int, int]]
    compare: tuple[int, int]
    yes: str
    no: str


def filter_program(link_address: bytes) -> bytes:
    """`struct sock_filter[]` that passes DHCPv4 which the host sends as this client, and answers for this client."""
    high, low = struct.unpack("!IH", link_address)
    return _assemble(
        _Test("start", [(_LOAD_WORD, _PROTOCOL)], (_EQUAL, _ETH_P_IP), "tagged", "reject"),
        # Here a link is also shown what is for the VLANs on it. A tag with VLAN 0 is a mere priority.
        _Test("tagged", [(_LOAD_WORD, _IN_VLAN)], (_EQUAL, 0), "udp", "vlan"),
        _Test("vlan", [(_LOAD_WORD, _VLAN), (_AND, 0xFFF)], (_EQUAL, 0), "udp", "reject"),
        _Test("udp", [(_LOAD_BYTE, _IP_PROTOCOL)], (_EQUAL, socket.IPPROTO_UDP), "fragment", "reject"),
        _Test("fragment", [(_LOAD_HALF, _FRAGMENT)], (_ANY_BIT, _MORE_OR_OFFSET), "reject", "sent"),
        _Test("sent", [_HEADER_TO_X, (_LOAD_WORD, _KIND)], (_EQUAL, socket.PACKET_OUTGOING), "question", "others"),
        _Test("others", [], (_EQUAL, socket.PACKET_OTHERHOST), "reject", "answer"),
        _Test("answer", [(_LOAD_HALF_BEHIND, _PORT)], (_EQUAL, CLIENT_PORT), "client", "reject"),
        _Test("question", [(_LOAD_HALF_BEHIND, _PORT)], (_EQUAL, SERVER_PORT), "client", "reject"),
        _Test("client", [(_LOAD_WORD_BEHIND, _CHADDR)], (_EQUAL, high), "client low", "reject"),
        _Test("client low", [(_LOAD_HALF_BEHIND, _CHADDR + 4)], (_EQUAL, low), "accept", "reject"),
    )


def _assemble(*tests: _Test) -> bytes:
    place, size = {}, 0
    for test in tests:
        place[test.name] = size
        size += len(test.load) + 1
    place["accept"], place["reject"] = size, size + 1
    code = []
    for test in tests:
        code += [(instruction, 0, 0, value) for instruction, value in test.load]
        after = len(code) + 1  # jumps count from the next instruction
        instruction, value = test.compare
        code += [(instruction, place[test.yes] - after, place[test.no] - after, value)]
    code += [(_RETURN, 0, 0, _WHOLE_PACKET), (_RETURN, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _attach(sock: socket.socket, program: bytes) -> None:
    memory = array.array("B", program)
    address, size = memory.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", size // 8, address))  # struct sock_fprog
