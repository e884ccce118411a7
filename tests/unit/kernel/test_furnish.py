# SPDX-License-Identifier: GPL-2.0-or-later
"""A device furnished in one message, by the kernel itself in a network namespace: the same as request by request."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm.errors import HostError
from clatnm.kernel import tun
from clatnm.kernel.furnish import Ipv4Default, furnish
from clatnm.kernel.netlink import Netlink
from tests.unit.kernel.namespace import in_new_netns, ip, ip_json, sysctl

pytestmark = pytest.mark.root

ADDRESS, CLAT = IPv4Address("192.0.0.4"), IPv6Address("2001:db8:a::c1a7")
ROUTE = Ipv4Default(source=ADDRESS, metric=150, mtu_bytes=1472)
NAME = "clat-up0"


@contextlib.contextmanager
def device() -> Iterator[int]:
    """A bare one; its index."""
    made = tun.open_tun(NAME)
    try:
        yield socket.if_nametoindex(NAME)
    finally:
        os.close(made.fd)


def seen() -> list[Any]:
    """All that `ip` shows of it; the index is the same in each namespace."""
    shown = [f"-d link show {NAME}", f"addr show {NAME}", "-4 -d route show table all", "-6 -d route show table all"]
    return [[{**item, "qdisc": None, "operstate": None} for item in ip_json(command)] for command in shown]


def done_by(work: Callable[[int], None]) -> list[Any]:
    def inside() -> list[Any]:
        with device() as index:
            work(index)
            return seen()

    return in_new_netns(inside)


def test_route_and_guest_are_as_if_asked_for_one_by_one() -> None:
    def one_by_one(index: int) -> None:
        furnish(index, address=ADDRESS, mtu_bytes=1500)
        with Netlink() as kernel:
            kernel.take_in(index, CLAT)
            kernel.add_default_route(index, ROUTE)

    at_once = done_by(lambda index: furnish(index, address=ADDRESS, mtu_bytes=1500, take_in=CLAT, route=ROUTE))
    assert at_once == done_by(one_by_one)
    _, _, routes4, routes6 = at_once
    assert [route["metrics"] for route in routes4 if route["dst"] == "default"] == [[{"mtu": 1472}]]
    assert [route["dev"] for route in routes6 if route["dst"] == str(CLAT)] == [NAME]


def test_device_is_up_with_its_address_and_no_ipv6() -> None:
    (link,), (addresses,), _, _ = done_by(lambda index: furnish(index, address=ADDRESS, mtu_bytes=1400))
    assert [(a["local"], a["prefixlen"]) for a in addresses["addr_info"]] == [("192.0.0.4", 32)]
    assert (link["mtu"], link["txqlen"], link["inet6_addr_gen_mode"]) == (1400, 1000, "none")
    assert "UP" in link["flags"]


def test_no_ipv6_at_all_is_no_obstacle() -> None:
    def work(index: int) -> None:
        sysctl(f"ipv6/conf/{NAME}/disable_ipv6", 1)
        furnish(index, address=ADDRESS, mtu_bytes=1500, take_in=CLAT, route=ROUTE)

    _, _, routes4, routes6 = done_by(work)
    assert "default" in {route["dst"] for route in routes4}
    assert str(CLAT) not in {route["dst"] for route in routes6}


def refused(work: Callable[[int], None]) -> HostError:
    def inside() -> HostError:
        with device() as index, pytest.raises(HostError) as caught:
            work(index)
        return caught.value

    return in_new_netns(inside)


def test_metric_that_is_taken_is_an_error() -> None:
    def work(index: int) -> None:
        ip("link add up0 type veth peer name p0", "link set up0 up", "addr add 10.0.0.2/24 dev up0")
        ip("route add default via 10.0.0.1 dev up0 metric 150")
        furnish(index, address=ADDRESS, mtu_bytes=1500, route=ROUTE)

    error = refused(work)
    assert error.errno == errno.EEXIST
    assert error.what.startswith("cannot add the IPv4 default route: ")


@pytest.mark.parametrize(
    ("wrong", "number"),
    [
        pytest.param({"mtu_bytes": 10}, errno.EINVAL, id="mtu"),
        pytest.param({"mtu_bytes": 70000}, errno.EINVAL, id="mtu-too-large"),
    ],
)
def test_refused_device_is_an_error(wrong: dict[str, Any], number: int) -> None:
    error = refused(lambda index: furnish(index, **{"address": ADDRESS, "mtu_bytes": 1500, **wrong}))
    assert (error.errno, error.what) == (number, f"cannot set up the device: {os.strerror(number)}")


def test_device_that_is_gone_is_an_error() -> None:
    error = refused(lambda index: furnish(index + 1000, address=ADDRESS, mtu_bytes=1500, route=ROUTE))
    assert error.errno == errno.ENODEV


def test_source_that_is_nobodys_is_refused_as_by_the_library() -> None:
    route = replace(ROUTE, source=IPv4Address("192.0.0.7"))
    error = refused(lambda index: furnish(index, address=ADDRESS, mtu_bytes=1500, route=route))
    assert error.errno == errno.EINVAL
