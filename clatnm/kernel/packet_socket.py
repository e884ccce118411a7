# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet socket by which translated traffic meets the uplink, and the multicast group beside it.

The CLAT address is not an address of the host: the kernel drops its own copies of such packets in silence, and this
socket hears them. Its filter lets through IPv6 packets to the CLAT address, neighbour solicitations for it, and
neighbour advertisements to all nodes (a duplicate of our address speaks up, or a router has moved).
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from clatnm.errors import HostError
from clatnm.kernel import packet_filter
from clatnm.kernel.packet_filter import EQUAL, KIND, LOAD_BYTE, LOAD_WORD, Test
from clatnm.proto.ndp import solicited_node

ETHERNET_BYTES: Final = 14

_ETH_P_IPV6: Final = 0x86DD
_SOL_PACKET: Final = 263
_PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 15, 23
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SIOCGIFHWADDR, _ARPHRD_PPP = 0x8927, 512
# linux/if_vlan.h, linux/ethtool.h
_SIOCGIFVLAN, _GET_VLAN_REALDEV_NAME = 0x8982, 8
_SIOCETHTOOL, _ETHTOOL_GFLAGS, _ETH_FLAG_TXVLAN = 0x8946, 0x25, 1 << 7
_VLANS: Final = Path("/proc/thread-self/net/vlan")

# A burst of 64 KiB packets waits here while Python is busy. Sent ones wait in the device's queue, where the
# kernel's queue management sees them; so little room is needed on that side, and more would only delay.
_RECEIVE_BYTES: Final = 16 << 20
_SEND_BYTES: Final = 4 << 20

_ALL_NODES: Final = IPv6Address("ff02::1")
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136

_HINTS: Final = {
    errno.EPERM: "a packet socket needs CAP_NET_RAW",
    errno.EACCES: "a packet socket needs CAP_NET_RAW",
    errno.EAFNOSUPPORT: "RestrictAddressFamilies= of the unit lacks AF_PACKET, or the kernel does",
    errno.ENODEV: "the uplink is gone",
    errno.ENXIO: "the uplink is gone",
    errno.ENOBUFS: "out of socket memory; see net.core.optmem_max",
}


def open_packet_socket(
    ifindex: int, *, link_layer: bool, clat_v6: IPv6Address, neighbours_only: bool = False
) -> socket.socket:
    """A non-blocking packet socket on a link, each packet behind a 10-byte vnet header.

    `link_layer`: packets begin with an Ethernet header; False for links without one (WWAN, PPP, WireGuard).
    `neighbours_only`: hear neighbour discovery and nothing else, because hooks take the rest.
    HostError with a hint when the kernel refuses.
    """
    sock = None
    try:
        # Protocol 0 hears nothing until bind(), so no packet slips in ahead of the filter.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        packet_filter.attach(sock, filter_program(clat_v6, link_layer=link_layer, neighbours_only=neighbours_only))
        _set_buffer(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BYTES)
        _set_buffer(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BYTES)
        packet_filter.bind(sock, ifindex, _ETH_P_IPV6)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _refused(f"cannot open a packet socket on link {ifindex}", error) from None
    return sock


def sends_large(interface: str) -> bool:
    """Whether the kernel splits what a packet socket sends there and is larger than the MTU. HostError: no such link.

    Not where the device has room for a header that packets do not have yet: the kernel takes IPv6 to begin behind it,
    and drops whatever it has to split. That is PPP, and a VLAN over a device that cannot put the tag in itself.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            found = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
            hardware: int = struct.unpack_from("=H", found, 16)[0]
            return hardware != _ARPHRD_PPP and not _writes_tags(sock, interface)
    except OSError as error:
        raise _refused(f"cannot look at {interface}", error) from None


def _writes_tags(sock: socket.socket, interface: str) -> bool:
    """Whether this is a VLAN whose tags the kernel itself writes into the packets."""
    if not _VLANS.exists():  # the question would have the kernel look for its module
        return False
    try:
        question = struct.pack("=i24s24xh2x", _GET_VLAN_REALDEV_NAME, interface.encode(), 0)
        below = fcntl.ioctl(sock, _SIOCGIFVLAN, question)[28:52].rstrip(b"\0")
    except OSError:  # another kind of device
        return False
    flags = array.array("I", (_ETHTOOL_GFLAGS, 0))
    try:
        fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", below, flags.buffer_info()[0]))
    except OSError:  # it is in another network namespace
        return True
    return not flags[1] & _ETH_FLAG_TXVLAN


def refilter(sock: socket.socket, clat_v6: IPv6Address, *, link_layer: bool, neighbours_only: bool = False) -> None:
    """Let through the packets of another CLAT address from now on. HostError when the kernel refuses.

    The filter belongs to the socket, not the descriptor: a copy kept by the supervisor changes the worker's too.
    """
    try:
        packet_filter.attach(sock, filter_program(clat_v6, link_layer=link_layer, neighbours_only=neighbours_only))
    except OSError as error:
        raise _refused("cannot replace the filter of the packet socket", error) from None


def join_solicited_node(ifindex: int, address: IPv6Address, *, sock: socket.socket | None = None) -> socket.socket:
    """Hear neighbour solicitations for `address` on a link, and make MLD snooping switches forward them.

    The membership lasts as long as the socket returned, which nothing is read from: a new one, or `sock` with one
    more membership. HostError when the kernel refuses.
    """
    held = sock or socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        request = solicited_node(address).packed + struct.pack("=I", ifindex)  # struct ipv6_mreq
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return held  # a member already: two addresses may share one group
        if sock is None:
            held.close()
        raise _refused(f"cannot join the solicited-node group of {address} on link {ifindex}", error) from None
    return held


_OTHER_HOST: Final = 3  # a frame for another station, heard because the link is promiscuous
_NEXT_HEADER, _DESTINATION, _ICMP_TYPE = 6, 24, 40  # offsets in an IPv6 packet


def filter_program(clat_v6: IPv6Address, *, link_layer: bool, neighbours_only: bool = False) -> bytes:
    """`struct sock_filter[]` that passes what the module's docstring names, and nothing sent to other stations."""
    ip = ETHERNET_BYTES if link_layer else 0
    neighbours = "neighbours" if link_layer else "reject"
    # Jumps go forward only, so what is asked last stands last.
    first, otherwise = (neighbours, "ours") if neighbours_only else ("ours", "reject")
    tests = [Test("start", [(LOAD_WORD, KIND)], (EQUAL, _OTHER_HOST), "reject", first)]
    if not neighbours_only:
        tests += _destination("ours", ip, clat_v6, no=neighbours)
    if link_layer:
        tests += [
            Test("neighbours", [(LOAD_BYTE, ip + _NEXT_HEADER)], (EQUAL, _ICMPV6), "solicitation", "reject"),
            Test("solicitation", [(LOAD_BYTE, ip + _ICMP_TYPE)], (EQUAL, _SOLICITATION), "for us", "advertisement"),
            Test("advertisement", [(LOAD_BYTE, ip + _ICMP_TYPE)], (EQUAL, _ADVERTISEMENT), "for all", "reject"),
            *_destination("for us", ip, solicited_node(clat_v6), no=otherwise),
            *_destination("for all", ip, _ALL_NODES, no=otherwise),
        ]
    if neighbours_only:
        tests += _destination("ours", ip, clat_v6, no="reject")
    return packet_filter.assemble(tests)


def _destination(name: str, ip: int, address: IPv6Address, *, no: str) -> list[Test]:
    """Is the destination `address`? Then accept."""
    words = struct.unpack("!4I", address.packed)
    names = [name, *(f"{name} {index}" for index in (1, 2, 3)), "accept"]
    return [
        Test(names[i], [(LOAD_WORD, ip + _DESTINATION + 4 * i)], (EQUAL, word), names[i + 1], no)
        for i, word in enumerate(words)
    ]


def _set_buffer(sock: socket.socket, force: int, plain: int, size: int) -> None:
    """Past net.core.rmem_max and wmem_max when CAP_NET_ADMIN allows, else up to them."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)


def _refused(what: str, error: OSError) -> HostError:
    number = error.errno or 0
    return HostError(f"{what}: {os.strerror(number)}", errno=number, hint=_HINTS.get(number, ""))
