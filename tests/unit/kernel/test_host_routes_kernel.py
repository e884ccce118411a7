# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes of ours to single hosts, against the kernel."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address
from typing import Any

import pytest

from clatnm.errors import HostError
from clatnm.kernel.netlink import Ipv4Default, Netlink
from tests.unit.kernel.namespace import in_new_netns, ip, ip_json

pytestmark = pytest.mark.root

FAR = IPv4Address("198.51.100.20")
ROUTE = Ipv4Default(source=IPv4Address("192.0.0.4"), metric=150, mtu_bytes=1472)


def device() -> int:
    ip(
        "link add clat-x type veth peer name x",
        "link set x up",
        "link set clat-x up",
        "addr add 192.0.0.4/32 dev clat-x",
    )
    return socket.if_nametoindex("clat-x")


def routes() -> list[dict[str, Any]]:
    return [route for route in ip_json("-4 route show") if route["dst"] == str(FAR)]


def test_host_route_is_like_the_default_route_and_goes_again() -> None:
    def work() -> None:
        index = device()
        with Netlink() as kernel:
            kernel.add_host_route(index, FAR, ROUTE)
            (route,) = routes()
            assert (route["dev"], route["prefsrc"], route["metric"]) == ("clat-x", "192.0.0.4", 150)
            assert {"mtu": 1472} in route["metrics"]
            kernel.drop_host_route(index, FAR, ROUTE)
            assert routes() == []
            kernel.drop_host_route(index, FAR, ROUTE)  # again is fine

    in_new_netns(work)


def test_route_of_somebody_else_is_neither_replaced_nor_dropped() -> None:
    def work() -> None:
        index = device()
        ip(f"route add {FAR} dev x metric 150")
        with Netlink() as kernel:
            with pytest.raises(HostError) as refused:
                kernel.add_host_route(index, FAR, ROUTE)
            assert refused.value.errno == errno.EEXIST
            kernel.drop_host_route(index, FAR, ROUTE)
        assert [route["dev"] for route in routes()] == ["x"]

    in_new_netns(work)
