# SPDX-License-Identifier: GPL-2.0-or-later
"""Old connections kept in a device, and devices renamed, by the kernel itself in a network namespace."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from clatnm.errors import HostError
from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Ipv4Default, Netlink
from clatnm.translators.leftovers import cleanup
from tests.unit.aio import run, until
from tests.unit.kernel.namespace import in_new_netns, ip, ip_json

pytestmark = pytest.mark.root

ROUTE = Ipv4Default(source=IPv4Address("192.0.0.4"), metric=150, mtu_bytes=1472)
OTHER = IPv4Address("192.0.0.5")
CLAT = IPv6Address("2001:db8:a::c1a7")
FAR = "198.51.100.1"


@contextlib.contextmanager
def our_device(name: str = "clat-up0", source: IPv4Address = ROUTE.source) -> Iterator[tuple[Netlink, int]]:
    device = tun.open_tun(name)
    with Netlink() as kernel:
        yield kernel, kernel.set_up_device(name, address=source, mtu_bytes=1500)
        os.close(device.fd)


def native() -> None:
    """Another way out."""
    ip("link add up0 type veth peer name p0", "link set p0 up", "link set up0 up", "addr add 192.168.2.7/24 dev up0")
    ip("route add default via 192.168.2.1 dev up0 metric 100")


def rules() -> list[tuple[Any, ...]]:
    """Those that a new namespace does not have."""
    listed = ip_json("-4 -d rule show")
    return [(r["priority"], r["src"], r["protocol"]) for r in listed if r["priority"] not in (0, 32766, 32767)]


def tables() -> dict[str, list[tuple[str, str]]]:
    """Default routes by table: device and source."""
    found: dict[str, list[tuple[str, str]]] = {}
    for route in ip_json("-4 route show table all default"):
        found.setdefault(route.get("table", "main"), []).append((route["dev"], route.get("prefsrc", "")))
    return found


def way(source: str = "") -> str:
    """By which device a socket with that source would send."""
    return str(ip_json(f"route get {FAR} {f'from {source}' if source else ''}")[0]["dev"])


def test_pinned_source_keeps_its_device_and_others_go_elsewhere() -> None:
    def work() -> None:
        native()
        with our_device() as (kernel, index):
            kernel.pin(index, ROUTE.source, mtu_bytes=1472)
            assert (way(), way("192.168.2.7"), way("192.0.0.4")) == ("up0", "up0", "clat-up0")
            assert rules() == [(5000, "192.0.0.4", "164")]
            assert tables() == {"main": [("up0", "")], str(0xC1A70000 | index): [("clat-up0", "192.0.0.4")]}
            kernel.unpin(index, ROUTE.source)
            assert way("192.0.0.4") == "up0"
            assert (rules(), tables()) == ([], {"main": [("up0", "")]})
            kernel.unpin(index, ROUTE.source)  # gone already

    in_new_netns(work)


def test_pin_again_changes_the_mtu_and_nothing_is_there_twice() -> None:
    def work() -> None:
        with our_device() as (kernel, index):
            for mtu_bytes in (1472, 1252):
                kernel.pin(index, ROUTE.source, mtu_bytes=mtu_bytes)
            (route,) = ip_json("-4 route show table all default")
            assert route["metrics"] == [{"mtu": 1252}]
            assert (route["protocol"], route["scope"]) == ("164", "link")
            assert len(rules()) == 1
            kernel.unpin(index, ROUTE.source)  # whatever the MTU
            assert (rules(), tables()) == ([], {})

    in_new_netns(work)


def test_pin_by_a_device_that_is_gone_leaves_no_rule() -> None:
    def work() -> None:
        with Netlink() as kernel:
            with pytest.raises(HostError, match=r"cannot pin 192\.0\.0\.4") as caught:
                kernel.pin(99, ROUTE.source, mtu_bytes=1472)
            assert caught.value.errno == errno.ENODEV
            kernel.unpin(99, ROUTE.source)
        assert rules() == []

    in_new_netns(work)


def test_default_route_is_dropped_whatever_its_mtu() -> None:
    def work() -> None:
        with our_device() as (kernel, index):
            kernel.add_default_route(index, ROUTE)
            kernel.drop_default_route(index, replace(ROUTE, mtu_bytes=1252))
            assert tables() == {}

    in_new_netns(work)


def test_address_takes_default_route_and_senders_with_it() -> None:
    def work() -> None:
        native()
        with our_device() as (kernel, index), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            kernel.add_default_route(index, replace(ROUTE, metric=50))
            sock.connect((FAR, 9))
            assert sock.getsockname()[0] == "192.0.0.4"
            kernel.remove_address(index, ROUTE.source)
            assert tables() == {"main": [("up0", "")]}
            with pytest.raises(OSError, match=os.strerror(errno.ENETUNREACH)):
                sock.send(b"by no other way")
            kernel.remove_address(index, ROUTE.source)  # gone already

    in_new_netns(work)


def test_rule_is_what_a_killed_translator_leaves_and_cleanup_takes_it() -> None:
    def work() -> None:
        native()
        with our_device("clat-other", OTHER) as (kernel, other):
            kernel.pin(other, OTHER, mtu_bytes=1472)
            with our_device() as (dying, index):
                dying.pin(index, ROUTE.source, mtu_bytes=1472)
                assert cleanup(kernel) == []  # both are in use
            assert tables().keys() == {"main", str(0xC1A70000 | other)}
            assert len(rules()) == 2
            assert cleanup(kernel) == ["the rule for 192.0.0.4"]
            assert rules() == [(5000, "192.0.0.5", "164")]
            assert way("192.0.0.5") == "clat-other"

    in_new_netns(work)


def test_rule_of_an_earlier_device_with_the_same_address_is_found() -> None:
    def work() -> None:
        with our_device() as (kernel, index):
            kernel.pin(index, ROUTE.source, mtu_bytes=1472)
        with our_device() as (kernel, second):
            assert index != second
            kernel.pin(second, ROUTE.source, mtu_bytes=1472)
            assert way("192.0.0.4") == "clat-up0"  # the old rule is inert
            assert cleanup(kernel) == ["the rule for 192.0.0.4"]
            assert len(rules()) == 1
            assert way("192.0.0.4") == "clat-up0"

    in_new_netns(work)


@pytest.mark.parametrize(
    "rule",
    [
        "from 192.0.0.4 lookup 3248947213 priority 5000 protocol 99",
        "from 192.0.0.4 lookup 3248947213 priority 5001 protocol 164",
        "from 192.0.0.4 lookup 164 priority 5000 protocol 164",
        "to 192.0.0.4 lookup 3248947213 priority 5000 protocol 164",
    ],
)
def test_rule_of_somebody_else_stays(rule: str) -> None:
    def work() -> None:
        ip(f"rule add {rule}")
        before = ip_json("rule show")
        with Netlink() as kernel:
            assert cleanup(kernel) == []
        assert ip_json("rule show") == before

    in_new_netns(work)


# Names


def refuse_live(kernel: Netlink) -> None:
    """Be a kernel before Linux 6.3: no device that is up takes another name."""
    link = kernel.raw.link

    def obeyed(verb: str, **arguments: Any) -> Any:
        if "ifname" in arguments and "UP" in ip_json(f"link show {index_name(arguments['index'])}")[0]["flags"]:
            raise NetlinkError(errno.EBUSY, "busy")
        return link(verb, **arguments)

    kernel.raw.link = obeyed


def index_name(index: int) -> str:
    return socket.if_indextoname(index)


@pytest.mark.parametrize("live", [True, False])
def test_device_is_renamed_and_tells_what_it_lost(live: bool) -> None:
    def work() -> None:
        with our_device() as (kernel, index):
            kernel.add_default_route(index, ROUTE)
            kernel.take_in(index, CLAT)
            if not live:
                refuse_live(kernel)
            went_down = kernel.rename_device(index, "clat-old")
            assert index_name(index) == "clat-old"
            (device,) = ip_json("addr show clat-old")
            assert "UP" in device["flags"]
            assert [a["local"] for a in device["addr_info"]] == ["192.0.0.4"]
            assert went_down is not bool(tables()), "that the routes are gone is told"
            assert went_down is not any(r["dst"] == str(CLAT) for r in ip_json("-6 route show"))
            if went_down:  # they can be put back
                kernel.take_in(index, CLAT)
                kernel.add_default_route(index, ROUTE)
            assert tables() == {"main": [("clat-old", "192.0.0.4")]}

    in_new_netns(work)


@pytest.mark.parametrize("live", [True, False])
def test_name_that_is_taken_is_a_host_error_and_the_device_stays_up(live: bool) -> None:
    def work() -> None:
        ip("link add clat-old type veth peer name p1")
        with our_device() as (kernel, index):
            if not live:
                refuse_live(kernel)
            with pytest.raises(HostError, match="cannot rename the device to clat-old") as caught:
                kernel.rename_device(index, "clat-old")
            assert caught.value.errno == errno.EEXIST
            assert "UP" in ip_json("link show clat-up0")[0]["flags"]

    in_new_netns(work)


def test_rule_that_somebody_removed_is_put_back_and_heard_of() -> None:
    async def watch() -> None:
        host = Host()
        heard: list[int] = []
        watcher = host.watch_rules(lambda: heard.append(len(heard)))
        device = tun.open_tun("clat-up0")
        index = await host.do(lambda k: k.set_up_device("clat-up0", address=ROUTE.source, mtu_bytes=1500))
        await host.do(lambda k: k.pin(index, ROUTE.source, mtu_bytes=1472))
        await until(lambda: heard)
        del heard[:]
        assert not await host.do(lambda k: k.pin_again(index, ROUTE.source))
        ip("rule del priority 5000")
        await until(lambda: heard)
        assert await host.do(lambda k: k.pin_again(index, ROUTE.source))
        assert rules() == [(5000, "192.0.0.4", "164")]
        watcher.close()
        os.close(device.fd)
        await host.close()

    in_new_netns(lambda: run(watch()))
