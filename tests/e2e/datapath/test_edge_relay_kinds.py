# SPDX-License-Identifier: GPL-2.0-or-later
"""An Edge Relay (RFC 7756) of each kind: who translates, and who is told that he cannot be."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.datacentre import BOX_INSIDE, CLIENT, Datacentre, Site
from tests.e2e.datapath.rig import DUMMY, HOST_MAC, children
from tests.lab.poll import eventually

PROHIBITED = (3, 13)


def test_kernel_translates_alone_what_is_simple(centre: Datacentre) -> None:
    """With 10,000 mappings, and the process stopped: nothing gets there."""
    site = centre.behind_host()
    with centre.relay("ebpf", site) as service:
        (worker,) = children(service.pid)
        eventually(lambda: _hooked(centre), message="hooks on both devices")
        traffic.ping(centre.client, address=str(site.addresses[-1]))
        os.kill(worker, signal.SIGSTOP)
        try:
            for address in site.addresses:
                traffic.ping(centre.client, address=str(address))
                traffic.download(centre.client, traffic.MIB, server=address)
        finally:
            os.kill(worker, signal.SIGCONT)


def _hooked(centre: Datacentre) -> bool:
    """The device's hook comes last: what goes into it is not for the process any more."""
    before = _into_process(centre)
    traffic.ping(centre.box, address=str(CLIENT))
    return _into_process(centre) == before


def _into_process(centre: Datacentre) -> int:
    (link,) = centre.rig.host.ip_json("-s", "link", "show", "clat-wan0")
    return int(link["stats64"]["tx"]["packets"])


@pytest.mark.parametrize("other", ["ebpf-clsact", "tayga"])
def test_other_backends_do_the_same(centre: Datacentre, other: str) -> None:
    site = centre.on_host()
    with centre.relay(other, site):
        (address,) = site.addresses
        eventually(lambda: traffic.answers(centre.client, address=str(address)), message="the service answers")
        traffic.upload(centre.client, traffic.MIB, server=address)
        traffic.download(centre.client, traffic.MIB, server=address)


def test_host_that_forwards_ipv6_as_well_does_not_send_them_on(centre: Datacentre) -> None:
    """The kernel has the packets too, takes them for others', and would ask the network's router to have them back."""
    site = centre.behind_host(10)
    address = str(site.addresses[0])
    centre.rig.host.sysctl(ipv6__conf__all__forwarding=1)
    try:
        with centre.relay("tun", site):
            eventually(lambda: traffic.answers(centre.client, address=address), message="the service answers")
            told = centre.client.run("ping", "-c", "5", "-i", "0.02", "-W", "2", address).stdout
            assert "5 packets transmitted, 5 received, 0%" in told
            assert "DUP" not in told
    finally:
        centre.rig.host.sysctl(ipv6__conf__all__forwarding=0)


@pytest.mark.parametrize("mapped", ["10.65.0.0/16=2001:db8:1::1:0/112", "10.65.0.9=2001:db8:1::1:9"])
def test_mapped_addresses_of_the_link_are_answered_for(centre: Datacentre, mapped: str) -> None:
    """RFC 4861 7.2: one, as a member of its group, and 65536, by hearing all multicast."""
    asked = "2001:db8:1::1:9"

    def answered() -> bool:
        centre.rig.near.run("ping", "-c", "1", "-W", "0.1", asked, check=False)
        return HOST_MAC in centre.rig.near.ip("-6", "neigh", "show", asked)

    site = Site(place=centre.rig.host, addresses=(), options=("--eam", mapped, "--route", "198.18.0.0/15"))
    centre.rig.near.ip("-6", "neigh", "flush", "dev", "lan0")
    with centre.relay("tun", site):
        eventually(answered, message="an answer")


def test_sender_that_is_not_mapped_is_told(centre: Datacentre) -> None:
    """RFC 7915 4.4: as a host behind the relay that nobody has given an IPv6 address."""
    with centre.relay("tun", centre.behind_host(10)), traffic.udp4(centre.box) as sock:
        sock.bind((str(BOX_INSIDE), 0))
        sock.setsockopt(socket.IPPROTO_IP, traffic.IP_RECVERR, 1)
        sock.connect((str(CLIENT), 9))
        sock.send(b"who am I")
        error = eventually(lambda: traffic.icmp_error(sock), message="Communication Prohibited")
        assert error is not None
        assert (error.kind, error.code, str(error.offender)) == (*PROHIBITED, DUMMY)
