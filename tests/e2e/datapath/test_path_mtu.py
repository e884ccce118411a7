# SPDX-License-Identifier: GPL-2.0-or-later
"""A link of 1280 bytes between the routers: whoever sends too much learns it, and everything arrives."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, DUMMY, SERVER, Rig
from tests.e2e.datapath.traffic import PMTUDISC_DO, PMTUDISC_DONT, PMTUDISC_WANT
from tests.lab.poll import eventually

NARROW = 1280
NARROW_V4 = NARROW - 20  # an IPv4 packet that fits when it is translated
FRAGMENTATION_NEEDED = (3, 4)

pytestmark = pytest.mark.usefixtures("clat", "narrow")


@pytest.fixture
def narrow(rig: Rig) -> Iterator[None]:
    """The link is narrow, and nobody knows yet."""
    for router in (rig.near, rig.far):
        router.ip("link", "set", "core0", "mtu", str(NARROW))
    rig.forget_path_mtus()
    yield
    rig.forget_path_mtus()


def test_tcp_gets_through_both_ways(rig: Rig) -> None:
    traffic.upload(rig.host, traffic.MIB)
    assert f"mtu {NARROW_V4}" in rig.host.ip("route", "get", str(SERVER))
    rig.forget_path_mtus()  # or the host asks for small segments from the start
    traffic.download(rig.host, traffic.MIB)
    assert f"mtu {NARROW}" in rig.server.ip("-6", "route", "get", str(CLAT))


def test_socket_that_forbids_fragments_learns_the_size(rig: Rig) -> None:
    with traffic.udp4(rig.host, pmtu=PMTUDISC_DO) as host, traffic.udp6(rig.server) as server:
        host.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        host.connect((str(SERVER), traffic.port_of(server)))
        host.send(bytes(1444))
        error = eventually(lambda: traffic.icmp_error(host), message="Fragmentation Needed")
        assert error is not None
        assert (error.errno, error.kind, error.code) == (errno.EMSGSIZE, *FRAGMENTATION_NEEDED)
        assert (error.mtu, str(error.offender)) == (NARROW_V4, DUMMY)
        assert host.getsockopt(socket.IPPROTO_IP, traffic.IP_MTU) == NARROW_V4
        with pytest.raises(OSError, match=os.strerror(errno.EMSGSIZE)):
            host.send(bytes(NARROW_V4 - 27))
        host.send(bytes(NARROW_V4 - 28))
        assert len(traffic.hear(server).data) == NARROW_V4 - 28


@pytest.mark.parametrize("pmtu", [PMTUDISC_DONT, PMTUDISC_WANT], ids=["without-df", "with-df"])
@pytest.mark.parametrize("size", [1444, 4000, 30000])
def test_other_sockets_get_everything_through_after_the_first_loss(rig: Rig, size: int, pmtu: int) -> None:
    with traffic.udp4(rig.host, pmtu=pmtu) as host, traffic.udp6(rig.server) as server:
        server.settimeout(0.05)
        sent = os.urandom(size)

        def arrives() -> bool:
            try:
                host.sendto(sent, (str(SERVER), traffic.port_of(server)))
                return traffic.hear(server).data == sent
            except (TimeoutError, OSError):
                return False

        eventually(arrives, timeout_s=3, message="the datagram arrives")


@pytest.mark.parametrize("size", [1300, 4000])
def test_large_ping_is_answered_after_the_first_losses(rig: Rig, size: int) -> None:
    rig.host.run("ping", "-c", "4", "-i", "0.05", "-W", "0.5", "-s", str(size), str(SERVER))


@pytest.mark.parametrize("size", [1444, 4000, 30000])
def test_server_is_told_by_the_network_and_everything_arrives(rig: Rig, size: int) -> None:
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        host.bind(("", 0))
        host.settimeout(0.05)
        sent = os.urandom(size)

        def arrives() -> bool:
            try:
                server.sendto(sent, traffic.peer_of(host))
                return traffic.hear(host).data == sent
            except (TimeoutError, OSError):
                return False

        eventually(arrives, timeout_s=3, message="the datagram arrives")
