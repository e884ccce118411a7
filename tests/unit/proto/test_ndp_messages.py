# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 4861 neighbour messages: ours look like everybody else's, and of others' only valid ones are believed."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto import ndp

ROUTER = IPv6Address("fe80::ff:fe00:b")
HOST_MAC = bytes.fromhex("02000000000a")
ROUTER_MAC = bytes.fromhex("02000000000b")

# IPv6 packets heard on a veth pair between two Linux 6.18 hosts, one of them a router
LINUX_NS = bytes.fromhex(
    "6000000000203aff20010db8000a00000000000000000002ff0200000000000000000001ff000001"
    "87001c0b0000000020010db8000a00000000000000000001010102000000000a"
)
LINUX_NS_UNICAST = bytes.fromhex(
    "6000000000203afffe80000000000000000000fffe00000bfe80000000000000000000fffe00000a"
    "87007cf700000000fe80000000000000000000fffe00000a010102000000000b"
)
LINUX_PROBE = bytes.fromhex(
    "6000000000203aff00000000000000000000000000000000ff0200000000000000000001ff000002"
    "8700a7f90000000020010db8000a000000000000000000020e0184317bb496f8"
)
LINUX_NA = bytes.fromhex(
    "6000000000203aff20010db8000a0000000000000000000120010db8000a00000000000000000002"
    "88000a4be000000020010db8000a00000000000000000001020102000000000b"
)
LINUX_NA_BARE = bytes.fromhex(
    "6000000000183afffe80000000000000000000fffe00000afe80000000000000000000fffe00000b"
    "88003f0b40000000fe80000000000000000000fffe00000a"
)
CLAT = IPv6Address("2001:db8:a::2")


def plain_checksum(packet: bytes) -> int:
    """RFC 1071 by the book, over an IPv6 packet's pseudo header and payload."""
    data = packet[8:40] + struct.pack("!II", len(packet) - 40, 58) + packet[40:]
    data += b"\0" * (len(data) % 2)
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def icmpv6(body: bytes, *, source: str = "fe80::b", destination: str = "fe80::a", hop_limit: int = 255) -> bytes:
    """An IPv6 packet around an ICMPv6 message whose checksum is put right."""
    addresses = IPv6Address(source).packed + IPv6Address(destination).packed
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, hop_limit) + addresses
    blank = body[:2] + b"\0\0" + body[4:]
    return header + body[:2] + struct.pack("!H", plain_checksum(header + blank)) + body[4:]


def ns_body(target: str = "fe80::a", options: bytes = b"", *, code: int = 0) -> bytes:
    return struct.pack("!BBHI", 135, code, 0, 0) + IPv6Address(target).packed + options


def na_body(target: str = "fe80::b", options: bytes = b"", *, flags: int = 0x60, code: int = 0) -> bytes:
    return struct.pack("!BBHB3x", 136, code, 0, flags) + IPv6Address(target).packed + options


def test_router_solicitation_packet_may_come_from_nobody() -> None:
    packet = ndp.router_solicitation_packet(source=ndp.UNSPECIFIED)
    assert packet[:40] == bytes.fromhex("6000000000083aff") + bytes(16) + IPv6Address("ff02::2").packed
    assert packet[40:42] + packet[44:] == bytes.fromhex("850000000000")  # RFC 4861 4.1: no link address
    assert plain_checksum(packet) == 0


def test_neighbor_solicitation_is_what_linux_sends() -> None:
    sent = ndp.neighbor_solicitation(source=CLAT, target=IPv6Address("2001:db8:a::1"), link_address=HOST_MAC)
    assert sent == LINUX_NS
    host = IPv6Address("fe80::ff:fe00:a")
    sent = ndp.neighbor_solicitation(source=ROUTER, target=host, link_address=ROUTER_MAC, destination=host)
    assert sent == LINUX_NS_UNICAST


def test_duplicate_address_probe_is_what_linux_sends() -> None:
    nonce = bytes.fromhex("84317bb496f8")
    for link_address in (None, HOST_MAC):  # RFC 4861 4.3: left out in any case
        source = IPv6Address("::")
        sent = ndp.neighbor_solicitation(source=source, target=CLAT, link_address=link_address, nonce=nonce)
        assert sent == LINUX_PROBE


def test_neighbor_advertisement_is_what_linux_sends_but_never_as_a_router() -> None:
    target = IPv6Address("2001:db8:a::1")
    sent = ndp.neighbor_advertisement(
        source=target, destination=CLAT, target=target, link_address=ROUTER_MAC, solicited=True, override=True
    )
    assert sent[44] == LINUX_NA[44] & 0x7F
    assert sent[:42] + sent[45:] == LINUX_NA[:42] + LINUX_NA[45:]
    assert plain_checksum(sent) == 0


def test_neighbor_solicitation_of_linux_is_read_whole() -> None:
    assert ndp.parse_neighbor(LINUX_NS) == ndp.NeighborSolicit(
        source=CLAT,
        destination=IPv6Address("ff02::1:ff00:1"),
        target=IPv6Address("2001:db8:a::1"),
        link_address=HOST_MAC,
        nonce=None,
    )
    assert ndp.parse_neighbor(LINUX_PROBE) == ndp.NeighborSolicit(
        source=IPv6Address("::"),
        destination=IPv6Address("ff02::1:ff00:2"),
        target=CLAT,
        link_address=None,
        nonce=bytes.fromhex("84317bb496f8"),
    )


def test_neighbor_advertisement_of_linux_is_read_whole() -> None:
    assert ndp.parse_neighbor(LINUX_NA) == ndp.NeighborAdvert(
        source=IPv6Address("2001:db8:a::1"),
        destination=CLAT,
        target=IPv6Address("2001:db8:a::1"),
        link_address=ROUTER_MAC,
        router=True,
        solicited=True,
        override=True,
    )
    bare = ndp.parse_neighbor(LINUX_NA_BARE)
    assert isinstance(bare, ndp.NeighborAdvert)
    assert (bare.link_address, bare.router, bare.solicited, bare.override) == (None, False, True, False)


def test_neighbor_message_may_be_padded_by_the_link() -> None:
    assert ndp.parse_neighbor(LINUX_NA_BARE + bytes(20)) == ndp.parse_neighbor(LINUX_NA_BARE)


MAC_1 = bytes.fromhex("010102000000000b")
MAC_2 = bytes.fromhex("020102000000000b")


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(LINUX_NS[:39], id="header-cut-short"),
        pytest.param(LINUX_NS[:-1], id="packet-cut-short"),
        pytest.param(b"\x45" + LINUX_NS[1:], id="ipv4"),
        pytest.param(LINUX_NS[:6] + b"\x00" + LINUX_NS[7:], id="extension-header"),
        pytest.param(LINUX_NS[:42] + b"\x00\x00" + LINUX_NS[44:], id="rfc4861-7.1.1-checksum"),
        pytest.param(LINUX_NA[:-1] + b"\x0c", id="rfc4861-7.1.2-checksum"),
        pytest.param(icmpv6(ns_body(), hop_limit=254), id="rfc4861-7.1.1-hop-limit"),
        pytest.param(icmpv6(na_body(), hop_limit=254), id="rfc4861-7.1.2-hop-limit"),
        pytest.param(icmpv6(ns_body(code=1)), id="rfc4861-7.1.1-code"),
        pytest.param(icmpv6(na_body(code=1)), id="rfc4861-7.1.2-code"),
        pytest.param(icmpv6(ns_body()[:23]), id="rfc4861-7.1.1-length"),
        pytest.param(icmpv6(na_body()[:16]), id="rfc4861-7.1.2-length"),
        pytest.param(icmpv6(ns_body("ff02::1")), id="rfc4861-7.1.1-target-group"),
        pytest.param(icmpv6(na_body("ff02::1")), id="rfc4861-7.1.2-target-group"),
        pytest.param(icmpv6(ns_body(options=b"\x01\x00" + bytes(6))), id="rfc4861-7.1.1-option-length-0"),
        pytest.param(icmpv6(na_body(options=b"\x02\x00" + bytes(6))), id="rfc4861-7.1.2-option-length-0"),
        pytest.param(icmpv6(ns_body(options=MAC_1[:7])), id="option-past-the-end"),
        pytest.param(icmpv6(ns_body(), source="::", destination="ff02::1"), id="rfc4861-7.1.1-probe-destination"),
        pytest.param(
            icmpv6(ns_body(options=MAC_1), source="::", destination="ff02::1:ff00:a"),
            id="rfc4861-7.1.1-probe-link-address",
        ),
        pytest.param(icmpv6(na_body(flags=0x60), destination="ff02::1"), id="rfc4861-7.1.2-solicited-group"),
        pytest.param(icmpv6(ns_body(), source="ff02::1"), id="rfc4291-2.7-source-group"),
        pytest.param(icmpv6(bytes.fromhex("80000000") + bytes(24)), id="echo"),
        pytest.param(icmpv6(bytes.fromhex("86000000404807080000000000000000") + bytes(8)), id="router-advertisement"),
    ],
)
def test_neighbor_message_is_refused_when_invalid(packet: bytes) -> None:
    with pytest.raises(ParseError):
        ndp.parse_neighbor(packet)


def test_neighbor_messages_of_the_table_are_good_without_their_fault() -> None:
    """The table above would prove little if its packets were refused for something else."""
    assert ndp.parse_neighbor(icmpv6(ns_body(options=MAC_1)))
    assert ndp.parse_neighbor(icmpv6(na_body(options=MAC_2)))
    assert ndp.parse_neighbor(icmpv6(ns_body(), source="::", destination="ff02::1:ff00:a"))
    assert ndp.parse_neighbor(icmpv6(na_body(flags=0x20, options=MAC_2), destination="ff02::1"))


def test_link_address_of_another_kind_of_link_is_left_out() -> None:
    long = b"\x02\x02" + bytes(14)
    advert = ndp.parse_neighbor(icmpv6(na_body(options=long + MAC_2)))
    assert advert.link_address == ROUTER_MAC
    assert ndp.parse_neighbor(icmpv6(na_body(options=long))).link_address is None


@pytest.mark.parametrize(
    ("address", "group", "mac"),
    [
        pytest.param("2037::1:800:200e:8c6c", "ff02::1:ff0e:8c6c", "3333ff0e8c6c", id="rfc4291-2.7.1-example"),
        pytest.param("fe80::1", "ff02::1:ff00:1", "3333ff000001", id="link-local"),
        pytest.param("2001:db8::ffff:ffff", "ff02::1:ffff:ffff", "3333ffffffff", id="all-ones"),
    ],
)
def test_solicited_node_group_and_its_link_address(address: str, group: str, mac: str) -> None:
    assert ndp.solicited_node(IPv6Address(address)) == IPv6Address(group)
    assert ndp.multicast_mac(IPv6Address(group)).hex() == mac


def test_group_link_address_is_of_the_last_four_bytes() -> None:
    assert ndp.multicast_mac(ndp.ALL_NODES).hex() == "333300000001"
    assert ndp.multicast_mac(IPv6Address("ff02::1234:5678")).hex() == "333312345678"


unicast = st.integers(1, (0xFE << 120) - 1).map(IPv6Address)
macs = st.binary(min_size=6, max_size=6)


@given(source=unicast, target=unicast, link_address=st.none() | macs, nonce=st.none() | macs)
def test_neighbor_solicitation_comes_back_as_it_was_meant(
    source: IPv6Address, target: IPv6Address, link_address: bytes | None, nonce: bytes | None
) -> None:
    packet = ndp.neighbor_solicitation(source=source, target=target, link_address=link_address, nonce=nonce)
    assert plain_checksum(packet) == 0
    assert ndp.parse_neighbor(packet) == ndp.NeighborSolicit(
        source=source,
        destination=ndp.solicited_node(target),
        target=target,
        link_address=link_address,
        nonce=nonce,
    )


@given(source=unicast, destination=unicast, target=unicast, mac=macs, solicited=st.booleans(), override=st.booleans())
def test_neighbor_advertisement_comes_back_as_it_was_meant(
    *, source: IPv6Address, destination: IPv6Address, target: IPv6Address, mac: bytes, solicited: bool, override: bool
) -> None:
    packet = ndp.neighbor_advertisement(
        source=source, destination=destination, target=target, link_address=mac, solicited=solicited, override=override
    )
    assert plain_checksum(packet) == 0
    assert packet[44] & 0x1F == 0 and packet[45:48] == bytes(3)  # RFC 4861 4.4: reserved bits
    assert ndp.parse_neighbor(packet) == ndp.NeighborAdvert(
        source=source,
        destination=destination,
        target=target,
        link_address=mac,
        router=False,
        solicited=solicited,
        override=override,
    )


OPTIONS = [MAC_1, MAC_2, b"\x01\x02" + bytes(14), b"\x0e\x01nonce!", b"\x0e\x03" + bytes(22), b"\xc8\x01" + bytes(6)]
options = st.lists(st.sampled_from(OPTIONS) | st.binary(max_size=9), max_size=4).map(b"".join)


@given(
    message=st.tuples(st.sampled_from([ns_body(), na_body(), na_body(flags=0)]), options).map(b"".join),
    source=st.sampled_from(["fe80::b", "::", "ff02::1"]),
    destination=st.sampled_from(["fe80::a", "ff02::1", "ff02::1:ff00:a"]),
)
def test_any_message_with_a_good_checksum_is_read_or_a_parse_error(
    message: bytes, source: str, destination: str
) -> None:
    with contextlib.suppress(ParseError):
        found = ndp.parse_neighbor(icmpv6(message, source=source, destination=destination))
        assert found.source == IPv6Address(source)
        assert found.link_address is None or len(found.link_address) == 6


@given(packet=st.binary(max_size=120))
def test_any_bytes_are_a_neighbor_message_or_a_parse_error(packet: bytes) -> None:
    with contextlib.suppress(ParseError):
        ndp.parse_neighbor(packet)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(LINUX_NS, id="solicitation"),
        pytest.param(LINUX_PROBE, id="probe"),
        pytest.param(LINUX_NA, id="advertisement"),
        pytest.param(LINUX_NA_BARE, id="advertisement-bare"),
    ],
)
def test_flipped_bit_never_goes_unnoticed(packet: bytes) -> None:
    """Only the traffic class and the flow label (bits 4 to 31) are outside every check of RFC 4861 7.1."""
    for bit in range(len(packet) * 8):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        if 4 <= bit < 32:
            assert ndp.parse_neighbor(bytes(damaged)) == ndp.parse_neighbor(packet)
        else:
            with pytest.raises(ParseError):
                ndp.parse_neighbor(bytes(damaged))
