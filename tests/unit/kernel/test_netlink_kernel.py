# SPDX-License-Identifier: GPL-2.0-or-later
"""The same against the kernel itself, in a network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from pyroute2 import IPRoute

from clatnm.errors import HostError
from clatnm.kernel import tun
from clatnm.kernel.changes import Monitor
from clatnm.kernel.netlink import Ipv4Default, Netlink
from clatnm.model import Address6, DefaultRoute, Link
from tests.lab.poll import eventually
from tests.unit.aio import run, until
from tests.unit.kernel.namespace import in_new_netns, ip, ip_batch, ip_json, sysctl

pytestmark = pytest.mark.root

ROUTE = Ipv4Default(source=IPv4Address("192.0.0.4"), metric=150, mtu_bytes=1472)


def plug() -> None:
    """up0 with a carrier, an address and a way out; p0 is the other end of the cable."""
    for name in ("accept_dad", "router_solicitations"):  # nothing that happens by itself, later
        sysctl(f"ipv6/conf/default/{name}", 0)
    ip(
        "link add up0 address 02:00:00:00:00:05 type veth peer name p0",
        "link set p0 up",
        "link set up0 up",
        "addr add 2001:db8:a::5/64 dev up0 nodad",
        "route add default via fe80::1 dev up0 metric 100",
    )


def links() -> dict[str, Link]:
    with Netlink() as kernel:
        return kernel.links()


def addresses(name: str) -> dict[str, Address6]:
    return {str(a.address): a for a in links()[name].addresses6 if not a.address.is_link_local}


def test_links_are_what_ip_made() -> None:
    def work() -> dict[str, Link]:
        plug()
        ip(
            "addr add 192.168.2.7/24 dev up0",
            "addr add 10.0.0.2 peer 10.0.0.1 dev up0",
            "route add default via 192.168.2.1 dev up0 metric 600",
            "-6 route add 2001:db8:b::/64 via fe80::2 dev up0",
            "-6 route add default via fe80::2 dev up0 metric 50 table 100",
            "-6 route add unreachable default metric 4000",
        )
        return links()

    found = in_new_netns(work)
    assert set(found) == {"lo", "up0", "p0"}
    up0 = found["up0"]
    assert (up0.name, up0.carrier, up0.ipv6_mtu_bytes) == ("up0", True, 1500)
    assert up0.link_address == bytes.fromhex("020000000005")
    assert up0.addresses4 == {IPv4Address("192.168.2.7"), IPv4Address("10.0.0.2")}
    assert {str(a.address) for a in up0.addresses6} == {"2001:db8:a::5", "fe80::ff:fe00:5"}
    assert up0.default4 == (DefaultRoute(gateway=IPv4Address("192.168.2.1"), metric=600),)
    assert up0.default6 == (DefaultRoute(gateway=IPv6Address("fe80::1"), metric=100),)
    assert found["lo"].link_address is None


def test_address_flags_are_the_kernels() -> None:
    def work() -> dict[str, Address6]:
        plug()
        sysctl("ipv6/conf/up0/accept_dad", 1)
        sysctl("ipv6/conf/up0/dad_transmits", 20)  # tentative for as long as the test takes
        ip(
            "addr add 2001:db8:b::5/64 dev up0 nodad preferred_lft 0 valid_lft 600",
            "addr add 2001:db8:c::5/128 dev up0 nodad noprefixroute",
            "addr add 2001:db8:d::5/64 dev up0",
        )
        return addresses("up0")

    found = in_new_netns(work)
    plain = Address6(address=IPv6Address("2001:db8:a::5"), prefixlen=64)
    assert found == {
        "2001:db8:a::5": plain,
        "2001:db8:b::5": replace(plain, address=IPv6Address("2001:db8:b::5"), deprecated=True),
        "2001:db8:c::5": replace(plain, address=IPv6Address("2001:db8:c::5"), prefixlen=128),
        "2001:db8:d::5": replace(plain, address=IPv6Address("2001:db8:d::5"), tentative=True),
    }


def test_mtu_of_ipv6_counts() -> None:
    def work() -> list[int]:
        plug()
        told = [links()["up0"].ipv6_mtu_bytes]
        sysctl("ipv6/conf/up0/mtu", 1400)
        told.append(links()["up0"].ipv6_mtu_bytes)
        ip("link set up0 mtu 1300")
        told.append(links()["up0"].ipv6_mtu_bytes)
        return told

    assert in_new_netns(work) == [1500, 1400, 1300]


def test_flap_leaves_its_trace() -> None:
    def work() -> tuple[Link, Link, Link]:
        plug()
        before = links()["up0"]
        ip("link set p0 down")
        eventually(lambda: links()["up0"].default6 == (), message="the way over a link without carrier is none")
        between = links()["up0"]
        ip("link set p0 up")
        return before, between, links()["up0"]

    before, between, after = in_new_netns(work)
    assert (before.carrier, between.carrier, after.carrier) == (True, False, True)
    assert before.carrier_changes < between.carrier_changes < after.carrier_changes


def test_link_whose_supplicant_has_not_authenticated_has_no_carrier() -> None:
    def work() -> list[bool]:
        plug()
        seen = [links()["up0"].carrier]
        ip("link set up0 mode dormant", "link set p0 down")
        eventually(lambda: ip_json("link show up0")[0]["operstate"] == "LOWERLAYERDOWN", message="it is down")
        ip("link set p0 up")
        eventually(lambda: ip_json("link show up0")[0]["operstate"] == "DORMANT", message="the kernel waits")
        seen.append(links()["up0"].carrier)
        with IPRoute() as supplicant:
            supplicant.link("set", index=links()["up0"].index, operstate="UP")
        return [*seen, links()["up0"].carrier]

    assert in_new_netns(work) == [True, False, True]


def test_multipath_default_route_is_one_a_link() -> None:
    def work() -> dict[str, Link]:
        plug()
        ip(
            "link add up1 type veth peer name p1",
            "link set p1 up",
            "link set up1 up",
            "-6 route replace default metric 100 nexthop via fe80::1 dev up0 nexthop via fe80::2 dev up1",
            "addr add 10.0.0.2/24 dev up0",
            "addr add 10.0.1.2/24 dev up1",
            "route add default metric 7 nexthop via 10.0.0.1 dev up0 nexthop via 10.0.1.1 dev up1",
        )
        return links()

    found = in_new_netns(work)
    told = {name: [str(r.gateway) for r in (*link.default4, *link.default6)] for name, link in found.items()}
    assert told == {"lo": [], "up0": ["10.0.0.1", "fe80::1"], "up1": ["10.0.1.1", "fe80::2"], "p0": [], "p1": []}


# Our device


@contextlib.contextmanager
def our_device(name: str = "clat-up0") -> Iterator[tuple[Netlink, int]]:
    device = tun.open_tun(name)
    with Netlink() as kernel:
        yield kernel, kernel.set_up_device(name, address=ROUTE.source, mtu_bytes=1500)
    os.close(device.fd)


def test_our_device_has_an_address_and_no_ipv6() -> None:
    def work() -> Any:
        with our_device():
            return ip_json("addr show clat-up0")[0], ip_json("-d link show clat-up0")[0]

    addresses, link = in_new_netns(work)
    assert [(a["local"], a["prefixlen"]) for a in addresses["addr_info"]] == [("192.0.0.4", 32)]
    assert (link["mtu"], link["txqlen"], link["inet6_addr_gen_mode"]) == (1500, 1000, "none")
    assert "UP" in link["flags"]


def test_default_route_is_added_changed_and_dropped() -> None:
    def work() -> list[Any]:
        told = []
        with our_device() as (kernel, index):
            kernel.add_default_route(index, ROUTE)
            told.append(ip_json("-4 route show default"))
            kernel.change_default_route(index, replace(ROUTE, mtu_bytes=1372))
            told.append(ip_json("-4 route show default"))
            kernel.drop_default_route(index, replace(ROUTE, mtu_bytes=1372))
            told.append(ip_json("-4 route show default"))
            kernel.drop_default_route(index, ROUTE)  # gone already
            kernel.set_device_mtu(index, 1400)
            told.append(ip_json("link show clat-up0")[0]["mtu"])
        return told

    (added,), (changed,), dropped, mtu = in_new_netns(work)
    assert (added["dev"], added["metric"], added["prefsrc"]) == ("clat-up0", 150, "192.0.0.4")
    assert (added["protocol"], added["scope"]) == ("164", "link")
    assert [metric.get("mtu") for metric in (*added["metrics"], *changed["metrics"])] == [1472, 1372]
    assert dropped == []
    assert mtu == 1400


def test_route_of_somebody_else_is_never_replaced_nor_dropped() -> None:
    def work() -> tuple[int, Any]:
        plug()
        ip("addr add 10.0.0.2/24 dev up0", "route add default via 10.0.0.1 dev up0 metric 150")
        with our_device() as (kernel, index):
            with pytest.raises(HostError) as caught:
                kernel.add_default_route(index, ROUTE)
            kernel.drop_default_route(index, ROUTE)
            return caught.value.errno, ip_json("-4 route show default")

    number, routes = in_new_netns(work)
    assert number == errno.EEXIST
    assert [(route["gateway"], route["dev"]) for route in routes] == [("10.0.0.1", "up0")]


def test_everything_is_gone_with_the_descriptor() -> None:
    def work() -> tuple[Any, set[str]]:
        with our_device() as (kernel, index):
            kernel.add_default_route(index, ROUTE)
        return ip_json("-4 route show"), set(links())

    assert in_new_netns(work) == ([], {"lo"})


# Monitor


def watched(work: Callable[[Callable[[], int]], Coroutine[Any, Any, None]]) -> None:
    """Run `work` with a monitor; what it is given says how often the monitor called."""

    async def watch() -> None:
        changes: list[None] = []
        monitor = Monitor(lambda: changes.append(None))
        await work(lambda: len(changes))
        monitor.close()

    in_new_netns(lambda: run(watch()))


async def quiet(changes: Callable[[], int]) -> int:
    """How many changes there were when, for a while, there have been no more (the kernel has afterthoughts)."""
    seen = -1
    while changes() != seen:
        seen = changes()
        await asyncio.sleep(0.03)
    return seen


@pytest.mark.parametrize(
    "command",
    [
        "link set p0 down",
        "link set up0 mtu 1400",
        "addr add 2001:db8:c::5/64 dev up0",
        "addr add 10.0.0.2/24 dev up0",
        "-6 route add default via fe80::2 dev up0 metric 50",
        "-6 route del default",
        "link add up9 type veth peer name p9",
    ],
)
def test_monitor_hears_what_matters(command: str) -> None:
    async def work(changes: Callable[[], int]) -> None:
        plug()
        before = await quiet(changes)
        ip(command)
        await until(lambda: changes() > before)

    watched(work)


@pytest.mark.parametrize(
    ("routes", "calls"),
    [pytest.param(40, 0, id="some-are-read"), pytest.param(2000, 1, id="too-many-are-lost-and-then-anything-may-be")],
)
def test_monitor_does_not_wake_anybody_for_other_routes(routes: int, calls: int) -> None:
    async def work(changes: Callable[[], int]) -> None:
        plug()
        before = await quiet(changes)
        ip_batch(*(f"route add 2001:db8:{n:x}::/64 dev up0" for n in range(16, 16 + routes)))
        assert await quiet(changes) == before + calls

    watched(work)


def test_neighbour_is_looked_for_and_known_when_it_is_there() -> None:
    here, nobody = IPv6Address("fe80::ff:fe00:6"), IPv6Address("fe80::99")
    there = f"clatnm-there-{os.getpid()}"

    def work() -> tuple[bool, bool, list[str]]:
        ip(
            "link add up0 type veth peer name p0 address 02:00:00:00:00:06",
            f"netns add {there}",
            f"link set p0 netns {there}",
            f"-n {there} link set p0 up",
            "link set up0 up",
        )
        try:
            index = links()["up0"].index
            with Netlink() as kernel:
                eventually(lambda: kernel.meet(index, here), message="the neighbour is known")
                known = kernel.meet(index, nobody)
            asked = [str(entry["dst"]) for entry in ip_json("-6 neigh show dev up0")]
            return known, kernel_leaves_it_alone(index, here), asked
        finally:
            ip(f"netns del {there}")

    known, same, asked = in_new_netns(work)
    assert not known
    assert same
    assert str(nobody) in asked


def kernel_leaves_it_alone(index: int, neighbour: IPv6Address) -> bool:
    ip(f"neigh replace {neighbour} dev up0 lladdr 02:00:00:00:00:77 nud permanent")
    with Netlink() as kernel:
        assert kernel.meet(index, neighbour)
    (entry,) = [entry for entry in ip_json("-6 neigh show dev up0") if entry["dst"] == str(neighbour)]
    return bool(entry["lladdr"] == "02:00:00:00:00:77")
