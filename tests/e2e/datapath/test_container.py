# SPDX-License-Identifier: GPL-2.0-or-later
"""A container behind the host's masquerading: a namespace whose IPv4 goes through the CLAT as the host's own."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, DUMMY, SERVER, Clat, Place, Rig
from tests.e2e.datapath.traffic import PMTUDISC_DO
from tests.lab.poll import eventually

NARROW, NARROW_V4 = 1280, 1260
ROUTE_MTU = 1472  # of the host's default route: 1500 - 28

_MASQUERADE = """
table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "clat-*" masquerade; }
}
"""


@pytest.fixture(scope="module")
def container(rig: Rig) -> Place:
    made = Place("box", rig.session)
    rig.host.batch(
        f"""
        link add box0 type veth peer name eth0 netns {made.netns}
        addr add 172.17.0.1/16 dev box0
        link set box0 up
        """
    )
    made.batch(
        """
        addr add 172.17.0.2/16 dev eth0
        link set eth0 up
        route add default via 172.17.0.1
        """
    )
    rig.host.sysctl(ipv4__ip_forward=1)
    rig.host.nft(_MASQUERADE)
    made.wait_up("eth0")
    return made


@pytest.fixture(params=[1500, NARROW], ids=["wide-path", "narrow-path"])
def path_mtu(rig: Rig, container: Place, clat: Clat, request: pytest.FixtureRequest) -> Iterator[int]:
    """What the link between the routers carries; nobody knows yet."""
    mtu: int = request.param
    _set_path(rig, container, mtu)
    yield mtu
    _set_path(rig, container, 1500)


def _set_path(rig: Rig, container: Place, mtu: int) -> None:
    for router in (rig.near, rig.far):
        router.ip("link", "set", "core0", "mtu", str(mtu))
    rig.forget_path_mtus()
    container.ip("route", "flush", "cache")


def test_tcp_gets_through_both_ways(container: Place, rig: Rig, path_mtu: int) -> None:
    traffic.upload(container, traffic.MIB)
    _set_path(rig, container, path_mtu)
    traffic.download(container, traffic.MIB)


def test_ping_is_answered(container: Place, clat: Clat) -> None:
    traffic.ping(container)
    traffic.ping(container, "-s", "1400")


@pytest.mark.parametrize("size", [4000, 30000])
def test_large_datagrams_arrive_unchanged_both_ways(container: Place, rig: Rig, path_mtu: int, size: int) -> None:
    with traffic.udp4(container) as inside, traffic.udp6(rig.server) as server:
        inside.settimeout(0.05)
        server.settimeout(0.05)
        sent = os.urandom(size)

        def comes_back() -> bool:
            try:
                inside.sendto(sent, (str(SERVER), traffic.port_of(server)))
                heard = traffic.hear(server)
                assert heard.peer[0] == str(CLAT)
                assert heard.data == sent
                server.sendto(sent, heard.peer)
                return traffic.hear(inside).data == sent
            except (TimeoutError, OSError):
                return False

        eventually(comes_back, timeout_s=3, message="the datagram comes back")


def test_fragmentation_needed_reaches_the_container(container: Place, rig: Rig, path_mtu: int) -> None:
    """From the host itself where its route is narrower, from the network where that is."""
    with traffic.udp4(container, pmtu=PMTUDISC_DO) as inside, traffic.udp6(rig.server) as server:
        inside.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        inside.connect((str(SERVER), traffic.port_of(server)))
        size, offender = (1473, "172.17.0.1") if path_mtu > NARROW else (ROUTE_MTU, DUMMY)
        inside.send(bytes(size - 28))
        error = eventually(lambda: traffic.icmp_error(inside), message="Fragmentation Needed")
        assert error is not None
        expected = ROUTE_MTU if path_mtu > NARROW else NARROW_V4
        assert (error.errno, error.mtu, str(error.offender)) == (errno.EMSGSIZE, expected, offender)
        inside.send(bytes(expected - 28))
        assert len(traffic.hear(server).data) == expected - 28


def test_closed_port_is_told_to_the_container(container: Place, rig: Rig, clat: Clat) -> None:
    with traffic.udp6(rig.server) as taken, traffic.udp4(container) as inside:
        port = traffic.port_of(taken)
        taken.close()
        inside.connect((str(SERVER), port))
        inside.send(b"knock")
        with pytest.raises(ConnectionRefusedError):
            inside.recv(1)


def test_unmasqueraded_source_goes_nowhere(container: Place, rig: Rig, clat: Clat) -> None:
    """RFC 7915 4.1 has no mapping for it: what the host forgets to masquerade must not leave as somebody else's."""
    with traffic.udp6(rig.server, timeout_s=0.2) as server, traffic.udp4(container) as inside:
        rig.host.nft("flush ruleset\n")
        try:
            inside.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
            inside.sendto(b"as I am", (str(SERVER), traffic.port_of(server)))
            traffic.ping(rig.host)  # the datagram was before this one in every queue
            with pytest.raises(TimeoutError):
                traffic.hear(server)
        finally:
            rig.host.nft(_MASQUERADE)
