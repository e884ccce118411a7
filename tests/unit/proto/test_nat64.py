# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 6052: prefixes, embedding, extraction, and which addresses the well-known prefix may carry."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto import nat64

# RFC 6052 2.4, table 1 (and 2 for the well-known prefix)
EXAMPLES = [
    pytest.param("2001:db8::/32", "2001:db8:c000:221::", id="rfc6052-2.4-len32"),
    pytest.param("2001:db8:100::/40", "2001:db8:1c0:2:21::", id="rfc6052-2.4-len40"),
    pytest.param("2001:db8:122::/48", "2001:db8:122:c000:2:2100::", id="rfc6052-2.4-len48"),
    pytest.param("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::", id="rfc6052-2.4-len56"),
    pytest.param("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::", id="rfc6052-2.4-len64"),
    pytest.param("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33", id="rfc6052-2.4-len96"),
    pytest.param("64:ff9b::/96", "64:ff9b::192.0.2.33", id="rfc6052-2.4-well-known"),
]


@pytest.mark.parametrize(("prefix", "address"), EXAMPLES)
def test_embeds_and_extracts_examples(prefix: str, address: str) -> None:
    net = nat64.parse_prefix(prefix)
    assert nat64.embed(net, IPv4Address("192.0.2.33")) == IPv6Address(address)
    assert nat64.extract(net, IPv6Address(address)) == IPv4Address("192.0.2.33")


@st.composite
def prefixes(draw: st.DrawFn) -> IPv6Network:
    length = draw(st.sampled_from(nat64.LENGTHS))
    raw = bytearray(b"\x20" + draw(st.binary(min_size=15, max_size=15)))
    raw[8] = 0
    return IPv6Network((int.from_bytes(raw, "big") >> (128 - length) << (128 - length), length))


@given(prefixes(), st.integers(0, 2**32 - 1))
def test_extraction_inverts_embedding(prefix: IPv6Network, number: int) -> None:
    address = IPv4Address(number)
    embedded = nat64.embed(nat64.check_prefix(prefix), address)
    assert embedded in prefix
    assert embedded.packed[8] == 0
    assert nat64.extract(prefix, embedded) == address


@given(prefixes(), st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16))
def test_suffix_is_ignored_on_receipt(prefix: IPv6Network, number: int, noise: bytes) -> None:
    embedded = nat64.embed(prefix, IPv4Address(number)).packed
    used = 16 if prefix.prefixlen == 96 else prefix.prefixlen // 8 + 5
    assert nat64.extract(prefix, IPv6Address(embedded[:used] + noise[used:])) == IPv4Address(number)


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64])
def test_extract_refuses_nonzero_u_octet(length: int) -> None:
    prefix = IPv6Network(f"2001:db8::/{length}")
    raw = bytearray(nat64.embed(prefix, IPv4Address("192.0.2.33")).packed)
    raw[8] = 1
    assert nat64.extract(prefix, IPv6Address(bytes(raw))) is None


@pytest.mark.parametrize(("prefix", "address"), EXAMPLES)
def test_extract_refuses_other_prefix(prefix: str, address: str) -> None:
    raw = bytearray(IPv6Address(address).packed)
    raw[3] ^= 1
    assert nat64.extract(IPv6Network(prefix), IPv6Address(bytes(raw))) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("64:ff9b::", id="no-length"),
        pytest.param("64:ff9b::/95", id="rfc6052-2.2-len95"),
        pytest.param("2001:db8::/44", id="rfc6052-2.2-len44"),
        pytest.param("2001:db8::/128", id="rfc6052-2.2-len128"),
        pytest.param("64:ff9b::1/96", id="host-bits"),
        pytest.param("2001:db8:0:0:100::/96", id="rfc6052-2.2-u-octet"),
        pytest.param("192.0.2.0/24", id="ipv4"),
        pytest.param("64:ff9b::/96%eth0", id="zone"),
        pytest.param("ff02::/96", id="multicast"),
        pytest.param("fe80::/96", id="link-local"),
        pytest.param("::/96", id="ipv4-compatible"),
        pytest.param("::ffff:0:0/96", id="ipv4-mapped"),
    ],
)
def test_parse_prefix_refuses(text: str) -> None:
    with pytest.raises(ParseError):
        nat64.parse_prefix(text)


@given(st.text(max_size=40))
def test_parse_prefix_raises_only_parse_error(text: str) -> None:
    try:
        prefix = nat64.parse_prefix(text)
    except ParseError:
        return
    assert prefix.prefixlen in nat64.LENGTHS


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("8.8.8.8", True, id="global"),
        pytest.param("0.1.2.3", False, id="rfc5735-this-network"),
        pytest.param("10.0.0.1", False, id="rfc1918-10"),
        pytest.param("9.255.255.255", True, id="below-10"),
        pytest.param("11.0.0.0", True, id="above-10"),
        pytest.param("100.64.0.1", False, id="rfc6598-shared"),
        pytest.param("100.128.0.0", True, id="above-shared"),
        pytest.param("127.0.0.1", False, id="loopback"),
        pytest.param("169.254.1.1", False, id="link-local"),
        pytest.param("172.15.255.255", True, id="below-172.16"),
        pytest.param("172.16.0.1", False, id="rfc1918-172.16"),
        pytest.param("172.31.255.255", False, id="rfc1918-172.31"),
        pytest.param("172.32.0.0", True, id="above-172.31"),
        pytest.param("192.0.0.2", False, id="rfc7335-continuity"),
        pytest.param("192.0.0.9", True, id="rfc7723-pcp-anycast"),
        pytest.param("192.0.0.170", False, id="rfc7050-wka"),
        pytest.param("192.0.2.1", True, id="rfc5735-test-net-1"),
        pytest.param("192.88.99.1", False, id="rfc5735-6to4"),
        pytest.param("192.168.1.1", False, id="rfc1918-192.168"),
        pytest.param("198.18.0.1", False, id="rfc5735-benchmark"),
        pytest.param("198.51.100.1", True, id="rfc5735-test-net-2"),
        pytest.param("203.0.113.1", True, id="rfc5735-test-net-3"),
        pytest.param("224.0.0.1", False, id="multicast"),
        pytest.param("255.255.255.255", False, id="broadcast"),
    ],
)
def test_is_global(address: str, expected: bool) -> None:
    assert nat64.is_global(IPv4Address(address)) is expected
