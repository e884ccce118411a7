# SPDX-License-Identifier: GPL-2.0-or-later
"""A forwarder between two socket pairs: the host on one side, the wire on the other."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from worker_packets import (
    CLAT_V4,
    CLAT_V6,
    PEER_V4,
    PEER_V6,
    filled,
)

from clatnm.proto.ndp import neighbor_advertisement
from clatnm.worker import vnet
from clatnm.worker.counters import Counters
from clatnm.worker.forward import Forwarder
from clatnm.worker.link import EthernetLink, PlainLink
from clatnm.worker.port import UplinkPort, tun_port
from clatnm.worker.wire import WorkerConfig

GATEWAY = IPv6Address("fe80::1")
OWN_MAC, GATEWAY_MAC = bytes.fromhex("020000000001"), bytes.fromhex("0200000000aa")
ETHERNET = GATEWAY_MAC + OWN_MAC + b"\x86\xdd"
PLAIN_CONFIG = WorkerConfig(
    clat_v4=CLAT_V4, clat_v6=CLAT_V6, prefix=IPv6Network("64:ff9b::/96"), ipv6_mtu_bytes=1500, uplink="wlan0"
)
NO_OPERATIONS = bytes((1, 1, 1, 0))
BLANK = vnet.BLANK


class Bench:
    """A forwarder between two socket pairs; the far ends are the host's stack and the wire."""

    def __init__(self, *, link_layer: bool = True, resolved: bool = True) -> None:
        self.host, tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.wire, uplink = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sockets = (self.host, tun, self.wire, uplink)
        for sock in self.sockets:
            sock.setblocking(False)
        self.counters = Counters()
        port = UplinkPort(uplink, "wlan0")
        self.config = PLAIN_CONFIG
        self.link: PlainLink | EthernetLink = PlainLink(port, self.counters)
        if link_layer:
            self.config = replace(PLAIN_CONFIG, link_address=OWN_MAC, gateway=GATEWAY)
            self.link = EthernetLink(port, self.counters, on_conflict=lambda address: None)
            self.link.reconfigure(self.config, 0.0)
            if resolved:
                self.resolve()
        tun_side = tun_port(tun.fileno())
        self.forwarder = Forwarder(self.config, tun=tun_side, uplink=port, link=self.link, counters=self.counters)
        self.front = ETHERNET if link_layer else b""

    def resolve(self) -> None:
        """The gateway says where it is."""
        self.drain(self.wire)
        answer = neighbor_advertisement(
            source=GATEWAY, destination=CLAT_V6, target=GATEWAY, link_address=GATEWAY_MAC, solicited=True, override=True
        )
        self.link.receive(OWN_MAC + GATEWAY_MAC + b"\x86\xdd" + answer, 0.0)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()

    def drain(self, sock: socket.socket) -> list[bytes]:
        packets = []
        try:
            while packet := sock.recv(100_000):
                packets.append(packet)
        except BlockingIOError:
            pass
        return packets

    def out(self, packet: bytes, header: bytes = BLANK) -> list[tuple[bytes, bytes]]:
        """Send an IPv4 packet from the host; vnet header and IPv6 packet of all that reaches the wire."""
        self.host.send(header + packet)
        self.forwarder.from_tun()
        frames = self.drain(self.wire)
        assert all(frame[10 : 10 + len(self.front)] == self.front for frame in frames)
        return [(frame[:10], frame[10 + len(self.front) :]) for frame in frames]

    def back(self, packet: bytes, header: bytes = BLANK) -> list[tuple[bytes, bytes]]:
        """Send an IPv6 packet from the wire; vnet header and IPv4 packet of all that reaches the host."""
        self.wire.send(header + self.front + packet)
        self.forwarder.from_uplink()
        return [(data[:10], data[10:]) for data in self.drain(self.host)]


def segment4(body: bytes, protocol: int, *, partial: bool = False) -> bytes:
    return filled(body, protocol, CLAT_V4, PEER_V4, partial=partial)


def segment6(body: bytes, protocol: int, *, partial: bool = False) -> bytes:
    return filled(body, protocol, PEER_V6, CLAT_V6, partial=partial)
