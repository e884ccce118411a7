# SPDX-License-Identifier: GPL-2.0-or-later
"""How many mapped addresses are heard (RFC 7757): by a packet socket's filter, and as members of multicast groups.

A filter in classic BPF has no tables. It gets at most `MAX_COVERS` prefixes that together cover all that is mapped, and
maybe more: whoever reads the socket looks again. Mappings are few prefixes as a rule, or hosts of one prefix.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, collapse_addresses
from itertools import pairwise
from typing import Final

from clatnm.errors import HostError
from clatnm.kernel import packet_filter
from clatnm.kernel.packet_filter import AND, EQUAL, KIND, LOAD_BYTE, LOAD_WORD, Test
from clatnm.proto.eam import EamTable
from clatnm.proto.ndp import solicited_node

MAX_COVERS: Final = 12  # jumps in such a filter reach no further than 255 instructions
MAX_GROUPS: Final = 128  # memberships count as memory of the socket, which the kernel gives little of

_ETHERNET_BYTES: Final = 14
_OTHER_HOST: Final = 3
_NEXT_HEADER, _DESTINATION, _ICMP_TYPE = 6, 24, 40  # offsets in an IPv6 packet
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_SOLICITED_NODES: Final = IPv6Network("ff02::1:ff00:0/104")
_ALL_NODES: Final = IPv6Network("ff02::1/128")
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _ALLMULTI = 263, 1, 2


def refilter(sock: socket.socket, table: EamTable, *, own: IPv6Address, link_layer: bool) -> None:
    """Let through what is for mapped addresses, and for `own`, with its neighbour discovery. HostError."""
    networks = [IPv6Network(own), *(v6 for _, v6 in table)]
    try:
        packet_filter.attach(sock, filter_program(covers(networks), link_layer=link_layer))
    except OSError as error:
        number = error.errno or 0
        raise HostError(
            f"cannot replace the filter of the packet socket: {os.strerror(number)}", errno=number
        ) from None


def join(packets: socket.socket, held: socket.socket, table: EamTable, *, ifindex: int) -> None:
    """Hear neighbour solicitations for mapped addresses, as long as both sockets live. HostError.

    Where these belong to many groups the link's device lets all multicast through instead. A switch that snoops MLD
    does not know of that; but so many addresses are better routed to us, which takes no solicitations.
    """
    groups = solicited_groups(v6 for _, v6 in table)
    try:
        if groups is not None:
            for group in groups:
                _join(held, group, ifindex)
            return
    except OSError as error:
        if error.errno not in (errno.ENOBUFS, errno.ENOMEM):
            raise _refused(error) from None
    try:
        request = struct.pack("=iHH8x", ifindex, _ALLMULTI, 0)  # struct packet_mreq
        packets.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
    except OSError as error:
        raise _refused(error) from None


def solicited_groups(networks: Iterable[IPv6Network]) -> frozenset[IPv6Address] | None:
    """The solicited-node groups of all these addresses (RFC 4291 2.7.1); None when they are more than `MAX_GROUPS`."""
    groups: set[IPv6Address] = set()
    for network in networks:
        if network.num_addresses > MAX_GROUPS:
            return None
        groups |= {solicited_node(address) for address in network}
        if len(groups) > MAX_GROUPS:
            return None
    return frozenset(groups)


def covers(networks: Iterable[IPv6Network]) -> list[IPv6Network]:
    """At most `MAX_COVERS` prefixes that contain all of these, as little more as can be told quickly."""
    found = sorted(collapse_addresses(networks))
    while len(found) > MAX_COVERS:
        # Those that share most bits become one, all with as many at once, or it would take long.
        shared = [_shared_bits(one, other) for one, other in pairwise(found)]
        longest = max(shared)
        merged = [found[0]]
        for network, bits in zip(found[1:], shared, strict=True):
            if bits == longest:
                merged[-1] = IPv6Network((merged[-1].network_address, bits), strict=False)
            else:
                merged.append(network)
        found = merged
    return found


def filter_program(networks: Iterable[IPv6Network], *, link_layer: bool) -> bytes:
    """`struct sock_filter[]` that passes what is for these networks, and neighbour discovery."""
    ip = _ETHERNET_BYTES if link_layer else 0
    networks = list(networks)
    names = [*(f"mapped {number}" for number in range(len(networks))), "neighbours" if link_layer else "reject"]
    tests = [Test("start", [(LOAD_WORD, KIND)], (EQUAL, _OTHER_HOST), "reject", names[0])]
    for name, network, otherwise in zip(names, networks, names[1:]):  # noqa: B905
        tests += _within(name, ip, network, no=otherwise)
    if link_layer:
        tests += [
            Test("neighbours", [(LOAD_BYTE, ip + _NEXT_HEADER)], (EQUAL, _ICMPV6), "solicitation", "reject"),
            Test("solicitation", [(LOAD_BYTE, ip + _ICMP_TYPE)], (EQUAL, _SOLICITATION), "for nodes", "advertisement"),
            Test("advertisement", [(LOAD_BYTE, ip + _ICMP_TYPE)], (EQUAL, _ADVERTISEMENT), "for all", "reject"),
            *_within("for nodes", ip, _SOLICITED_NODES, no="reject"),
            *_within("for all", ip, _ALL_NODES, no="reject"),
        ]
    return packet_filter.assemble(tests)


def _within(name: str, ip: int, network: IPv6Network, *, no: str) -> list[Test]:
    """Is the destination in `network`? Then accept."""
    words = struct.unpack("!4I", network.network_address.packed)
    masks = struct.unpack("!4I", network.netmask.packed)
    used = [at for at in range(4) if masks[at]] or [0]
    names = [name, *(f"{name} {index}" for index in range(1, len(used))), "accept"]
    return [
        Test(
            names[i],
            [(LOAD_WORD, ip + _DESTINATION + 4 * at), *([(AND, masks[at])] if masks[at] != 0xFFFFFFFF else [])],
            (EQUAL, words[at]),
            names[i + 1],
            no,
        )
        for i, at in enumerate(used)
    ]


def _shared_bits(one: IPv6Network, other: IPv6Network) -> int:
    differing = (int(one.network_address) ^ int(other.network_address)).bit_length()
    return min(128 - differing, one.prefixlen, other.prefixlen)


def _join(held: socket.socket, group: IPv6Address, ifindex: int) -> None:
    try:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("=I", ifindex))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # a member already
            raise


def _refused(error: OSError) -> HostError:
    number = error.errno or 0
    return HostError(f"cannot hear who asks for mapped addresses: {os.strerror(number)}", errno=number)
