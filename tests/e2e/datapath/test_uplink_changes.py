# SPDX-License-Identifier: GPL-2.0-or-later
"""An uplink that goes away, comes back or is not alone."""

from __future__ import annotations

import os
import threading
from ipaddress import IPv6Address

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import GATEWAY, SERVER, Clat, Rig
from tests.lab.poll import eventually

SECOND_CLAT = IPv6Address("2001:db8:2::c1a7")


def add_uplink(rig: Rig) -> None:
    """A second uplink, wan1, to the same router."""
    rig.host.batch(f"link add wan1 index 12 type veth peer name lan1 index 22 netns {rig.near.netns}")
    rig.near.batch(
        f"""
        addr add {GATEWAY}/64 dev lan1 nodad
        addr add 2001:db8:2::1/64 dev lan1 nodad
        link set lan1 up
        """
    )
    rig.host.batch(
        f"""
        link set wan1 up
        addr add 2001:db8:2::10/64 dev wan1 nodad
        route add default via {GATEWAY} dev wan1 metric 2048
        """
    )
    rig.host.wait_up("wan1")


def test_two_uplinks_reach_the_same_server_at_once(own_rig: Rig, backend: str) -> None:
    add_uplink(own_rig)
    both = own_rig.translate(backend), own_rig.translate(backend, uplink="wan1", clat_v6=SECOND_CLAT)
    host, server = own_rig.host, own_rig.server
    assert len({clat.ready.clat_v4 for clat in both}) == 2
    with traffic.udp6(server) as there:
        for clat in both:
            for size in (10, 4000):
                with traffic.udp4(host, device=clat.device) as here:
                    data = os.urandom(size)
                    here.sendto(data, (str(SERVER), traffic.port_of(there)))
                    heard = traffic.hear(there)
                    assert (heard.data, heard.peer[0]) == (data, str(clat.ready.clat_v6))
                    there.sendto(data, heard.peer)
                    assert traffic.hear(here).data == data
    failures: list[BaseException] = []

    def transfer(clat: Clat) -> None:
        try:
            traffic.download(host, 4 * traffic.MIB, device=clat.device)
            traffic.upload(host, 4 * traffic.MIB, device=clat.device)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=transfer, args=(clat,)) for clat in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    the_end_of_one_leaves_the_other(own_rig, *both)


def the_end_of_one_leaves_the_other(own_rig: Rig, first: Clat, second: Clat) -> None:
    assert f"dev {first.device} " in own_rig.host.ip("route", "get", str(SERVER))
    first.stop()
    assert f"dev {second.device} " in own_rig.host.ip("route", "get", str(SERVER))
    traffic.ping(own_rig.host)
    traffic.exchange(own_rig, 4000)


def test_carrier_lost_and_found_is_survived(own_rig: Rig, backend: str) -> None:
    with own_rig.translate(backend):
        traffic.ping(own_rig.host)
        own_rig.near.ip("link", "set", "lan0", "down")
        assert not traffic.answers(own_rig.host)
        own_rig.near.batch(
            f"""
            link set lan0 up
            addr add 2001:db8:1::1/64 dev lan0 nodad
            addr add {GATEWAY}/64 dev lan0 nodad
            """
        )
        eventually(lambda: traffic.answers(own_rig.host), message="packets flow again")
        traffic.exchange(own_rig, 4000)


def test_uplink_down_and_up_again_is_survived(own_rig: Rig, backend: str) -> None:
    clat = own_rig.translate(backend)
    traffic.ping(own_rig.host)
    own_rig.host.ip("link", "set", "wan0", "down")
    assert not traffic.answers(own_rig.host)
    own_rig.join_host("wan0", "2001:db8:1::10")
    eventually(lambda: traffic.answers(own_rig.host), message="packets flow again")
    traffic.exchange(own_rig, 4000)
    clat.stop()


@pytest.mark.parametrize("change", ["renamed", "removed", "moved"])
def test_uplink_that_is_gone_ends_it_with_a_reason(own_rig: Rig, backend: str, change: str) -> None:
    before = own_rig.host.devices()
    clat = own_rig.translate(backend)
    traffic.ping(own_rig.host)
    match change:
        case "renamed":
            own_rig.host.ip("link", "set", "wan0", "name", "wan9")
            before ^= {"wan0", "wan9"}
        case "removed":
            own_rig.host.ip("link", "del", "wan0")
            before -= {"wan0"}
        case "moved":
            own_rig.host.ip("link", "set", "wan0", "netns", own_rig.server.netns)
            before -= {"wan0"}
    assert clat.service.wait() in (1, 2)
    told = [line for line in clat.service.log().splitlines() if not line.startswith("ready ")]
    assert len(told) == 1, told
    assert told[0].startswith("error: ")
    assert "wan0" in told[0]
    assert own_rig.host.devices() == before
    assert own_rig.host.ip("-4", "route") == ""
