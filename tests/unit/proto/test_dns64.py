# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 7050 section 3: the prefix is what stands around 192.0.0.170 and 192.0.0.171."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto import nat64
from clatnm.proto.dns64 import WELL_KNOWN_ADDRESSES, prefixes_from


def found(*addresses: str) -> list[str]:
    return [str(prefix) for prefix in prefixes_from(IPv6Address(address) for address in addresses)]


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        pytest.param("64:ff9b::192.0.0.170", "64:ff9b::/96", id="rfc7050-3-well-known"),
        pytest.param("64:ff9b::192.0.0.171", "64:ff9b::/96", id="rfc7050-3-the-other-address"),
        pytest.param("2001:db8:1:2:100::192.0.0.170", None, id="rfc6052-2.2-u-in-a-96"),
        pytest.param("2001:db8:1:2:0:3:192.0.0.170", "2001:db8:1:2:0:3::/96", id="rfc6052-2.2-len96"),
        pytest.param("2001:db8:1:2:c0:0:aa00::", "2001:db8:1:2::/64", id="rfc6052-2.2-len64"),
        pytest.param("2001:db8:1:2c0:0:aa::", "2001:db8:1:200::/56", id="rfc6052-2.2-len56"),
        pytest.param("2001:db8:1:c000:0:aa00::", "2001:db8:1::/48", id="rfc6052-2.2-len48"),
        pytest.param("2001:db8:1c0:0:aa::", "2001:db8:100::/40", id="rfc6052-2.2-len40"),
        pytest.param("2001:db8:c000:aa::", "2001:db8::/32", id="rfc6052-2.2-len32"),
        pytest.param("2001:db8:c000:aa::1", "2001:db8::/32", id="rfc6052-2.2-suffix-is-ignored"),
        pytest.param("2001:db8:1:2:1c0:0:aa00::", None, id="rfc6052-2.2-u-in-a-64"),
        pytest.param("2001:db8:1:c000:100:aa00::", None, id="rfc6052-2.2-u-in-a-48"),
        pytest.param("2001:db8::1", None, id="rfc7050-3-not-synthesised"),
        pytest.param("2001:db8::192.0.0.172", None, id="rfc7050-3-another-ipv4-address"),
        pytest.param("2001:db8::c0:0:aa:0", None, id="rfc7050-3-not-at-an-allowed-place"),
        pytest.param("::ffff:192.0.0.170", None, id="rfc4291-2.5.5-ipv4-mapped"),
        pytest.param("::192.0.0.170", None, id="rfc4291-2.5.5-ipv4-compatible"),
        pytest.param("fe80::192.0.0.170", None, id="rfc4291-2.5.6-link-local"),
        pytest.param("ff0e::192.0.0.170", None, id="rfc4291-2.7-multicast"),
    ],
)
def test_prefix_is_found_at_the_places_of_rfc6052_only(address: str, prefix: str | None) -> None:
    assert found(address) == ([prefix] if prefix else [])


def test_prefixes_keep_the_order_of_the_answer_and_come_once() -> None:
    answer = ["2001:db8:2::c000:ab", "64:ff9b::c000:aa", "2001:db8::1", "64:ff9b::c000:ab", "2001:db8:2::c000:aa"]
    assert found(*answer) == ["2001:db8:2::/96", "64:ff9b::/96"]
    assert found() == []


AMBIGUOUS = "2001:db8:c000:aa::"  # as a prefix of 96 bits; as one of 32 bits, it has the first address in it


def test_ambiguous_address_needs_the_other_well_known_address() -> None:
    assert found(f"{AMBIGUOUS}c000:aa") == []
    assert found(f"{AMBIGUOUS}c000:ab") == []
    assert found(f"{AMBIGUOUS}c000:aa", f"{AMBIGUOUS}c000:ab") == [f"{AMBIGUOUS}/96"]


def test_ambiguous_address_does_not_hide_a_plain_one() -> None:
    assert found(f"{AMBIGUOUS}c000:aa", "64:ff9b::c000:aa") == ["64:ff9b::/96"]


def test_address_with_both_readings_agreed_is_ignored() -> None:
    # RFC 7050 3: neither reading is better; another DNS64 for 2001:db8::/32 answers at the same time.
    answer = [f"{AMBIGUOUS}c000:aa", f"{AMBIGUOUS}c000:ab", "2001:db8:c000:ab::"]
    assert found(*answer) == ["2001:db8::/32"]


@st.composite
def prefixes(draw: st.DrawFn) -> IPv6Network:
    """Any prefix a NAT64 can have; often with parts of the well-known addresses in it."""
    length = draw(st.sampled_from(nat64.LENGTHS))
    parts = st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from([b"\xc0\x00\x00\xaa", b"\xc0\x00\x00\xab"]))
    raw = bytearray((b"\x20" + b"".join(draw(st.lists(parts, min_size=6, max_size=15))) + bytes(15))[:16])
    raw[8] = 0
    return IPv6Network((bytes(raw), length), strict=False)


@given(prefixes())
def test_both_addresses_embedded_give_the_prefix_for_every_length(prefix: IPv6Network) -> None:
    assert prefixes_from(nat64.embed(prefix, address) for address in WELL_KNOWN_ADDRESSES) == (prefix,)


@given(prefixes(), st.sampled_from(WELL_KNOWN_ADDRESSES))
def test_one_address_gives_the_prefix_or_nothing(prefix: IPv6Network, address: IPv4Address) -> None:
    assert set(prefixes_from([nat64.embed(prefix, address)])) <= {prefix}


@given(st.lists(st.binary(min_size=16, max_size=16).map(IPv6Address), max_size=6))
def test_whatever_is_found_is_a_prefix_of_an_address_told(addresses: list[IPv6Address]) -> None:
    for prefix in prefixes_from(addresses):
        assert nat64.check_prefix(prefix) == prefix
        assert any(address in prefix for address in addresses)


def test_prefixes_that_nobody_can_route_to_are_refused() -> None:
    with pytest.raises(ParseError):
        nat64.check_prefix(IPv6Network("fe80::/96"))
    assert found("fe80::c000:aa", "fe80::c000:ab") == []
