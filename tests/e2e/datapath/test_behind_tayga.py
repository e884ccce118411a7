# SPDX-License-Identifier: GPL-2.0-or-later
"""Through another implementation: TAYGA translates back what we translate, and a real IPv4 network lies behind it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import DUMMY
from tests.lab.host import Host
from tests.lab.inet import ECHO_PORT
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.within import Within

CLOSED_PORT = 9
NARROW_V4 = 1280
PORT_UNREACHABLE, TIME_EXCEEDED, FRAGMENTATION_NEEDED = (3, 3), (11, 0), (3, 4)


@pytest.fixture
def host(quick_lab: Lab, backend: str) -> Host:
    quick_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\n")
    return clat.join(quick_lab).host


@pytest.fixture
def narrow(quick_lab: Lab) -> Iterator[None]:
    """The IPv4 link behind the NAT64 carries less than the others."""
    quick_lab.a.ip("link", "set", "wan", "mtu", str(NARROW_V4))
    yield
    quick_lab.a.ip("link", "set", "wan", "mtu", "1500")


def carried(lab: Lab) -> int:
    """Packets that TAYGA has taken."""
    return int(lab.a.ip_json("-s", "link", "show", "dev", "nat64")[0]["stats64"]["tx"]["packets"])


def test_everything_gets_through(quick_lab: Lab, host: Host) -> None:
    before = carried(quick_lab)
    for size in (56, 1300, 1400):  # it does not take ICMP in fragments (RFC 7915 1.2)
        clat.ping(host, clat.INET, "-s", str(size))
    clat.udp_echo(host, 100, 1444, 4000, 30000)
    clat.download(host, 4 * clat.MIB)
    clat.upload(host, 4 * clat.MIB)
    assert carried(quick_lab) - before > 1000


def test_path_shows_the_routers_behind(host: Host) -> None:
    told = []
    with traffic.udp4(Within.of(host)) as sock:
        sock.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        for hops in range(1, 9):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            sock.sendto(b"who is there", (clat.INET, CLOSED_PORT))
            error = eventually(lambda: traffic.icmp_error(sock), message=f"what hop {hops} says")
            assert error is not None
            told.append((str(error.offender), error.kind, error.code))
            if error.kind != TIME_EXCEEDED[0]:
                break
    assert told[0] == (DUMMY, *TIME_EXCEEDED)  # ourselves
    assert all(step[1:] == TIME_EXCEEDED for step in told[:-1])
    assert told[-1] == (clat.INET, *PORT_UNREACHABLE)
    assert {step[0] for step in told[:-1]} - {DUMMY}, told  # at least the NAT64 has an IPv4 address of its own


@pytest.mark.usefixtures("narrow")
def test_narrow_ipv4_link_is_learnt(host: Host) -> None:
    """RFC 7915 5.2: what TAYGA made 1300 of is 1280 again."""
    with traffic.udp4(Within.of(host), pmtu=traffic.PMTUDISC_DO) as sock:
        sock.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        sock.connect((clat.INET, ECHO_PORT))
        sock.send(bytes(1400))
        error = eventually(lambda: traffic.icmp_error(sock), message="Fragmentation Needed")
        assert error is not None
        assert (error.errno, error.kind, error.code) == (errno.EMSGSIZE, *FRAGMENTATION_NEEDED)
        assert error.mtu == NARROW_V4
        data = os.urandom(NARROW_V4 - 28)
        sock.send(data)
        assert sock.recv(2000) == data
    clat.upload(host, clat.MIB)
