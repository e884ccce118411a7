# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses, device name, metric and MTU a translator gets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clatnm.model import Address6, DefaultRoute, Link
from clatnm.policy import addressing
from tests.unit.policy.worlds import SECRET, UUID, WELL_KNOWN, a_link, a_route4, a_route6, an_address

POOL = [IPv4Address(f"192.0.0.{n}") for n in range(8)]
PREFIX = IPv6Network("2001:db8:a::/64")
ULA_PREF64 = IPv6Network("fd00:64::/96")


# IPv4 address


def test_clat_v4_begins_where_other_software_does_not() -> None:
    others = {IPv4Address("192.0.0.1"), IPv4Address("192.0.0.2"), IPv4Address("192.0.0.5")}
    assert addressing.clat_v4(used=set(), current=None) not in others


def test_clat_v4_uses_the_whole_rfc7335_range_then_gives_up() -> None:
    used: set[IPv4Address] = set()
    for _ in POOL:
        address = addressing.clat_v4(used=used, current=None)
        assert address is not None
        assert address not in used
        used.add(address)
    assert used == set(POOL)
    assert addressing.clat_v4(used=used, current=None) is None


@pytest.mark.parametrize("current", POOL)
def test_clat_v4_stays_while_it_is_free_and_moves_when_it_is_not(current: IPv4Address) -> None:
    assert addressing.clat_v4(used=set(), current=current) == current
    moved = addressing.clat_v4(used={current}, current=current)
    assert moved is not None
    assert moved != current


# IPv6 /64 (RFC 6724)

GUA, OTHER_GUA, ULA = "2001:db8:a::5/64", "2001:db8:b::5/64", "fd00:1::5/64"
SOURCES: dict[str, tuple[Sequence[str | Address6], IPv6Network, str | None]] = {
    "only-gua": ([GUA], WELL_KNOWN, "2001:db8:a::/64"),
    "rfc6724-rule6-gua-for-global-pref64": ([ULA, GUA], WELL_KNOWN, "2001:db8:a::/64"),
    "rfc6724-rule6-ula-for-ula-pref64": ([GUA, ULA], ULA_PREF64, "fd00:1::/64"),
    "ula-when-there-is-nothing-else": ([ULA], WELL_KNOWN, "fd00:1::/64"),
    "rfc6724-rule3-deprecated": ([an_address(GUA, deprecated=True), OTHER_GUA], WELL_KNOWN, "2001:db8:b::/64"),
    "rfc6724-rule3-before-rule6": ([an_address(GUA, deprecated=True), ULA], WELL_KNOWN, "fd00:1::/64"),
    "all-deprecated": ([an_address(GUA, deprecated=True)], WELL_KNOWN, None),
    "rfc6724-rule8-longest-match": (
        ["2001:db8:a::5/64", "2001:db8:64:1::5/64"],
        IPv6Network("2001:db8:64::/96"),
        "2001:db8:64:1::/64",
    ),
    "rfc6724-rule8-order-of-addresses-does-not-matter": (
        ["2001:db8:64:1::5/64", "2001:db8:a::5/64"],
        IPv6Network("2001:db8:64::/96"),
        "2001:db8:64:1::/64",
    ),
    "rfc6724-rule7-temporary-counts-alike": ([an_address(GUA, temporary=True)], WELL_KNOWN, "2001:db8:a::/64"),
    "rfc4862-tentative-is-enough": ([an_address(GUA, tentative=True)], WELL_KNOWN, "2001:db8:a::/64"),
    "dhcpv6-128-only": (["2001:db8:a::5/128"], WELL_KNOWN, None),
    "dhcpv6-128-beside-slaac": (["2001:db8:b::9/128", GUA], WELL_KNOWN, "2001:db8:a::/64"),
    "static-56": (["2001:db8:a::5/56"], WELL_KNOWN, None),
    "link-local-only": (["fe80::5/64"], WELL_KNOWN, None),
    "nothing": ([], WELL_KNOWN, None),
    "one-of-two-addresses-deprecated": ([an_address(GUA, deprecated=True), "2001:db8:a::6/64"], WELL_KNOWN, GUA),
}


def source(
    link: Link,
    *,
    advertised: Sequence[str] = (),
    towards: IPv6Network = WELL_KNOWN,
    current: IPv6Address | None = None,
) -> IPv6Network | None:
    heard = frozenset(map(IPv6Network, advertised))
    return addressing.source_prefix(link, advertised=heard, towards=towards, current=current)


@pytest.mark.parametrize(("addresses", "towards", "expected"), SOURCES.values(), ids=SOURCES)
def test_source_prefix_follows_rfc6724(
    addresses: Sequence[str | Address6], towards: IPv6Network, expected: str | None
) -> None:
    found = source(a_link(ipv6=addresses), towards=towards)
    assert found == (None if expected is None else IPv6Network(expected, strict=False))


@pytest.mark.parametrize("current", ["2001:db8:a::77", "2001:db8:b::77"])
def test_source_prefix_in_use_wins_among_equals(current: str) -> None:
    # Both share as many bits with the NAT64 prefix.
    link = a_link(ipv6=("2001:db8:a::5/64", "2001:db8:b::5/64"))
    found = source(link, current=IPv6Address(current))
    assert found is not None
    assert IPv6Address(current) in found


def test_source_prefix_in_use_loses_against_a_better_label() -> None:
    link = a_link(ipv6=(GUA, ULA))
    assert source(link, current=IPv6Address("fd00:1::77")) == IPv6Network("2001:db8:a::/64")


def test_source_prefix_in_use_but_deprecated_is_left() -> None:
    link = a_link(ipv6=(an_address(GUA, deprecated=True), OTHER_GUA))
    assert source(link, current=IPv6Address("2001:db8:a::77")) == IPv6Network("2001:db8:b::/64")


# What routers say since the carrier came back counts before what the link still has from another network.
ADVERTISED: dict[str, tuple[Sequence[str], Sequence[str], str | None]] = {
    "old-address-still-there": (["2001:db8:a::5/64", "2001:db8:b::5/64"], ["2001:db8:b::/64"], "2001:db8:b::/64"),
    "no-address-of-it-yet": (["2001:db8:a::5/64"], ["2001:db8:b::/64"], "2001:db8:b::/64"),
    "before-the-label": ([GUA], ["fd00:1::/64"], "fd00:1::/64"),
    "rfc6724-rule6-among-advertised": ([], ["fd00:1::/64", "2001:db8:b::/64"], "2001:db8:b::/64"),
    "nothing-advertised": ([GUA], [], "2001:db8:a::/64"),
    "dhcpv6-128-and-advertised": (["2001:db8:a::5/128"], ["2001:db8:a::/64"], "2001:db8:a::/64"),
}


@pytest.mark.parametrize(("addresses", "advertised", "expected"), ADVERTISED.values(), ids=ADVERTISED)
def test_source_prefix_heard_from_a_router_of_this_network_comes_first(
    addresses: Sequence[str], advertised: Sequence[str], expected: str
) -> None:
    in_use = IPv6Address("2001:db8:a::77")
    for current in (None, in_use):
        found = source(a_link(ipv6=addresses), advertised=advertised, current=current)
        assert found == IPv6Network(expected)


# IPv6 address (RFC 7217)


def stable(
    *,
    prefix: IPv6Network = PREFIX,
    uuid: str = UUID,
    interface: str = "wlan0",
    collisions: int = 0,
    secret: bytes = SECRET,
) -> IPv6Address:
    return addressing.clat_v6(prefix, uuid=uuid, interface=interface, collisions=collisions, secret=secret)


def test_clat_v6_is_stable_and_inside_the_prefix() -> None:
    assert stable() == stable()
    assert stable() in PREFIX


def test_clat_v6_is_what_it_was_in_the_first_release() -> None:
    # An update of the program must not give every user a new address.
    assert stable() == IPv6Address("2001:db8:a:0:fae1:903b:41ba:fcb5")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(stable(prefix=IPv6Network("2001:db8:b::/64")), id="rfc7217-5-prefix"),
        pytest.param(stable(interface="wlan1"), id="rfc7217-5-net-iface"),
        pytest.param(stable(uuid="another"), id="rfc7217-5-network-id"),
        pytest.param(stable(collisions=1), id="rfc7217-5-dad-counter"),
        pytest.param(stable(secret=b"t" * 32), id="rfc7217-5-secret-key"),
        pytest.param(stable(secret=b""), id="no-secret"),
    ],
)
def test_clat_v6_interface_identifier_depends_on_every_input(other: IPv6Address) -> None:
    assert int(other) & (2**64 - 1) != int(stable()) & (2**64 - 1)


@given(
    one=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    other=st.tuples(st.text(max_size=8), st.text(max_size=8)),
)
@settings(deadline=None)
def test_clat_v6_does_not_mix_up_neighbouring_inputs(one: tuple[str, str], other: tuple[str, str]) -> None:
    names = [(pair[0].replace("\0", ""), pair[1].replace("\0", "")) for pair in (one, other)]
    first, second = (stable(interface=interface, uuid=uuid) for interface, uuid in names)
    assert (first == second) == (names[0] == names[1])


RESERVED = [
    pytest.param(0, id="rfc4291-2.6.1-subnet-router-anycast"),
    pytest.param(0x02005EFFFE000000, id="rfc5453-iana-ethernet-block-first"),
    pytest.param(0x02005EFFFEFFFFFF, id="rfc5453-iana-ethernet-block-last"),
    pytest.param(0xFDFFFFFFFFFFFF80, id="rfc2526-anycast-first"),
    pytest.param(0xFDFFFFFFFFFFFFFF, id="rfc2526-anycast-last"),
]


class ScriptedHash:
    """Stands for `hashlib.sha256`: hands out the given interface identifiers, one a call, and keeps what it was fed."""

    def __init__(self, *identifiers: int) -> None:
        self.left = list(identifiers)
        self.fed: list[bytes] = []

    def __call__(self, data: bytes) -> ScriptedHash:
        self.fed.append(data)
        return self

    def digest(self) -> bytes:
        return self.left.pop(0).to_bytes(8, "big") + bytes(24)


@pytest.mark.parametrize("identifier", RESERVED)
def test_clat_v6_skips_reserved_interface_identifiers(monkeypatch: pytest.MonkeyPatch, identifier: int) -> None:
    scripted = ScriptedHash(identifier, 0x1234)
    monkeypatch.setattr(hashlib, "sha256", scripted)
    assert stable() == PREFIX[0x1234]
    assert len(set(scripted.fed)) == 2  # the counter went up in between


@pytest.mark.parametrize("identifier", [1, 0x02005EFFFD000000, 0x02005EFFFF000000, 0xFDFFFFFFFFFFFF7F, 2**64 - 1])
def test_clat_v6_takes_what_is_next_to_reserved(monkeypatch: pytest.MonkeyPatch, identifier: int) -> None:
    monkeypatch.setattr(hashlib, "sha256", ScriptedHash(identifier))
    assert stable() == PREFIX[identifier]


# Device


@pytest.mark.parametrize(
    ("interface", "device"),
    [
        ("wlan0", "clat-wlan0"),
        ("enp0s31f6", "clat-enp0s31f6"),
        ("wlp0s20f3a", "clat-wlp0s20f3a"),  # 15 bytes, the most there can be
        ("x", "clat-x"),
        ("wlañ0", "clat-wlañ0"),
    ],
)
def test_device_is_named_after_the_interface(interface: str, device: str) -> None:
    assert addressing.device_name(interface) == device


LONG_NAMES = ["enx0200000000aa", "enx0200000000ab", "enp0s31f6np0", "wlp0s20f3ñ", "網路網路", "\N{SNOWMAN}" * 5]


@pytest.mark.parametrize("interface", LONG_NAMES)
def test_device_of_a_long_name_is_a_hash_of_the_whole_name(interface: str) -> None:
    device = addressing.device_name(interface)
    assert device.startswith("clat-")
    assert len(device.encode()) == 15
    assert device == addressing.device_name(interface)


def test_devices_of_long_names_differ() -> None:
    assert len({addressing.device_name(name) for name in LONG_NAMES}) == len(LONG_NAMES)


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=15))
@settings(deadline=None)
def test_device_name_always_fits(interface: str) -> None:
    assert 6 <= len(addressing.device_name(interface).encode()) <= 15


# Metric and MTU

BIGGEST = 0xFFFFFFFF
GONE = "192.168.9.1"  # a gateway that does not answer
METRICS: dict[str, tuple[Sequence[DefaultRoute], Sequence[DefaultRoute], set[int], int]] = {
    "above-the-ipv6-route": ([a_route6(metric=600)], [], set(), 650),
    "lowest-ipv6-route-counts": ([a_route6(metric=600), a_route6(metric=100)], [], set(), 150),
    "worse-than-native-of-the-same-link": ([a_route6(metric=100)], [a_route4(metric=700)], set(), 750),
    "worse-than-every-native": ([a_route6(metric=100)], [a_route4(metric=700), a_route4(metric=20)], set(), 750),
    "next-free": ([a_route6(metric=100)], [], {150, 151, 153}, 152),
    "taken-elsewhere": ([a_route6(metric=100)], [], {100, 149, 151}, 150),
    "kernel-metric-0": ([a_route6(metric=0)], [], set(), 50),
    "never-past-32-bits": ([a_route6(metric=BIGGEST)], [], set(), BIGGEST),
    "never-past-32-bits-nor-taken": ([a_route6(metric=BIGGEST - 1)], [], {BIGGEST, BIGGEST - 1}, BIGGEST - 2),
    "rfc4436-better-than-dead": ([a_route6(metric=100)], [a_route4(metric=100, gateway=GONE)], {100}, 99),
    "dead-is-worse-anyway": ([a_route6(metric=100)], [a_route4(metric=600, gateway=GONE)], {600}, 150),
    "dead-is-worse-anyway-but-taken": ([a_route6(metric=100)], [a_route4(metric=600, gateway=GONE)], {150, 600}, 151),
    "between-taken-and-dead": ([a_route6(metric=100)], [a_route4(metric=152, gateway=GONE)], {150, 151, 152}, 149),
    "below-the-best-of-the-dead": (
        [a_route6(metric=900)],
        [a_route4(metric=600, gateway=GONE), a_route4(metric=100, gateway=GONE)],
        {100, 600},
        99,
    ),
    "next-below-dead-is-taken": ([a_route6(metric=900)], [a_route4(metric=600, gateway=GONE)], {598, 599, 600}, 597),
    "dead-with-metric-0-is-beyond-reach": ([a_route6(metric=100)], [a_route4(metric=0, gateway=GONE)], {0}, 150),
    "no-room-below-dead": ([a_route6(metric=100)], [a_route4(metric=1, gateway=GONE)], {0, 1}, 2),
}


@pytest.mark.parametrize(("default6", "default4", "taken", "expected"), METRICS.values(), ids=METRICS)
def test_metric_sorts_with_the_uplink_and_is_free(
    default6: Sequence[DefaultRoute], default4: Sequence[DefaultRoute], taken: set[int], expected: int
) -> None:
    link = a_link(default6=tuple(default6), default4=tuple(default4))
    assert addressing.metric(link, dead={IPv4Address(GONE)}, taken=taken) == expected


MTUS: dict[str, tuple[int, int | None, int, int]] = {
    "ethernet": (1500, None, 1500, 1472),
    "jumbo": (9000, None, 9000, 8972),
    "loopback-size": (65536, None, 65536, 65508),
    "rfc4861-4.6.4-router-says-less": (1500, 1400, 1400, 1372),
    "router-says-more-than-the-link-can": (1500, 9000, 1500, 1472),
    "rfc8200-5-minimum": (1280, None, 1280, 1252),
    "rfc8200-5-link-below-the-minimum": (576, None, 1280, 1252),
    "rfc8200-5-router-below-the-minimum": (1500, 68, 1280, 1252),
    "link-without-mtu": (0, None, 1280, 1252),
}


@pytest.mark.parametrize(("link_mtu", "advertised", "ipv6", "ipv4"), MTUS.values(), ids=MTUS)
def test_mtu_leaves_room_for_header_and_fragment_header(
    link_mtu: int, advertised: int | None, ipv6: int, ipv4: int
) -> None:
    assert addressing.ipv6_mtu(a_link(mtu_bytes=link_mtu), advertised=advertised) == ipv6
    assert addressing.ipv4_mtu(ipv6) == ipv4


def test_best_default_is_the_lowest_metric() -> None:
    routes = [a_route6(metric=600), a_route6(metric=100, gateway="fe80::2"), a_route6(metric=1024)]
    best = addressing.best_default(routes)
    assert best is not None
    assert best.gateway == IPv6Address("fe80::2")
    assert addressing.best_default([]) is None
