# SPDX-License-Identifier: GPL-2.0-or-later
"""Our address goes when somebody else's comes to the uplink, in the kernel itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from clatnm.kernel.guard import Guard
from tests.lab.poll import eventually
from tests.unit.kernel.namespace import in_new_netns, ip, ip_batch, ip_json

pytestmark = pytest.mark.root

OURS = IPv4Address("192.0.0.4")
DEFAULT = "route add default dev clat-up0 src 192.0.0.4 metric 150"


def machine() -> None:
    ip("link add up0 type veth peer name up1", "link add clat-up0 type veth peer name far")
    ip(*(f"link set {name} up" for name in ("up0", "up1", "clat-up0", "far")))
    ip("addr add 192.0.0.4/32 dev clat-up0", DEFAULT)


def ours() -> list[str]:
    """Our device's addresses, and where the default route leads."""
    addresses = [entry["local"] for link in ip_json("-4 addr show dev clat-up0") for entry in link["addr_info"]]
    return [*addresses, *(route["dev"] for route in ip_json("-4 route show default"))]


def watched(work: Callable[[Guard, threading.Event], None], *, before: str = "") -> None:
    """Do that in a machine whose up0 is watched."""

    def inside() -> None:
        machine()
        if before:
            ip(before)
        told = threading.Event()
        threads = threading.active_count()
        guard = Guard(socket.if_nametoindex("up0"), tripped=told.set)
        try:
            work(guard, told)
        finally:
            guard.close()
            guard.close()
        assert threading.active_count() == threads

    in_new_netns(inside)


def protect(guard: Guard) -> None:
    guard.protect(socket.if_nametoindex("clat-up0"), OURS)


@pytest.mark.parametrize("address", ["192.0.0.0", "192.0.0.5", "192.0.0.7"])
def test_address_and_route_go_when_the_manager_translates(address: str) -> None:
    def work(guard: Guard, told: threading.Event) -> None:
        protect(guard)
        ip(f"addr add {address}/32 dev up0")
        assert told.wait(5)
        assert guard.tripped
        eventually(lambda: ours() == [], timeout_s=2, message="ours is gone")

    watched(work)


def test_address_that_is_there_already_counts() -> None:
    def work(guard: Guard, told: threading.Event) -> None:
        protect(guard)
        assert told.wait(5)
        eventually(lambda: ours() == [], timeout_s=2, message="ours is gone")

    watched(work, before="addr add 192.0.0.5/32 dev up0")


def test_device_that_comes_too_late_loses_its_address_as_well() -> None:
    def work(guard: Guard, told: threading.Event) -> None:
        ip("addr add 192.0.0.5/32 dev up0")
        assert told.wait(5)
        assert ours() == ["192.0.0.4", "clat-up0"]
        protect(guard)
        assert ours() == []

    watched(work)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("addr add 192.0.0.8/32 dev up0", id="rfc7335-past-the-29"),
        pytest.param("addr add 192.0.0.5/32 dev up1", id="another-uplink"),
        pytest.param("addr add 192.0.0.3/32 dev clat-up0", id="our-own-device"),
        pytest.param("addr add 2001:db8::5/64 dev up0", id="ipv6"),
        pytest.param("addr add 10.0.0.5/24 dev up0", id="native"),
    ],
)
def test_whatever_else_comes_is_no_reason(command: str) -> None:
    def work(guard: Guard, told: threading.Event) -> None:
        protect(guard)
        ip(command)
        # The kernel's messages are heard in their order.
        assert not told.wait(0.2)
        assert not guard.tripped
        ip("addr add 192.0.0.6/32 dev up0")
        assert told.wait(5)

    watched(work)


def test_flood_of_addresses_hides_nothing() -> None:
    def work(guard: Guard, told: threading.Event) -> None:
        protect(guard)
        ip_batch(
            *(f"addr add 10.9.{n >> 8}.{n & 255}/32 dev up1" for n in range(3000)), "addr add 192.0.0.5/32 dev up0"
        )
        assert told.wait(5)
        eventually(lambda: ours() == [], timeout_s=2, message="ours is gone")

    watched(work)
