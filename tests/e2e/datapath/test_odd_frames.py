# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that are legal and rare on the uplink: what a switch, a router or a peer may make of a plain datagram."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from clatnm.proto.checksum import transport_checksum
from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, HOST_MAC, NEAR_MAC, SERVER, SERVER6, Clat, Rig

UDP, HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 17, 0, 43, 44, 60
PORT = 7
PRIORITY_TAG = bytes.fromhex("8100a000")
_idents = itertools.count(7915)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(packet: bytes, *, to: str = HOST_MAC, tag: bytes = b"") -> bytes:
    return mac(to) + mac(NEAR_MAC) + tag + b"\x86\xdd" + packet


def ipv6(protocol: int, payload: bytes, *, hop_limit: int = 64) -> bytes:
    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((protocol, hop_limit))
    return head + SERVER6.packed + CLAT.packed + payload


def udp(port: int, data: bytes) -> bytes:
    ports = PORT.to_bytes(2, "big") + port.to_bytes(2, "big")
    head = ports + (8 + len(data)).to_bytes(2, "big")
    total = transport_checksum(SERVER6.packed, CLAT.packed, UDP, head + b"\0\0" + data)
    return head + total.to_bytes(2, "big") + data


def options(protocol: int) -> bytes:
    """A hop-by-hop or destination options header of nothing but padding (RFC 8200 4.2)."""
    return bytes((protocol, 0, 1, 4, 0, 0, 0, 0))


def fragments(protocol: int, payload: bytes, *cuts: int) -> list[bytes]:
    """Whole packets, each a fragment from one cut to the next."""
    ident = next(_idents).to_bytes(4, "big")
    ends = (*cuts, len(payload))
    return [
        ipv6(
            FRAGMENT,
            bytes((protocol, 0)) + (start | (end < len(payload))).to_bytes(2, "big") + ident + payload[start:end],
        )
        for start, end in zip((0, *cuts), ends, strict=True)
    ]


@pytest.fixture
def host(rig: Rig, clat: Clat) -> Iterator[socket.socket]:
    with traffic.udp4(rig.host) as made:
        made.bind(("", 0))
        yield made


@pytest.fixture(scope="module")
def wire(rig: Rig) -> Iterator[socket.socket]:
    """Sends whole frames towards the host."""
    with rig.near.packets("lan0") as made:
        yield made


def arrives(host: socket.socket, data: bytes) -> bool:
    heard = traffic.hear(host)
    return (heard.data, heard.peer) == (data, (str(SERVER), PORT))


def frames(kind: str, segment: bytes) -> list[bytes]:
    """A UDP segment in the dress that `kind` names."""
    plain = ipv6(UDP, segment)
    match kind:
        case "plain":
            return [ethernet(plain)]
        case "padded":
            return [ethernet(plain + bytes(13))]
        case "priority-tag":  # IEEE 802.1Q 6.9: VLAN 0 is none
            return [ethernet(plain, tag=PRIORITY_TAG)]
        case "priority-tag-fragments":
            return [ethernet(packet, tag=PRIORITY_TAG) for packet in fragments(UDP, segment, 512, 1024)]
        case "hop-by-hop":
            return [ethernet(ipv6(HOP_BY_HOP, options(UDP) + segment))]
        case "destination-options":
            return [ethernet(ipv6(DESTINATION_OPTIONS, options(UDP) + segment))]
        case "all-extensions":
            routing = bytes((DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0))  # no segment left
            return [ethernet(ipv6(HOP_BY_HOP, options(ROUTING) + routing + options(UDP) + segment))]
        case "atomic-fragment":  # RFC 6946
            return [ethernet(packet) for packet in fragments(UDP, segment)]
        case "fragments":
            return [ethernet(packet) for packet in fragments(UDP, segment, 512, 1024)]
        case "fragments-reversed":
            return [ethernet(packet) for packet in reversed(fragments(UDP, segment, 512, 1024))]
        case "fragments-twice":
            first, *others = fragments(UDP, segment, 512, 1024)
            return [ethernet(packet) for packet in (first, first, *others)]
        case "least-hops":
            return [ethernet(ipv6(UDP, segment, hop_limit=2))]
    raise ValueError(kind)


KINDS = (
    "plain",
    "padded",
    "priority-tag",
    "priority-tag-fragments",
    "hop-by-hop",
    "destination-options",
    "all-extensions",
    "atomic-fragment",
    "fragments",
    "fragments-reversed",
    "fragments-twice",
    "least-hops",
)


@pytest.mark.parametrize("kind", KINDS)
def test_datagram_arrives(host: socket.socket, wire: socket.socket, kind: str) -> None:
    data = os.urandom(1200)
    for frame in frames(kind, udp(traffic.port_of(host), data)):
        wire.send(frame)
    assert arrives(host, data)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(lambda packet: ethernet(packet, to="02:00:00:00:00:ff"), id="other-station"),
        pytest.param(lambda packet: ethernet(packet, tag=bytes.fromhex("81000005")), id="other-vlan"),
        pytest.param(lambda packet: ethernet(packet[:7] + b"\x01" + packet[8:]), id="no-hops-left"),
        pytest.param(lambda packet: ethernet(packet[:8] + CLAT.packed + packet[24:]), id="from-ourselves"),
        pytest.param(lambda packet: ethernet(packet[:23] + b"\xff" + packet[24:]), id="wrong-checksum"),
    ],
)
def test_datagram_that_is_not_ours_is_not_heard(
    rig: Rig, host: socket.socket, wire: socket.socket, frame: Callable[[bytes], bytes]
) -> None:
    rig.host.ip("link", "set", "wan0", "promisc", "on")
    port = traffic.port_of(host)
    wire.send(frame(ipv6(UDP, udp(port, b"not for you"))))
    wire.send(ethernet(ipv6(UDP, udp(port, b"for you"))))
    assert arrives(host, b"for you")
