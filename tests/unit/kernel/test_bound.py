# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets bound to a device, against the kernel itself: what leaves, leaves there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from clatnm.errors import HostError
from clatnm.kernel.bound import connected
from tests.lab.poll import eventually
from tests.unit.kernel.namespace import in_new_netns, ip, sysctl

pytestmark = pytest.mark.root

KINDS = [
    pytest.param(socket.SOCK_DGRAM, id="udp"),
    pytest.param(socket.SOCK_STREAM, id="tcp"),
]
SERVERS = [
    pytest.param("2001:db8:53::53", id="ipv6"),
    pytest.param("fe80::1", id="link-local"),
    pytest.param("198.51.100.53", id="ipv4"),
]
ETH_P_ALL = 3


def plug() -> None:
    """Two ways out: up0, ending in p0, and vpn0, ending in q0, which the routing table prefers."""
    for name in ("accept_dad", "router_solicitations"):
        sysctl(f"ipv6/conf/default/{name}", 0)
    for number, (near, far, metric) in enumerate([("up0", "p0", 600), ("vpn0", "q0", 50)]):
        ip(
            f"link add {near} type veth peer name {far}",
            f"link set {far} address 02:00:00:00:00:01",
            f"link set {far} up",
            f"link set {near} up",
            f"addr add 2001:db8:a{number}::5/64 dev {near} nodad",
            f"addr add 192.168.{number}.5/24 dev {near}",
            f"-6 route add default via fe80::1 dev {near} metric {metric}",
            f"route add default via 192.168.{number}.1 dev {near} metric {metric}",
            f"neigh add fe80::1 lladdr 02:00:00:00:00:01 dev {near}",
            f"neigh add 192.168.{number}.1 lladdr 02:00:00:00:00:01 dev {near}",
        )


def frames_to(listener: socket.socket, server: str) -> list[bytes]:
    """The IP packets for this server that came out at the other end of a cable by now."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in server else socket.AF_INET, server)
    place = slice(24, 40) if len(packed) == 16 else slice(16, 20)
    found: list[bytes] = []
    while True:
        try:
            packet = listener.recv(2048)
        except BlockingIOError:
            return found
        if packet[place] == packed:
            found.append(packet)


def capture(device: str) -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    listener.bind((device, ETH_P_ALL))
    return listener


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", SERVERS)
def test_packets_leave_by_the_device_though_another_has_the_better_route(kind: socket.SocketKind, server: str) -> None:
    address = IPv4Address(server) if "." in server else IPv6Address(server)

    def work() -> None:
        plug()
        with capture("p0") as wanted, capture("q0") as unwanted:
            index = socket.if_nametoindex("up0")
            with connected(kind, address, 53, interface="up0", ifindex=index) as opened:
                assert not opened.getblocking()
                if kind is socket.SOCK_DGRAM:
                    opened.send(b"question")
                packet = eventually(lambda: frames_to(wanted, server)[0], message="the first packet at up0's end")
                assert kind is socket.SOCK_STREAM or (packet is not None and packet.endswith(b"question"))
            assert frames_to(unwanted, server) == []
            # The capture itself sees what takes the preferred way.
            if not address.is_link_local:
                with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as plain:
                    plain.sendto(b"plain", (server, 53))
                    eventually(lambda: frames_to(unwanted, server)[0], message="an unbound packet at vpn0's end")

    in_new_netns(work)


def refused(address: IPv6Address, interface: str = "up0") -> int:
    with pytest.raises(HostError) as caught:
        connected(socket.SOCK_DGRAM, address, 53, interface=interface, ifindex=99)
    return caught.value.errno


def without_device() -> int:
    return refused(IPv6Address("2001:db8::53"), "gone0")


def without_route() -> int:
    ip("-6 route del default dev up0 metric 600")
    return refused(IPv6Address("2001:db8:53::53"))


@pytest.mark.parametrize(
    ("case", "numbers"),
    [
        (without_device, {errno.ENODEV}),
        (without_route, {errno.ENETUNREACH, errno.EHOSTUNREACH}),
    ],
    ids=["no-device", "no-route"],
)
def test_what_cannot_be_reached_over_the_device_is_an_error_of_ours(case: Callable[[], int], numbers: set[int]) -> None:
    def work() -> int:
        plug()
        return case()

    assert in_new_netns(work) in numbers


@pytest.mark.parametrize("server", ["::1", "127.0.0.1"])
def test_server_on_this_machine_is_reached_without_the_device(server: str) -> None:
    address = IPv4Address(server) if "." in server else IPv6Address(server)

    def work() -> None:
        plug()
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind((server, 53))
            listener.settimeout(5)
            with connected(socket.SOCK_DGRAM, address, 53, interface="up0", ifindex=2) as opened:
                opened.send(b"question")
                assert listener.recv(100) == b"question"

    in_new_netns(work)
