# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 7757: explicit address mappings, longest prefix first, both ways."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto.eam import EamTable, host_pair


def table(*pairs: tuple[str, str]) -> EamTable:
    return EamTable((IPv4Network(v4), IPv6Network(v6)) for v4, v6 in pairs)


# The table of RFC 7757 3.1, figure 1
RFC = table(
    ("192.0.2.1/32", "2001:db8:aaaa::/128"),
    ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
    ("192.0.2.16/28", "2001:db8:cccc::/124"),
    ("192.0.2.128/26", "2001:db8:dddd::/64"),
    ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
    ("192.0.2.224/31", "64:ff9b::/127"),
)


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        pytest.param("192.0.2.1", "2001:db8:aaaa::", id="rfc7757-3.1-host"),
        pytest.param("192.0.2.2", "2001:db8:bbbb::b", id="rfc7757-3.1-host-b"),
        pytest.param("192.0.2.16", "2001:db8:cccc::", id="rfc7757-3.1-equal-suffix-first"),
        pytest.param("192.0.2.24", "2001:db8:cccc::8", id="rfc7757-3.1-equal-suffix"),
        pytest.param("192.0.2.31", "2001:db8:cccc::f", id="rfc7757-3.1-equal-suffix-last"),
        pytest.param("192.0.2.128", "2001:db8:dddd::", id="rfc7757-3.1-longer-suffix-first"),
        pytest.param("192.0.2.152", "2001:db8:dddd:0:6000::", id="rfc7757-3.1-longer-suffix"),
        pytest.param("192.0.2.183", "2001:db8:dddd:0:dc00::", id="rfc7757-3.1-longer-suffix-183"),
        pytest.param("192.0.2.191", "2001:db8:dddd:0:fc00::", id="rfc7757-3.1-longer-suffix-last"),
        pytest.param("192.0.2.193", "2001:db8:eeee:8:8000::", id="rfc7757-3.1-odd-length"),
        pytest.param("192.0.2.195", "2001:db8:eeee:9:8000::", id="rfc7757-3.1-odd-length-195"),
        pytest.param("192.0.2.225", "64:ff9b::1", id="rfc7757-3.1-inside-well-known"),
    ],
)
def test_maps_both_ways(v4: str, v6: str) -> None:
    assert RFC.to_ipv6(IPv4Address(v4)) == IPv6Address(v6)
    assert RFC.to_ipv4(IPv6Address(v6)) == IPv4Address(v4)


def test_bits_below_the_suffix_are_ignored() -> None:
    assert RFC.to_ipv4(IPv6Address("2001:db8:dddd:0:6123:4567:89ab:cdef")) == IPv4Address("192.0.2.152")


@pytest.mark.parametrize("v4", ["192.0.2.0", "192.0.2.3", "192.0.2.32", "192.0.2.200", "8.8.8.8"])
def test_outside_is_none(v4: str) -> None:
    assert RFC.to_ipv6(IPv4Address(v4)) is None


def test_outside_is_none_in_ipv6() -> None:
    assert RFC.to_ipv4(IPv6Address("2001:db8:aaaa::1")) is None
    assert EamTable().to_ipv4(IPv6Address("::1")) is None


def test_longest_prefix_wins_both_ways() -> None:
    """RFC 7757 3.2: nested prefixes, listed shortest first and last."""
    nested = [
        ("10.0.0.0/16", "2001:db8::/112"),
        ("10.0.1.0/24", "2001:db8::100/120"),
        ("10.0.1.6/32", "2001:db8:1::6/128"),
    ]
    for pairs in (nested, nested[::-1]):
        eam = table(*pairs)
        assert eam.to_ipv6(IPv4Address("10.0.2.6")) == IPv6Address("2001:db8::206")
        assert eam.to_ipv6(IPv4Address("10.0.1.7")) == IPv6Address("2001:db8::107")
        assert eam.to_ipv6(IPv4Address("10.0.1.6")) == IPv6Address("2001:db8:1::6")
        assert eam.to_ipv4(IPv6Address("2001:db8::106")) == IPv4Address("10.0.1.6")
        assert eam.to_ipv4(IPv6Address("2001:db8::206")) == IPv4Address("10.0.2.6")


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([("192.0.2.0/24", "2001:db8::/121")], id="rfc7757-3.1-suffix-too-long"),
        pytest.param([("192.0.2.1/32", "2001:db8::1/128"), ("192.0.2.1/32", "2001:db8::2/128")], id="same-ipv4"),
        pytest.param([("192.0.2.1/32", "2001:db8::1/128"), ("192.0.2.2/32", "2001:db8::1/128")], id="same-ipv6"),
    ],
)
def test_refuses(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ParseError):
        table(*pairs)


@given(st.data())
def test_mapping_inverts(data: st.DataObject) -> None:
    length_v4 = data.draw(st.integers(0, 32))
    length_v6 = data.draw(st.integers(0, 96 + length_v4))
    v4 = IPv4Network((data.draw(st.integers(0, 2**32 - 1)), length_v4), strict=False)
    v6 = IPv6Network((data.draw(st.integers(0, 2**128 - 1)), length_v6), strict=False)
    address = v4[data.draw(st.integers(0, v4.num_addresses - 1))]
    mapped = EamTable([(v4, v6)]).to_ipv6(address)
    assert mapped is not None
    assert mapped in v6
    assert EamTable([(v4, v6)]).to_ipv4(mapped) == address


def test_host_pair_is_an_entry() -> None:
    eam = EamTable([host_pair(IPv4Address("192.0.0.2"), IPv6Address("2001:db8::1"))])
    assert eam.to_ipv6(IPv4Address("192.0.0.2")) == IPv6Address("2001:db8::1")
    assert list(eam) == [(IPv4Network("192.0.0.2/32"), IPv6Network("2001:db8::1/128"))]
    assert eam == EamTable(eam)
    assert hash(eam) == hash(EamTable(eam))
    assert eam != EamTable()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\1", id="cut"),
        pytest.param(bytes(4) + b"\x21" + bytes(16) + b"\x80", id="length-below-0"),
        pytest.param(bytes(4) + b"\x20" + bytes(16) + b"\x81", id="length-below-0-of-ipv6"),
        pytest.param(b"\1\1\1\1\x20" + bytes(16) + b"\x80", id="host-bits"),
        pytest.param(bytes(4) + b"\x20" + bytes(16) + b"\0", id="does-not-fit"),
        pytest.param(2 * (bytes(4) + b"\0" + bytes(17)), id="twice"),
    ],
)
def test_bytes_that_are_no_table_are_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        EamTable.from_bytes(data)


def test_long_table_is_shown_in_short() -> None:
    eam = table(*((f"192.0.2.{n}/32", f"2001:db8::{n:x}/128") for n in range(9)))
    assert repr(eam).endswith("192.0.2.3/32 = 2001:db8::3/128 and 5 more)")
