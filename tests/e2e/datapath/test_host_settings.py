# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever else a host does with its network, translated packets are none of its kernel's business."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, SERVER, Clat, Rig

_NO_IPV6 = """
define neighbours = { nd-neighbor-solicit, nd-neighbor-advert }
table ip6 closed {
  chain in { type filter hook input priority 0; policy drop; icmpv6 type $neighbours accept; }
  chain out { type filter hook output priority 0; policy drop; icmpv6 type $neighbours accept; }
  chain through { type filter hook forward priority 0; policy drop; }
}
"""


@pytest.fixture
def forwarding(rig: Rig) -> Iterator[None]:
    rig.host.sysctl(ipv6__conf__all__forwarding=1)
    yield
    rig.host.sysctl(ipv6__conf__all__forwarding=0)


@pytest.mark.usefixtures("forwarding")
def test_host_that_forwards_ipv6_does_not_look_for_the_clat_address(rig: Rig, clat: Clat) -> None:
    """It would not find it, and tell the sender: that ends connections."""
    with traffic.udp6(rig.server) as server:
        server.setsockopt(socket.IPPROTO_IPV6, traffic.IPV6_RECVERR, 1)
        server.settimeout(0)
        for size in (10, 4000):
            traffic.exchange(rig, size)
        traffic.download(rig.host, 2 * traffic.MIB)
        traffic.ping(rig.host)
        assert rig.host.ip("-6", "neigh", "show", "to", str(CLAT)) == ""
        assert traffic.icmp_error(server) is None
    assert clat.service.running


def test_closed_ipv6_firewall_does_not_concern_translated_packets(rig: Rig, clat: Clat) -> None:
    rig.host.nft(_NO_IPV6)
    try:
        traffic.exchange(rig, 1000)
        traffic.exchange(rig, 4000)
        traffic.download(rig.host, traffic.MIB)
        traffic.upload(rig.host, traffic.MIB)
        traffic.ping(rig.host)
    finally:
        rig.host.nft("flush ruleset\n")


def test_ipv4_firewall_sees_every_packet_as_ipv4(rig: Rig, clat: Clat) -> None:
    rig.host.nft(
        """
        table ip seen {
          chain in { type filter hook input priority 0; iifname "clat-wan0" counter; }
          chain out { type filter hook output priority 0; oifname "clat-wan0" udp dport 9 drop; }
        }
        """
    )
    try:
        traffic.exchange(rig, 4000)
        assert "counter packets 0" not in rig.host.run("nft", "list", "table", "ip", "seen").stdout
        with traffic.udp4(rig.host) as host, pytest.raises(PermissionError):
            host.sendto(b"refused here", (str(SERVER), 9))
    finally:
        rig.host.nft("flush ruleset\n")


def test_strict_reverse_path_filter_lets_replies_in(rig: Rig, clat: Clat) -> None:
    rig.host.sysctl(ipv4__conf__all__rp_filter=1)
    try:
        traffic.exchange(rig, 1000)
        traffic.exchange(rig, 4000)
        with traffic.udp4(rig.host) as host:
            host.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
            host.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
            host.sendto(b"as far as a router", (str(SERVER), 9))
            error = traffic.icmp_error(host)
            assert error is not None
            assert error.kind == 11
    finally:
        rig.host.sysctl(ipv4__conf__all__rp_filter=0)
