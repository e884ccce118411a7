# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever IPv4 carries arrives unchanged in both directions."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, DUMMY, FAR_HOP, SERVER, SERVER6, Clat, Rig
from tests.lab.poll import eventually

TCP, GRE, ESP, SCTP, EXPERIMENT = 6, 47, 50, 132, 253
EXPEDITED = 46 << 2
IPV6 = 0x86DD
PORT_UNREACHABLE_V4, PORT_UNREACHABLE_V6 = (3, 3), (1, 4)
SOURCE_ROUTE_FAILED, TIME_EXCEEDED_V4, TIME_EXCEEDED_V6 = (3, 5), (11, 0), (3, 0)

pytestmark = pytest.mark.usefixtures("clat")


@pytest.mark.parametrize("size", [0, 1, 1000, 1444, 1445, 1472, 4000, 30000, 65507])
def test_datagrams_arrive_unchanged_both_ways(rig: Rig, size: int) -> None:
    traffic.exchange(rig, size)


@pytest.mark.parametrize("size", [0, 1, 56, 1300, 1444, 1472, 4000, 30000])
def test_ping_is_answered(rig: Rig, size: int) -> None:
    traffic.ping(rig.host, "-s", str(size))


@pytest.mark.parametrize("size", [56, 1400, 4000])
def test_ping_from_the_server_is_answered(rig: Rig, size: int) -> None:
    traffic.ping(rig.server, "-I", str(SERVER6), "-s", str(size), address=str(CLAT))


def test_tcp_carries_megabytes_both_ways(rig: Rig) -> None:
    traffic.download(rig.host, 8 * traffic.MIB)
    traffic.upload(rig.host, 8 * traffic.MIB)


def test_tcp_that_knows_congestion_notification_carries_megabytes(rig: Rig) -> None:
    """RFC 3168: the flags in the header and, in large packets, beside it."""
    for place in (rig.host, rig.server):
        place.sysctl(ipv4__tcp_ecn=1)
    try:
        with rig.near.packets("lan0", IPV6) as wire:
            traffic.upload(rig.host, 2 * traffic.MIB)
            while not capable(frame := wire.recv(2000)):
                assert frame[22:38] == CLAT.packed or frame[20] != TCP
        traffic.download(rig.host, 2 * traffic.MIB)
    finally:
        for place in (rig.host, rig.server):
            place.sysctl(ipv4__tcp_ecn=2)


def capable(frame: bytes) -> bool:
    """An IPv6 packet marked as of a sender that heeds congestion marks: ECT(0)."""
    return frame[15] >> 4 & 3 == 2


def test_connection_from_outside_is_taken_or_refused(rig: Rig) -> None:
    with rig.host.sock(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("", 0))
        port = int(listener.getsockname()[1])
        with rig.server.sock(socket.AF_INET6, socket.SOCK_STREAM) as server:
            server.bind((str(SERVER6), 0))
            assert server.connect_ex((str(CLAT), port)) == errno.ECONNREFUSED
        listener.listen()
        with rig.server.sock(socket.AF_INET6, socket.SOCK_STREAM) as server:
            server.bind((str(SERVER6), 0))
            server.connect((str(CLAT), port))
            host, peer = listener.accept()
            with host:
                assert peer[0] == str(SERVER)
                server.sendall(b"hello")
                assert host.recv(5, socket.MSG_WAITALL) == b"hello"


@pytest.mark.parametrize(
    "address", ["224.0.0.251", "239.1.2.3", "255.255.255.255", "169.254.1.1", "0.0.0.5", "240.0.0.1"]
)
def test_what_has_no_place_beyond_the_link_does_not_leave(rig: Rig, clat: Clat, address: str) -> None:
    """RFC 7915 4.1 has it as any other packet; RFC 1812 5.3.7, RFC 3927 2.7 and common sense do not."""
    with traffic.udp4(rig.host, device=clat.device) as host, traffic.udp6(rig.server) as server:
        host.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        with rig.near.packets("lan0", IPV6) as wire:
            with contextlib.suppress(OSError):  # the kernel may refuse on its own
                host.sendto(b"stay here", (address, 9))
            host.sendto(b"mark", (str(SERVER), traffic.port_of(server)))
            while b"mark" not in (frame := wire.recv(2000)):
                assert b"stay here" not in frame


@pytest.mark.parametrize("size", [1, 17, 1400])
def test_datagram_without_checksum_gets_one(rig: Rig, size: int) -> None:
    """RFC 7915 4.5: IPv6 hosts drop what has none."""
    host = traffic.udp4(rig.host)
    host.setsockopt(socket.SOL_SOCKET, traffic.SO_NO_CHECK, 1)
    traffic.exchange(rig, size, host=host)


def test_fragmented_datagram_without_checksum_is_refused(rig: Rig) -> None:
    """RFC 7915 4.5: nobody who sees its fragments one by one can know the checksum."""
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        there = str(SERVER), traffic.port_of(server)
        host.setsockopt(socket.SOL_SOCKET, traffic.SO_NO_CHECK, 1)
        host.sendto(bytes(4000), there)
        host.setsockopt(socket.SOL_SOCKET, traffic.SO_NO_CHECK, 0)
        host.sendto(b"with one", there)
        assert traffic.hear(server).data == b"with one"


@pytest.mark.parametrize("size", [100, 4000], ids=["whole", "fragmented"])
@pytest.mark.parametrize("tos", [EXPEDITED, EXPEDITED | 1, EXPEDITED | 2, 3, 0xFF], ids=hex)
def test_dscp_and_ecn_are_kept_both_ways(rig: Rig, tos: int, size: int) -> None:
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        host.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        server.setsockopt(socket.IPPROTO_IPV6, traffic.IPV6_TCLASS, tos)
        host.sendto(bytes(size), (str(SERVER), traffic.port_of(server)))
        heard = traffic.hear(server)
        assert heard.tos == tos
        server.sendto(bytes(size), heard.peer)
        assert traffic.hear(host).tos == tos


@pytest.mark.parametrize("size", [10, 4000], ids=["whole", "fragmented"])
def test_closed_port_of_the_server_is_told_to_the_hosts_socket(rig: Rig, size: int) -> None:
    with traffic.udp6(rig.server) as taken, traffic.udp4(rig.host) as host:
        host.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        port = traffic.port_of(taken)
        taken.close()
        host.connect((str(SERVER), port))
        sent = os.urandom(size)
        host.send(sent)
        error = eventually(lambda: traffic.icmp_error(host), message="the error")
        assert error is not None
        assert (error.errno, error.kind, error.code) == (errno.ECONNREFUSED, *PORT_UNREACHABLE_V4)
        assert str(error.offender) == str(SERVER)
        assert len(error.data) >= min(size, 500)
        assert sent.startswith(error.data)


@pytest.mark.parametrize("size", [10, 4000], ids=["whole", "fragmented"])
def test_closed_port_of_the_host_is_told_to_the_servers_socket(rig: Rig, size: int) -> None:
    with traffic.udp4(rig.host) as taken, traffic.udp6(rig.server) as server:
        server.setsockopt(socket.IPPROTO_IPV6, traffic.IPV6_RECVERR, 1)
        taken.bind(("", 0))
        port = traffic.port_of(taken)
        taken.close()
        server.connect((str(CLAT), port))
        sent = os.urandom(size)
        server.send(sent)
        error = eventually(lambda: traffic.icmp_error(server), message="the error")
        assert error is not None
        assert (error.errno, error.kind, error.code) == (errno.ECONNREFUSED, *PORT_UNREACHABLE_V6)
        assert error.offender == CLAT
        assert len(error.data) >= min(size, 500)
        assert sent.startswith(error.data)


def test_refused_tcp_connection_is_refused_at_once(rig: Rig) -> None:
    with rig.host.sock(socket.AF_INET, socket.SOCK_STREAM) as host:
        assert host.connect_ex((str(SERVER), 1)) == errno.ECONNREFUSED


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("01010101", id="no-operation"),
        pytest.param("94040000", id="router-alert"),
        pytest.param("070b0400000000000000000000", id="record-route"),
        pytest.param("440c0500000000000000000000000000", id="timestamp"),
    ],
)
@pytest.mark.parametrize("size", [10, 4000], ids=["whole", "fragmented"])
def test_options_are_left_out(rig: Rig, options: str, size: int) -> None:
    """RFC 7915 4.1"""
    host = traffic.udp4(rig.host)
    host.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes.fromhex(options))
    traffic.exchange(rig, size, host=host)


def test_source_route_fails_as_said(rig: Rig) -> None:
    """RFC 7915 4.1: not one byte of it goes out, and the sender is told."""
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        host.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        host.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x83\x07\x04" + SERVER.packed + b"\0")
        host.sendto(b"by way of", (str(FAR_HOP), traffic.port_of(server)))
        error = eventually(lambda: traffic.icmp_error(host), message="the error")
        assert error is not None
        assert (error.kind, error.code) == SOURCE_ROUTE_FAILED


@pytest.mark.parametrize("size", [8, 9, 1400, 4000])
@pytest.mark.parametrize("protocol", [GRE, ESP, SCTP, EXPERIMENT], ids=["gre", "esp", "sctp", "experiment"])
def test_other_protocols_are_carried_untouched(rig: Rig, protocol: int, size: int) -> None:
    """RFC 7915 4.5, 5.5: their checksums, if any, do not cover addresses."""
    with (
        rig.host.sock(socket.AF_INET, socket.SOCK_RAW, protocol) as host,
        rig.server.sock(socket.AF_INET6, socket.SOCK_RAW, protocol) as server,
    ):
        server.bind((str(SERVER6), 0))
        there, back = os.urandom(size), os.urandom(size)
        host.sendto(there, (str(SERVER), 0))
        heard = traffic.hear(server)
        assert (heard.data, heard.peer[0]) == (there, str(CLAT))
        server.sendto(back, (str(CLAT), 0))
        packet = traffic.hear(host).data
        assert packet[(packet[0] & 15) * 4 :] == back


def test_hops_show_themselves_to_the_host(rig: Rig) -> None:
    """What traceroute does: ourselves, a router with no IPv4 address, one that has one, and the server."""
    told = []
    with traffic.udp6(rig.server) as taken, traffic.udp4(rig.host) as host:
        host.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        port = traffic.port_of(taken)
        taken.close()
        for hops in (1, 2, 3, 4):
            host.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            sent = struct.pack("!I", hops) * 10
            host.sendto(sent, (str(SERVER), port))
            error = eventually(lambda: traffic.icmp_error(host), message=f"what hop {hops} says")
            assert error is not None
            assert sent.startswith(error.data)
            assert error.data
            told.append((str(error.offender), error.kind, error.code))
    assert told == [
        (DUMMY, *TIME_EXCEEDED_V4),
        (DUMMY, *TIME_EXCEEDED_V4),
        (str(FAR_HOP), *TIME_EXCEEDED_V4),
        (str(SERVER), *PORT_UNREACHABLE_V4),
    ]


def test_hops_show_themselves_to_the_server(rig: Rig) -> None:
    """Two routers, the translator, the host: the latter two with one address."""
    told = []
    with traffic.udp4(rig.host) as taken, traffic.udp6(rig.server) as server:
        server.setsockopt(socket.IPPROTO_IPV6, traffic.IPV6_RECVERR, 1)
        taken.bind(("", 0))
        peer = traffic.peer_of(taken)
        taken.close()
        for hops in (1, 2, 3, 4):
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
            server.sendto(b"how far is it", peer)
            error = eventually(lambda: traffic.icmp_error(server), message=f"what hop {hops} says")
            assert error is not None
            told.append((str(error.offender), error.kind, error.code))
    assert told == [
        ("2001:db8:5::1", *TIME_EXCEEDED_V6),
        ("2001:db8:c0::1", *TIME_EXCEEDED_V6),
        (str(CLAT), *TIME_EXCEEDED_V6),
        (str(CLAT), *PORT_UNREACHABLE_V6),
    ]
