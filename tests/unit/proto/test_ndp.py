# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 4861 router messages: which advertisements are believed, what is read from them, what is left out."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto import ndp
from clatnm.proto.ndp import Preference

ROUTER = IPv6Address("fe80::ff:fe00:b")
HOST_MAC = bytes.fromhex("02000000000a")
ROUTER_MAC = bytes.fromhex("02000000000b")

# ICMPv6 heard on a veth pair between two Linux 6.18 hosts, one with radvd 2.19
RADVD_RA = bytes.fromhex(
    "860028ce404807080000000000000000030440c000001c2000000e100000000020010db8000a00000000000000000000"
    "190500000000025820010db8000a0000000000000000005320010db8000a00000000000000000054"
    "1f03000000000004076578616d706c6503636f6d0000000005010000000005d4010102000000000b"
)
LINUX_RS = bytes.fromhex("85007b1a00000000010102000000000a")
# Made with scapy 2.8: managed, low preference, PREF64 64:ff9b::/96 for 1800 s, MTU 1500
SCAPY_RA_PREF64 = bytes.fromhex("8600fc8f409807080000000000000000260207080064ff9b000000000000000005010000000005dc")

HEADER = bytes.fromhex("86000000404807080000000000000000")  # RA: hop limit 64, O, high, 1800 s
PIO = bytes.fromhex("030440c000001c2000000e100000000020010db8000a00000000000000000000")
LL = IPv6Address("fe80::1")


def parse_ra(data: bytes, *, source: IPv6Address = LL, hop_limit: int = 255) -> ndp.RouterAdvert:
    return ndp.parse_router_advertisement(data, source=source, hop_limit=hop_limit)


def test_router_advertisement_of_radvd_is_read_whole() -> None:
    assert parse_ra(RADVD_RA, source=IPv6Address("fe80::ff:fe00:b%7")) == ndp.RouterAdvert(
        router=ROUTER,
        lifetime_s=1800,
        preference=Preference.HIGH,
        hop_limit=64,
        managed=False,
        other=True,
        mtu_bytes=1492,
        link_address=ROUTER_MAC,
        prefixes=(
            ndp.PrefixInfo(
                prefix=IPv6Network("2001:db8:a::/64"), on_link=True, autonomous=True, valid_s=7200, preferred_s=3600
            ),
        ),
        rdnss=(
            ndp.DnsServer(address=IPv6Address("2001:db8:a::53"), lifetime_s=600),
            ndp.DnsServer(address=IPv6Address("2001:db8:a::54"), lifetime_s=600),
        ),
        pref64=(),
    )


def test_router_advertisement_with_pref64_names_prefix_and_lifetime() -> None:
    advert = parse_ra(SCAPY_RA_PREF64)
    assert [(str(option.prefix), option.lifetime_s) for option in advert.pref64] == [("64:ff9b::/96", 1800)]
    assert (advert.managed, advert.other, advert.preference) == (True, False, Preference.LOW)
    assert advert.mtu_bytes == 1500


def test_router_has_no_scope_whatever_the_socket_said() -> None:
    assert parse_ra(HEADER, source=IPv6Address("fe80::1%wlan0")).router == IPv6Address("fe80::1")


@pytest.mark.parametrize(
    ("data", "source", "hop_limit"),
    [
        pytest.param(HEADER, "fe80::1", 64, id="rfc4861-6.1.2-hop-limit"),
        pytest.param(HEADER, "2001:db8:a::1", 255, id="rfc4861-6.1.2-source-global"),
        pytest.param(HEADER, "::", 255, id="rfc4861-6.1.2-source-unspecified"),
        pytest.param(b"\x86\x01" + HEADER[2:], "fe80::1", 255, id="rfc4861-6.1.2-code"),
        pytest.param(b"\x85" + HEADER[1:], "fe80::1", 255, id="another-type"),
        pytest.param(HEADER[:15], "fe80::1", 255, id="rfc4861-6.1.2-length"),
        pytest.param(b"", "fe80::1", 255, id="empty"),
        pytest.param(HEADER + b"\x63\x00" + bytes(6), "fe80::1", 255, id="rfc4861-6.1.2-option-length-0"),
        pytest.param(HEADER + PIO + b"\x63\x00", "fe80::1", 255, id="option-length-0-behind-a-good-one"),
        pytest.param(HEADER + PIO[:-1], "fe80::1", 255, id="option-past-the-end"),
        pytest.param(HEADER + b"\x05", "fe80::1", 255, id="option-without-length"),
    ],
)
def test_router_advertisement_is_refused_when_invalid(data: bytes, source: str, hop_limit: int) -> None:
    with pytest.raises(ParseError):
        parse_ra(data, source=IPv6Address(source), hop_limit=hop_limit)


@pytest.mark.parametrize(
    ("flags", "lifetime_s", "preference"),
    [
        pytest.param(0x00, 1800, Preference.MEDIUM, id="rfc4191-2.1-00"),
        pytest.param(0x08, 1800, Preference.HIGH, id="rfc4191-2.1-01"),
        pytest.param(0x18, 1800, Preference.LOW, id="rfc4191-2.1-11"),
        pytest.param(0x10, 1800, Preference.MEDIUM, id="rfc4191-2.2-reserved"),
        pytest.param(0x08, 0, Preference.MEDIUM, id="rfc4191-2.2-no-lifetime"),
        pytest.param(0xE7, 1800, Preference.MEDIUM, id="other-flags-set"),
        pytest.param(0x27, 1800, Preference.MEDIUM, id="rfc4861-4.2-reserved-bits"),
    ],
)
def test_router_preference_follows_the_two_bits(flags: int, lifetime_s: int, preference: Preference) -> None:
    advert = parse_ra(HEADER[:5] + struct.pack("!BH", flags, lifetime_s) + HEADER[8:])
    assert (advert.preference, advert.lifetime_s) == (preference, lifetime_s)
    assert (advert.managed, advert.other) == (bool(flags & 0x80), bool(flags & 0x40))


@pytest.mark.parametrize(
    ("option", "mtu_bytes"),
    [
        pytest.param("05010000000005dc", 1500, id="rfc4861-4.6.4"),
        pytest.param("0501000000000500", 1280, id="rfc4861-6.3.4-least"),
        pytest.param("0501ffff01000000", 1 << 24, id="rfc4861-4.6.4-reserved-bits"),
        pytest.param("05010000000004ff", None, id="rfc4861-6.3.4-too-small"),
        pytest.param("05020000000005dc0000000000000000", None, id="rfc4861-4.6.4-length-2"),
        pytest.param("050100000000050105010000000005dc", 1281, id="first-counts"),
        pytest.param("050100000000000005010000000005dc", 1500, id="first-good-one-counts"),
    ],
)
def test_mtu_option_is_believed_within_bounds(option: str, mtu_bytes: int | None) -> None:
    assert parse_ra(HEADER + bytes.fromhex(option)).mtu_bytes == mtu_bytes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, ("2001:db8:a::/64", True, True), id="rfc4861-4.6.2"),
        pytest.param({3: 0x40}, ("2001:db8:a::/64", False, True), id="off-link"),
        pytest.param({3: 0x80}, ("2001:db8:a::/64", True, False), id="not-autonomous"),
        pytest.param({3: 0x3F}, ("2001:db8:a::/64", False, False), id="rfc4861-4.6.2-reserved-bits"),
        pytest.param({2: 48}, ("2001:db8:a::/48", True, True), id="len48"),
        pytest.param({2: 128}, ("2001:db8:a::/128", True, True), id="len128"),
        pytest.param({2: 32}, ("2001:db8::/32", True, True), id="rfc4861-4.6.2-bits-past-the-length"),
        pytest.param({10: 0x1C, 11: 0x20}, ("2001:db8:a::/64", True, True), id="rfc4862-5.5.3c-preferred-as-valid"),
        pytest.param({8: 0xFF}, ("2001:db8:a::/64", True, False), id="rfc4862-5.5.3c-preferred-above-valid"),
        pytest.param({2: 129}, None, id="len129"),
        pytest.param({16: 0xFE, 17: 0x80}, None, id="rfc4862-5.5.3b-link-local"),
        pytest.param({1: 5}, None, id="rfc4861-4.6.2-length-5"),
    ],
)
def test_prefix_option_yields_what_may_be_used(change: dict[int, int], expected: tuple[str, bool, bool] | None) -> None:
    option = bytearray(PIO)
    for at, value in change.items():
        option[at] = value
    found = parse_ra(HEADER + bytes(option) + bytes(8 * (option[1] - 4))).prefixes
    seen = [(str(info.prefix), info.on_link, info.autonomous) for info in found]
    assert seen == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("units", "addresses", "expected"),
    [
        pytest.param(3, ["fe80::53"], ["fe80::53"], id="rfc8106-5.1-one-link-local"),
        pytest.param(5, ["2001:db8::1", "2001:db8::2"], ["2001:db8::1", "2001:db8::2"], id="rfc8106-5.1-two"),
        pytest.param(4, ["2001:db8::1"], [], id="rfc8106-5.3.1-even-length"),
        pytest.param(1, [], [], id="rfc8106-5.3.1-no-address"),
        pytest.param(5, ["::", "2001:db8::2"], ["2001:db8::2"], id="unspecified-is-this-host"),
        pytest.param(5, ["::1", "ff02::fb"], [], id="loopback-and-group"),
    ],
)
def test_rdnss_option_yields_usable_servers(units: int, addresses: list[str], expected: list[str]) -> None:
    body = b"".join(IPv6Address(text).packed for text in addresses)
    option = struct.pack("!BBHI", 25, units, 0, 0xFFFFFFFF) + body
    servers = parse_ra(HEADER + option.ljust(units * 8, b"\0")).rdnss
    assert [(str(server.address), server.lifetime_s) for server in servers] == [(a, 0xFFFFFFFF) for a in expected]


def test_source_link_option_counts_only_as_ethernet() -> None:
    assert parse_ra(HEADER + bytes.fromhex("010102000000000b")).link_address == ROUTER_MAC
    assert parse_ra(HEADER + bytes.fromhex("010202000000000b") + bytes(8)).link_address is None
    assert parse_ra(HEADER).link_address is None


def test_unknown_option_is_skipped() -> None:
    advert = parse_ra(HEADER + b"\xc8\x02" + bytes(14) + bytes.fromhex("05010000000005dc"))
    assert advert.mtu_bytes == 1500


def test_malformed_pref64_leaves_the_rest_of_the_advert() -> None:
    too_long = b"\x26\x03" + bytes(22)
    advert = parse_ra(HEADER + too_long + SCAPY_RA_PREF64[16:])
    assert [str(option.prefix) for option in advert.pref64] == ["64:ff9b::/96"]


def test_router_solicitation_is_what_linux_sends() -> None:
    sent = ndp.router_solicitation(link_address=HOST_MAC)
    assert sent[4:] == LINUX_RS[4:] and sent[:2] == LINUX_RS[:2]
    assert sent[2:4] == b"\0\0"  # the raw socket's to fill in
    assert ndp.router_solicitation(link_address=None) == bytes.fromhex("8500000000000000")


def options() -> st.SearchStrategy[bytes]:
    """Option lists: types we know and others, lengths that mostly fit their bodies and sometimes lie."""
    kinds = st.sampled_from([1, 2, 3, 5, 14, 24, 25, 31, 38, 200])
    honest = st.tuples(kinds, st.integers(1, 6).flatmap(lambda n: st.binary(min_size=8 * n - 2, max_size=8 * n - 2)))
    good = honest.map(lambda option: bytes((option[0], (len(option[1]) + 2) // 8)) + option[1])
    return st.lists(good | st.binary(max_size=3), max_size=5).map(b"".join)


@given(data=st.binary(max_size=80) | options().map(lambda tail: HEADER + tail), hop_limit=st.sampled_from([255, 64]))
def test_any_bytes_are_a_router_advertisement_or_a_parse_error(data: bytes, hop_limit: int) -> None:
    with contextlib.suppress(ParseError):
        advert = parse_ra(data, hop_limit=hop_limit)
        assert hop_limit == 255 and data[0] == 134
        assert advert.mtu_bytes is None or advert.mtu_bytes >= 1280
        assert all(option.prefix.prefixlen in (32, 40, 48, 56, 64, 96) for option in advert.pref64)


@given(at=st.integers(0, len(RADVD_RA) - 1), value=st.integers(0, 255), cut=st.integers(0, len(RADVD_RA)))
def test_damaged_router_advertisement_is_read_or_a_parse_error(at: int, value: int, cut: int) -> None:
    with contextlib.suppress(ParseError):
        parse_ra((RADVD_RA[:at] + bytes([value]) + RADVD_RA[at + 1 :])[:cut])
