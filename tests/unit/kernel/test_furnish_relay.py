# SPDX-License-Identifier: GPL-2.0-or-later
"""An Edge Relay's device, by the kernel itself in a network namespace: addresses, routes, what is taken in."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TypeVar

import pytest

from clatnm.errors import HostError
from clatnm.kernel import tun
from clatnm.kernel.furnish import Relaying, change_relay, furnish_relay
from tests.unit.kernel.namespace import in_new_netns, ip, ip_json

pytestmark = pytest.mark.root

T = TypeVar("T")
NAME = "clat-up0"
RELAYING = Relaying(
    addresses=(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.9")),
    routes=(IPv4Network("0.0.0.0/0"), IPv4Network("203.0.113.0/24")),
    metric=150,
    mtu_bytes=1472,
    taken_in=frozenset({IPv6Network("2001:db8:1::201/128"), IPv6Network("2001:db8:77::/112")}),
)


@contextlib.contextmanager
def device(name: str = NAME) -> Iterator[int]:
    made = tun.open_tun(name)
    try:
        yield socket.if_nametoindex(name)
    finally:
        os.close(made.fd)


def inside(work: Callable[[int], T]) -> T:
    def body() -> T:
        with device() as index:
            return work(index)

    return in_new_netns(body)


def addresses() -> list[str]:
    (link,) = ip_json(f"-4 addr show {NAME}")
    return [f"{info['local']}/{info['prefixlen']}" for info in link["addr_info"]]


def routes(family: int = 4) -> dict[tuple[str, int], tuple[str | None, int | None]]:
    """Destination and metric → source and MTU, of the main table."""
    return {
        (route["dst"], route.get("metric", 0)): (
            route.get("prefsrc"),
            next((metrics["mtu"] for metrics in route.get("metrics", []) if "mtu" in metrics), None),
        )
        for route in ip_json(f"-{family} route show dev {NAME}")
    }


def test_device_has_what_the_relay_is_told() -> None:
    def work(index: int) -> None:
        furnish_relay(index, RELAYING, mtu_bytes=1500)
        assert addresses() == ["192.0.2.1/32", "192.0.2.9/32"]
        assert routes() == {("default", 150): ("192.0.2.1", 1472), ("203.0.113.0/24", 150): ("192.0.2.1", 1472)}
        assert {dst for dst, _ in routes(6)} == {"2001:db8:1::201", "2001:db8:77::/112"}

    inside(work)


def test_router_for_others_has_no_address() -> None:
    def work(index: int) -> None:
        furnish_relay(index, replace(RELAYING, addresses=()), mtu_bytes=1500)
        assert not ip_json(f"-4 addr show {NAME}") or not addresses()
        assert routes() == {("default", 150): (None, 1472), ("203.0.113.0/24", 150): (None, 1472)}

    inside(work)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mtu_bytes": 1252}, id="mtu"),
        pytest.param({"metric": 9}, id="metric"),
        pytest.param({"metric": 9, "mtu_bytes": 1252}, id="both"),
        pytest.param(
            {"taken_in": frozenset({IPv6Network("2001:db8:77::/112"), IPv6Network("2001:db8:9::/64")})}, id="table"
        ),
    ],
)
def test_change_leads_to_the_same_as_a_start(changes: dict[str, object]) -> None:
    new = replace(RELAYING, **changes)  # type: ignore[arg-type]

    def started(index: int) -> object:
        furnish_relay(index, new, mtu_bytes=1500)
        return addresses(), routes(), routes(6)

    def changed(index: int) -> object:
        furnish_relay(index, RELAYING, mtu_bytes=1500)
        change_relay(index, RELAYING, new)
        return addresses(), routes(), routes(6)

    assert inside(changed) == inside(started)


def test_what_a_device_lost_while_it_was_down_is_put_back() -> None:
    def work(index: int) -> None:
        furnish_relay(index, RELAYING, mtu_bytes=1500)
        before = routes(), routes(6)
        for state in ("down", "up"):
            ip(f"link set {NAME} {state}")
        change_relay(index, None, RELAYING)
        assert (routes(), routes(6)) == before

    inside(work)


def test_ten_thousand_prefixes_are_taken_in() -> None:
    many = frozenset(IPv6Network((0x20010DB8 << 96) + 2 * number) for number in range(10_000))

    def work(index: int) -> None:
        furnish_relay(index, replace(RELAYING, taken_in=many), mtu_bytes=1500)
        assert len(routes(6)) == 10_000

    inside(work)


def test_mappings_that_another_relay_has_are_refused() -> None:
    """Else both would answer for them."""
    other_way = replace(RELAYING, addresses=(), metric=151)

    def work(index: int) -> None:
        with device("other0") as other:
            furnish_relay(other, other_way, mtu_bytes=1500)
            with pytest.raises(HostError, match="2001:db8:1::201/128: File exists") as caught:
                furnish_relay(index, RELAYING, mtu_bytes=1500)
            assert caught.value.errno == errno.EEXIST
            with pytest.raises(HostError, match="File exists"):
                change_relay(index, replace(RELAYING, taken_in=frozenset()), RELAYING)

    inside(work)


def test_route_that_somebody_else_has_is_named() -> None:
    def work(index: int) -> None:
        with device("other0") as other:
            furnish_relay(other, replace(RELAYING, addresses=(), taken_in=frozenset()), mtu_bytes=1500)
            with pytest.raises(HostError, match="IPv4 default route") as caught:
                furnish_relay(index, RELAYING, mtu_bytes=1500)
            assert caught.value.errno == errno.EEXIST

    inside(work)
