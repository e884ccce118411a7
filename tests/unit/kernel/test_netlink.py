# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's messages mean and what we ask of it, against a library that answers from a table."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from clatnm.errors import HostError
from clatnm.kernel import changes, netlink
from clatnm.kernel.netlink import Ipv4Default, Netlink
from clatnm.model import Address6, DefaultRoute, Link

ROUTE = Ipv4Default(source=IPv4Address("192.0.0.4"), metric=150, mtu_bytes=1472)


class Message(dict[str, Any]):
    """A message as the library has it: header fields as items, attributes by name."""

    def __init__(self, attributes: dict[str, Any], **header: Any) -> None:
        super().__init__(header)
        self._attributes = attributes

    def get_attr(self, name: str) -> Any:
        return self._attributes.get(name)


def a_link(index: int = 2, name: str = "eth0", **attributes: Any) -> Message:
    header = {"flags": attributes.pop("flags", 0x11043), "ifi_type": attributes.pop("ifi_type", 1)}
    told = {"IFLA_IFNAME": name, "IFLA_MTU": 1500, "IFLA_ADDRESS": "02:00:00:00:00:05", "IFLA_CARRIER_CHANGES": 3}
    return Message({**told, **attributes}, index=index, **header)


def an_address(text: str, *, index: int = 2, prefixlen: int = 64, flags: int = 0x80, **attributes: Any) -> Message:
    told = {"IFA_ADDRESS": text, "IFA_FLAGS": flags, **attributes}
    return Message(told, index=index, prefixlen=prefixlen, flags=flags & 0xFF)


def a_route(gateway: str | None = "fe80::1", *, oif: int | None = 2, metric: int | None = 100, **other: Any) -> Message:
    header = {"dst_len": 0, "table": 254, "type": 1, "flags": 0}
    header.update({key: other.pop(key) for key in list(other) if key in header})
    return Message({"RTA_OIF": oif, "RTA_GATEWAY": gateway, "RTA_PRIORITY": metric, **other}, **header)


class FakeIPRoute:
    """The library: tells what it is given, notes what it is asked, fails when told to."""

    def __init__(self) -> None:
        self.addresses: list[Message] = []
        self.routes: dict[int, list[Message]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self.links: list[Message] = [a_link()]
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.fault: Exception | None = None
        self.interruptions = 0
        self.closed = False

    def get_addr(self) -> Iterator[Message]:
        yield from self.addresses
        if self.interruptions:  # as 0.7.2 tells it, after the last message
            self.interruptions -= 1
            raise NetlinkDumpInterrupted()

    def get_routes(self, *, family: int) -> list[Message]:
        return self.routes[family]

    def get_links(self) -> list[Message]:
        if self.fault is not None:
            raise self.fault
        return self.links

    def close(self) -> None:
        self.closed = True

    def _ask(self, what: str, verb: str, arguments: dict[str, Any]) -> None:
        self.asked.append((what, verb, arguments))
        if self.fault is not None:
            raise self.fault

    def link(self, verb: str, **arguments: Any) -> None:
        self._ask("link", verb, arguments)

    def addr(self, verb: str, **arguments: Any) -> None:
        self._ask("addr", verb, arguments)

    def route(self, verb: str, **arguments: Any) -> None:
        self._ask("route", verb, arguments)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeIPRoute:
    fake = FakeIPRoute()
    monkeypatch.setattr(netlink, "IPRoute", lambda: fake)
    return fake


def the_link(library: FakeIPRoute) -> Link:
    (link,) = Netlink().links().values()
    return link


# Links


def test_ethernet_link_is_read_whole(library: FakeIPRoute) -> None:
    library.addresses = [an_address("2001:db8:a::5"), an_address("192.168.2.7", prefixlen=24)]
    library.routes = {socket.AF_INET: [a_route("192.168.2.1", metric=600)], socket.AF_INET6: [a_route()]}
    assert Netlink().links() == {
        "eth0": Link(
            index=2,
            name="eth0",
            ipv6_mtu_bytes=1500,
            carrier=True,
            carrier_changes=3,
            link_address=bytes.fromhex("020000000005"),
            addresses4=frozenset({IPv4Address("192.168.2.7")}),
            addresses6=(Address6(address=IPv6Address("2001:db8:a::5"), prefixlen=64),),
            default4=(DefaultRoute(gateway=IPv4Address("192.168.2.1"), metric=600),),
            default6=(DefaultRoute(gateway=IPv6Address("fe80::1"), metric=100),),
        )
    }


@pytest.mark.parametrize(
    ("flags", "carrier"),
    [
        pytest.param(0x11043, True, id="up-and-running"),
        pytest.param(0x1003, False, id="unplugged"),
        pytest.param(0x10002, False, id="down-with-carrier"),
        pytest.param(0, False, id="down"),
        pytest.param(0x11003, True, id="the-kernel-has-not-yet-come-to-it"),
    ],
)
def test_carrier_is_up_and_lower_up(library: FakeIPRoute, flags: int, carrier: bool) -> None:
    library.links = [a_link(flags=flags)]
    assert the_link(library).carrier is carrier


@pytest.mark.parametrize(
    ("mode", "state", "carrier"),
    [
        pytest.param(0, "UP", True, id="nobody-authenticates"),
        pytest.param(0, "UNKNOWN", True, id="a-driver-that-does-not-tell"),
        pytest.param(1, "UP", True, id="wifi-authenticated"),
        pytest.param(1, "DORMANT", False, id="wifi-associated"),
        pytest.param(1, "DOWN", False, id="wifi-associated-this-moment"),
    ],
)
def test_link_in_dormant_mode_has_a_carrier_once_its_supplicant_says_so(
    library: FakeIPRoute, mode: int, state: str, carrier: bool
) -> None:
    library.links = [a_link(IFLA_LINKMODE=mode, IFLA_OPERSTATE=state)]
    assert the_link(library).carrier is carrier


@pytest.mark.parametrize(
    ("kind", "address", "expected"),
    [
        pytest.param(1, "02:00:00:00:00:05", bytes.fromhex("020000000005"), id="ethernet"),
        pytest.param(65534, None, None, id="tun"),
        pytest.param(519, "00:00", None, id="wwan-raw-ip"),
        pytest.param(512, None, None, id="ppp"),
        pytest.param(772, "00:00:00:00:00:00", None, id="loopback"),
        pytest.param(1, None, None, id="ethernet-without-address"),
    ],
)
def test_link_address_is_an_ethernet_one_or_none(
    library: FakeIPRoute, kind: int, address: str | None, expected: bytes | None
) -> None:
    library.links = [a_link(ifi_type=kind, IFLA_ADDRESS=address)]
    assert the_link(library).link_address == expected


@pytest.mark.parametrize(
    ("device", "conf", "expected"),
    [
        pytest.param(1500, {"mtu": 1500}, 1500, id="equal"),
        pytest.param(1500, {"mtu": 1280}, 1280, id="rfc4861-router-says-less"),
        pytest.param(1280, {"mtu": 1500}, 1280, id="device-made-smaller"),
        pytest.param(1500, None, 1500, id="ipv6-off"),
        pytest.param(None, None, 0, id="device-without-mtu"),
    ],
)
def test_mtu_is_what_device_and_ipv6_allow(
    library: FakeIPRoute, device: int | None, conf: dict[str, int] | None, expected: int
) -> None:
    inner = Message({"IFLA_INET6_CONF": conf})
    spec = None if conf is None else Message({"AF_INET6": inner})
    library.links = [a_link(IFLA_MTU=device, IFLA_AF_SPEC=spec)]
    assert the_link(library).ipv6_mtu_bytes == expected


def test_link_without_carrier_counter_has_none(library: FakeIPRoute) -> None:
    library.links = [a_link(IFLA_CARRIER_CHANGES=None)]
    assert the_link(library).carrier_changes == 0


# Addresses

PLAIN = Address6(address=IPv6Address("2001:db8::5"), prefixlen=64)
FLAGS: dict[str, tuple[int, Address6 | None]] = {
    "permanent": (0x80, PLAIN),
    "rfc4862-tentative": (0xC0, replace(PLAIN, tentative=True)),
    "rfc4862-deprecated": (0x20, replace(PLAIN, deprecated=True)),
    "rfc8981-temporary": (0x01, replace(PLAIN, temporary=True)),
    "noprefixroute-past-8-bits": (0x200, PLAIN),
    "all": (0x61, replace(PLAIN, tentative=True, deprecated=True, temporary=True)),
    "rfc4862-5.4.5-duplicate": (0xC8, None),
}


@pytest.mark.parametrize(("flags", "expected"), FLAGS.values(), ids=FLAGS)
def test_ipv6_address_has_the_kernels_opinion(library: FakeIPRoute, flags: int, expected: Address6 | None) -> None:
    library.addresses = [an_address("2001:db8::5", flags=flags)]
    assert the_link(library).addresses6 == (() if expected is None else (expected,))


def test_old_kernel_tells_flags_in_the_header(library: FakeIPRoute) -> None:
    library.addresses = [Message({"IFA_ADDRESS": "2001:db8::5"}, index=2, prefixlen=64, flags=0x20)]
    assert the_link(library).addresses6[0].deprecated


def test_point_to_point_address_is_our_own_not_the_peers(library: FakeIPRoute) -> None:
    library.addresses = [an_address("10.0.0.1", prefixlen=32, IFA_LOCAL="10.0.0.2")]
    assert the_link(library).addresses4 == {IPv4Address("10.0.0.2")}


def test_addresses_are_sorted_and_of_their_link(library: FakeIPRoute) -> None:
    library.links = [a_link(), a_link(3, "eth1")]
    library.addresses = [an_address("2001:db8::9"), an_address("2001:db8::5"), an_address("2001:db8::7", index=3)]
    library.addresses += [Message({}, index=2, prefixlen=0, flags=0), an_address("2001:db8::1", index=99)]
    told = {name: [str(a.address) for a in link.addresses6] for name, link in Netlink().links().items()}
    assert told == {"eth0": ["2001:db8::5", "2001:db8::9"], "eth1": ["2001:db8::7"]}


# Default routes


def hop(gateway: str | None, oif: int, *, flags: int = 0) -> Message:
    return Message({"RTA_GATEWAY": gateway}, oif=oif, flags=flags)


ROUTES: dict[str, tuple[Message, list[tuple[str | None, int]]]] = {
    "plain": (a_route(), [("fe80::1", 100)]),
    "no-gateway": (a_route(None), [(None, 100)]),
    "no-metric": (a_route(metric=None), [("fe80::1", 0)]),
    "table-in-attribute": (a_route(table=0, RTA_TABLE=254), [("fe80::1", 100)]),
    "multipath": (a_route(None, oif=None, RTA_MULTIPATH=[hop("fe80::2", 2), hop("fe80::3", 3)]), [("fe80::2", 100)]),
    "multipath-one-dead": (
        a_route(None, oif=None, RTA_MULTIPATH=[hop("fe80::2", 2, flags=1), hop("fe80::3", 2)]),
        [("fe80::3", 100)],
    ),
    "longer-prefix": (a_route(dst_len=64), []),
    "other-table": (a_route(table=100), []),
    "other-table-in-attribute": (a_route(table=252, RTA_TABLE=1000), []),
    "unreachable": (a_route(None, oif=1, type=7), []),
    "blackhole-without-device": (a_route(None, oif=None, type=6), []),
    "dead": (a_route(flags=0x01), []),
    "link-down": (a_route(flags=0x10), []),
    "onlink": (a_route(flags=0x04), [("fe80::1", 100)]),
}


@pytest.mark.parametrize(("message", "expected"), ROUTES.values(), ids=ROUTES)
def test_default_route_is_a_usable_one_of_the_main_table(
    library: FakeIPRoute, message: Message, expected: list[tuple[str | None, int]]
) -> None:
    library.routes[socket.AF_INET6] = [message]
    told = [(route.gateway and str(route.gateway), route.metric) for route in the_link(library).default6]
    assert told == expected


# Asking


@pytest.mark.parametrize(
    ("call", "what", "gone_is_fine"),
    [
        ("add_default_route", "cannot add the IPv4 default route", False),
        ("change_default_route", "cannot change the IPv4 default route", False),
        ("drop_default_route", "cannot remove the IPv4 default route", True),
    ],
)
@pytest.mark.parametrize("number", [errno.EPERM, errno.EEXIST, errno.ESRCH, errno.ENODEV, errno.EINVAL])
def test_refused_route_is_a_host_error(
    library: FakeIPRoute, call: str, what: str, gone_is_fine: bool, number: int
) -> None:
    library.fault = NetlinkError(number, "refused")
    try:
        getattr(Netlink(), call)(9, ROUTE)
    except HostError as error:
        assert error.what.startswith(f"{what}: ")
        assert error.errno == number
        assert error.hint == ("run as root" if number == errno.EPERM else "")
    else:
        assert gone_is_fine
        assert number in (errno.ESRCH, errno.ENODEV)


@pytest.mark.parametrize("fault", [NetlinkError(errno.ENOBUFS, "x"), OSError(errno.ENOBUFS, "x")])
def test_whatever_the_library_raises_is_a_host_error(library: FakeIPRoute, fault: Exception) -> None:
    library.fault = fault
    with pytest.raises(HostError, match="cannot read the links") as caught:
        Netlink().links()
    assert caught.value.errno == errno.ENOBUFS


def test_device_that_is_gone_is_a_host_error(library: FakeIPRoute) -> None:
    with pytest.raises(HostError, match="cannot set up no-such-device") as caught:
        Netlink().set_up_device("no-such-device", address=IPv4Address("192.0.0.4"), mtu_bytes=1500)
    assert caught.value.errno == errno.ENODEV
    assert library.asked == []


def test_bug_of_ours_is_no_host_error(library: FakeIPRoute) -> None:
    library.fault = TypeError("a bug")
    with pytest.raises(TypeError):
        Netlink().links()


def test_dump_that_changed_under_way_is_read_again(library: FakeIPRoute) -> None:
    # pyroute2 before 0.9 tells NLM_F_DUMP_INTR as an exception; it happens whenever something else changes.
    library.addresses = [an_address("2001:db8::5")]
    library.interruptions = 3
    assert len(the_link(library).addresses6) == 1


def test_dump_that_never_comes_through_is_a_host_error(library: FakeIPRoute) -> None:
    library.interruptions = 10**6
    with pytest.raises(HostError, match="cannot read the links"):
        Netlink().links()
    assert library.interruptions > 10**6 - 100


def test_connection_is_closed_at_the_end(library: FakeIPRoute) -> None:
    with Netlink() as kernel:
        assert kernel.raw is library
        assert not library.closed
    assert library.closed


# Which events matter

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 20, 24, 25


def event(kind: int, *, destination_length: int = 0, family: int = 10, size: int = 28) -> bytes:
    """A netlink message: header, then family and destination length as struct rtmsg begins."""
    body = struct.pack("@BB", family, destination_length).ljust(size - 16, b"\0")
    return (struct.pack("@IHHII", size, kind, 0, 0, 0) + body).ljust((size + 3) & ~3, b"\0")


EVENTS: dict[str, tuple[bytes, bool]] = {
    "default-route": (event(RTM_NEWROUTE), True),
    "default-route-gone": (event(RTM_DELROUTE), True),
    "other-route": (event(RTM_NEWROUTE, destination_length=64), False),
    "other-route-gone": (event(RTM_DELROUTE, destination_length=24, family=2), False),
    "address": (event(RTM_NEWADDR, destination_length=64), True),
    "link": (event(RTM_NEWLINK), True),
    "many-routes": (event(RTM_NEWROUTE, destination_length=64) * 9, False),
    "default-after-others": (event(RTM_NEWROUTE, destination_length=64, size=29) * 9 + event(RTM_NEWROUTE), True),
    "nothing": (b"", False),
    "cut": (event(RTM_NEWLINK)[:15], False),
    "length-zero": (bytes(4) + event(RTM_NEWROUTE, destination_length=64)[4:], False),
}


@pytest.mark.parametrize(("data", "matters"), EVENTS.values(), ids=EVENTS)
def test_only_routes_other_than_default_ones_do_not_matter(data: bytes, matters: bool) -> None:
    assert changes._matters(data) is matters
