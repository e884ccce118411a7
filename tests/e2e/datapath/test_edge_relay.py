# SPDX-License-Identifier: GPL-2.0-or-later
"""An Edge Relay (RFC 7756): services that know IPv4 only, reached from the IPv4 Internet over a network without it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.datacentre import CLIENT, Datacentre, Site
from tests.e2e.datapath.rig import PREFIX
from tests.e2e.datapath.traffic import PMTUDISC_DO
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN

NARROW = 1280
FRAGMENTATION_NEEDED = (3, 4)


@pytest.fixture(scope="module", params=["host", "router-of-10000"])
def site(request: pytest.FixtureRequest, centre: Datacentre, backend: str) -> Iterator[Site]:
    """Services with the Edge Relay that leads to them."""
    made = centre.on_host() if request.param == "host" else centre.behind_host()
    with centre.relay(backend, made):
        eventually(
            lambda: traffic.answers(centre.client, address=str(made.addresses[0])), message="the service answers"
        )
        yield made


def test_services_are_reached_and_reach_out(centre: Datacentre, site: Site) -> None:
    for address in site.addresses:
        traffic.ping(centre.client, "-s", "1400", address=str(address))
        traffic.download(centre.client, traffic.MIB, server=address)
        traffic.upload(centre.client, traffic.MIB, server=address)
    with contextlib.closing(centre.client.sock(socket.AF_INET, socket.SOCK_STREAM)) as listening:
        listening.bind((str(CLIENT), 0))
        listening.listen()
        with contextlib.closing(site.place.sock(socket.AF_INET, socket.SOCK_STREAM)) as calling:
            calling.connect((str(CLIENT), traffic.port_of(listening)))
            taken, (caller, _) = listening.accept()
            taken.close()
            assert caller == str(site.addresses[0])  # address transparency is what all this is for


def test_second_relay_of_the_same_mappings_is_refused_and_the_first_goes_on(centre: Datacentre, site: Site) -> None:
    words = (str(VENV_BIN / "clatnm"), "translate", "--uplink", "wan0", "--plat-prefix", str(PREFIX), *site.options)
    beside = ("--device", "clat-other", "--route", "198.51.100.0/24")
    for options, told in (((), "has a translator already"), (beside, "in use on clat-wan0|File exists")):
        result = centre.rig.host.run(*words, *options, check=False)
        assert result.returncode != 0
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert re.search(told, line), line
    traffic.ping(centre.client, address=str(site.addresses[0]))


@pytest.mark.parametrize("size", [4000, 30000])
def test_fragments_arrive_both_ways(centre: Datacentre, site: Site, size: int) -> None:
    with traffic.udp4(centre.client) as client, traffic.udp4(site.place) as service:
        service.bind((str(site.addresses[-1]), 0))
        there, back = os.urandom(size), os.urandom(size)
        client.settimeout(1.0)
        service.settimeout(1.0)

        def comes_back() -> bool:
            try:
                client.sendto(there, service.getsockname())
                heard = traffic.hear(service)
                service.sendto(back, heard.peer)
                return (heard.data, heard.peer[0], traffic.hear(client).data) == (there, str(CLIENT), back)
            except (TimeoutError, OSError):
                return False

        eventually(comes_back, message="the datagram comes back")


def test_closed_ports_are_told_both_ways(centre: Datacentre, site: Site) -> None:
    for here, there, address in (
        (centre.client, site.place, site.addresses[-1]),
        (site.place, centre.client, CLIENT),
    ):
        with traffic.udp4(there) as taken, traffic.udp4(here) as knocking:
            taken.bind((str(address), 0))
            port = traffic.port_of(taken)
            taken.close()
            knocking.connect((str(address), port))
            knocking.send(b"knock")
            with pytest.raises(ConnectionRefusedError):
                knocking.recv(1)


@pytest.fixture
def narrow(centre: Datacentre, site: Site) -> Iterator[None]:
    """The IPv6 network in between carries 1280 bytes, and nobody knows yet."""
    _set_path(centre, NARROW)
    yield
    _set_path(centre, 1500)


def _set_path(centre: Datacentre, mtu: int) -> None:
    for router in (centre.rig.near, centre.rig.far):
        router.ip("link", "set", "core0", "mtu", str(mtu))
    centre.rig.forget_path_mtus()
    for place in (centre.client, centre.box):
        place.ip("route", "flush", "cache")


@pytest.mark.usefixtures("narrow")
def test_narrow_network_is_told_both_ways(centre: Datacentre, site: Site) -> None:
    address = site.addresses[-1]
    for here, there, far in ((site.place, centre.client, CLIENT), (centre.client, site.place, address)):
        with traffic.udp4(here, pmtu=PMTUDISC_DO) as sending, traffic.udp4(there) as hearing:
            hearing.bind((str(far), 0))
            sending.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
            sending.connect(hearing.getsockname())
            sending.send(bytes(1400))
            error = eventually(lambda: traffic.icmp_error(sending), message="Fragmentation Needed")
            assert error is not None
            assert (error.errno, error.kind, error.code) == (errno.EMSGSIZE, *FRAGMENTATION_NEEDED)
            assert error.mtu == NARROW - 20
            sending.send(bytes(NARROW - 20 - 28))
            assert len(traffic.hear(hearing).data) == NARROW - 20 - 28
    traffic.upload(centre.client, traffic.MIB // 4, server=address)
