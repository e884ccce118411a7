# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user writes of an Edge Relay: what it means, and one line with its place for what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clatnm import relay
from clatnm.errors import ConfigError
from clatnm.model import DefaultRoute, Relay
from clatnm.proto.eam import EamTable
from tests.unit.policy.worlds import a_link

PREFIX = IPv6Network("2001:db8:46::/96")
FILE = """\
# hosts
192.0.2.1   2001:db8:1::1
192.0.2.16/28 = 2001:db8:1::10/124   # a rack

198.51.100.0/24 2001:db8:2::/64
"""


def told(*texts: str) -> list[relay.Told]:
    return [relay.read_mapping(text, where=f"eam:{number}") for number, text in enumerate(texts, start=1)]


def test_file_has_a_mapping_a_line() -> None:
    entries = relay.read_mappings(FILE, name="eam")
    assert [(str(entry), entry.where) for entry in entries] == [
        ("192.0.2.1/32 = 2001:db8:1::1/128", "eam:2"),
        ("192.0.2.16/28 = 2001:db8:1::10/124", "eam:3"),
        ("198.51.100.0/24 = 2001:db8:2::/64", "eam:5"),
    ]


@pytest.mark.parametrize(
    "text", ["x" * 5000, f"{'x' * 5000} ::1", f"192.0.2.1 {'1' * 5000}", f"192.0.2.1{' ' * 5000}::1"]
)
def test_line_of_any_length_is_told_shortly(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        relay.read_mapping(text, where="eam:1")
    assert caught.value.what.endswith("…' is no mapping")
    assert len(caught.value.what) < 300


@pytest.mark.parametrize("odd", ["\f", "\v", "\x85", "\u2028"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_where_editors_end_them(odd: str, end: str) -> None:
    text = end.join((f"# a remark{odd}of two parts", "192.0.2.1 2001:db8:1::1", ""))
    (entry,) = relay.read_mappings(text, name="eam")
    assert (str(entry), entry.where) == ("192.0.2.1/32 = 2001:db8:1::1/128", "eam:2")


def test_relay_has_what_was_told() -> None:
    built = relay.build(
        told("192.0.2.1=2001:db8:1::1"),
        prefix=PREFIX,
        addresses=[(IPv4Address("192.0.2.1"), "--address")],
        routes=[IPv4Network("203.0.113.0/24"), IPv4Network("10.0.0.0/8")],
    )
    assert built.mappings.to_ipv6(IPv4Address("192.0.2.1")) == IPv6Address("2001:db8:1::1")
    assert built.addresses == (IPv4Address("192.0.2.1"),)
    assert built.routes == (IPv4Network("10.0.0.0/8"), IPv4Network("203.0.113.0/24"))


def test_everything_is_led_into_it_unless_routes_are_told() -> None:
    assert relay.build(told("192.0.2.1=2001:db8:1::1"), prefix=PREFIX).routes == (IPv4Network("0.0.0.0/0"),)


def test_ten_thousand_mappings_take_no_time_to_check() -> None:
    """Each check looks at each mapping once: a quadratic one would take minutes here."""
    lines = "\n".join(f"10.0.{n >> 8}.{n & 255} 2001:db8:1::{n + 1:x}" for n in range(10_000))
    assert len(relay.build(relay.read_mappings(lines, name="eam"), prefix=PREFIX).mappings) == 10_000


def a_mapping(numbers: tuple[int, int, int, int]) -> str:
    """Of 32 IPv4 and 64 IPv6 addresses, so that many overlap."""
    n4, s4, n6, s6 = numbers
    return f"192.0.2.{n4 >> s4 << s4}/{32 - s4} 2001:db8::{n6 >> s6 + s4 << s6 + s4:x}/{128 - s4 - s6}"


@given(
    st.lists(
        st.tuples(st.integers(0, 31), st.integers(0, 4), st.integers(0, 63), st.integers(0, 2)), min_size=2, max_size=5
    )
)
@example([(0, 4, 0, 0), (16, 2, 4, 0), (4, 0, 32, 0), (7, 0, 33, 0)])
def test_every_address_of_what_is_accepted_comes_back(numbers: list[tuple[int, int, int, int]]) -> None:
    try:
        table = relay.build(told(*map(a_mapping, numbers)), prefix=PREFIX).mappings
    except ConfigError as error:
        assert "mapped twice" in str(error) or "overlaps" in str(error)
        return
    for address in IPv4Network("192.0.2.0/27"):
        there = table.to_ipv6(address)
        assert there is None or table.to_ipv4(there) == address


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["10.0.0.0/16=2001:db8:1::/112", "10.0.1.0/24=2001:db8:1::100/120"], id="nested-alike"),
        pytest.param(["10.0.0.0/16=2001:db8:1::/112", "10.0.1.6=2001:db8:9::6"], id="hole-in-ipv4"),
        pytest.param(
            ["10.0.0.0/30=2001:db8:1::/126", "10.0.0.1=2001:db8:9::1", "10.9.0.1=2001:db8:1::1"], id="swapped-out"
        ),
        pytest.param(["10.0.0.0/31=2001:db8:1::/64", "10.0.0.9=2001:db8:1::1"], id="among-ignored-bits"),
    ],
)
def test_mapping_may_lie_within_another(texts: list[str]) -> None:
    table = relay.build(told(*texts), prefix=PREFIX).mappings
    for v4, _ in table:
        there = table.to_ipv6(v4.network_address)
        assert there is not None
        assert table.to_ipv4(there) == v4.network_address


def build(*texts: str, addresses: tuple[str, ...] = ()) -> Callable[[], Relay]:
    at = [(IPv4Address(address), "--address") for address in addresses]
    return lambda: relay.build(told(*texts), prefix=PREFIX, addresses=at)


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        pytest.param(build(), "an Edge Relay without mappings", id="none"),
        pytest.param(build("192.0.2.1"), "eam:1: '192.0.2.1' is no mapping", id="half"),
        pytest.param(build("a=b"), "eam:1: 'a' is no IPv4 address or prefix", id="no-ipv4"),
        pytest.param(build("192.0.2.1=x"), "eam:1: 'x' is no IPv6 address or prefix", id="no-ipv6"),
        pytest.param(build("192.0.2.1=2001:db8::1%eth0"), "'2001:db8::1%eth0' is no IPv6 address", id="scope"),
        pytest.param(build("192.0.2.1/24=2001:db8::/96"), "its host bits are not zero", id="host-bits"),
        pytest.param(build("192.0.2.0/33=2001:db8::/96"), "eam:1: '192.0.2.0/33' is no IPv4", id="length"),
        pytest.param(build("192.0.2.0/24=2001:db8::/121"), "does not fit into", id="rfc7757-3.1-too-long"),
        pytest.param(
            build("192.0.2.1=2001:db8::1", "192.0.2.1=2001:db8::2"),
            "eam:2: 192.0.2.1/32 is mapped twice (first by eam:1)",
            id="rfc7757-3.2-ipv4-twice",
        ),
        pytest.param(
            build("192.0.2.1=2001:db8::1", "192.0.2.2=2001:db8::1"), "eam:2: 2001:db8::1/128 is mapped", id="ipv6-twice"
        ),
        pytest.param(
            build("10.0.0.0/16=2001:db8:1::/112", "192.0.2.1=2001:db8:1::7"),
            "eam:2: 192.0.2.1/32 = 2001:db8:1::7/128 overlaps 10.0.0.0/16 = 2001:db8:1::/112: 10.0.0.7 becomes "
            "2001:db8:1::7, which is 192.0.2.1",
            id="overlap",
        ),
        pytest.param(
            build(
                "10.0.0.0/28=2001:db8:1::/124",
                "192.0.2.0/30=2001:db8:1::4/126",
                "10.0.0.4=2001:db8:9::4",
                "10.0.0.7=2001:db8:9::7",
            ),
            "eam:2: 192.0.2.0/30 = 2001:db8:1::4/126 overlaps 10.0.0.0/28 = 2001:db8:1::/124: 10.0.0.5 becomes "
            "2001:db8:1::5, which is 192.0.2.1",
            id="overlap-but-at-its-ends",
        ),
        pytest.param(build("192.0.2.1=2001:db8:46::1"), "eam:1: 2001:db8:46::1/128 and the tran", id="inside-prefix"),
        pytest.param(build("192.0.0.0/16=2001:db8::/32"), "overlap", id="around-prefix"),
        pytest.param(build("127.0.0.1=2001:db8::1"), "no addresses of hosts", id="loopback"),
        pytest.param(build("0.0.0.0/0=2001:db8::/96"), "no addresses of hosts", id="all-of-ipv4"),
        pytest.param(build("192.0.2.1=fe80::1"), "no addresses of hosts", id="link-local"),
        pytest.param(
            build("192.0.2.1=2001:db8::1", addresses=("192.0.2.2",)),
            "--address: 192.0.2.2 is not mapped",
            id="unmapped",
        ),
        pytest.param(
            build("192.0.2.1=2001:db8::1", addresses=("192.0.2.1", "192.0.2.1")), "is there twice", id="address-twice"
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(attempt: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        attempt()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hosts_own_address_is_not_the_relays() -> None:
    link = a_link()
    own = next(entry.address for entry in link.addresses6 if not entry.address.is_link_local)
    table = relay.build(told(f"192.0.2.0/24={IPv6Network((own, 120), strict=False)}"), prefix=PREFIX)
    with pytest.raises(ConfigError, match="is mapped, and is the address of"):
        relay.check_link(table, link, others={})


def test_routers_address_is_not_the_relays() -> None:
    router = IPv6Address("2001:db8:77::1")
    link = replace(a_link(), default6=(DefaultRoute(gateway=router, metric=100),))
    with pytest.raises(ConfigError, match="the address of a router on"):
        relay.check_link(build(f"192.0.2.1={router}")(), link, others={})


def test_address_in_use_elsewhere_is_refused() -> None:
    built = build("192.0.2.1=2001:db8:1::1", addresses=("192.0.2.1",))()
    relay.check_link(built, a_link(), others={IPv4Address("192.0.2.9"): "eth1"})
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is in use on eth1"):
        relay.check_link(built, a_link(), others={IPv4Address("192.0.2.1"): "eth1"})


def test_table_goes_to_another_process() -> None:
    table = EamTable(entry.mapping for entry in relay.read_mappings(FILE, name="eam"))
    assert EamTable.from_bytes(table.to_bytes()) == table
    assert len(table) == 3
