# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses are nobody's, and that the mapping says so."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from clatnm.errors import ParseError
from clatnm.proto.addresses import AddressMap, is_link_local_v6, is_martian_v4, is_unicast_v6
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.refusal import DropReason, Refused
from tests.unit.proto import siit_packets as pk

EAM = EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)])


@pytest.mark.parametrize(
    ("address", "martian"),
    [
        ("0.0.0.0", True),
        ("0.255.255.255", True),
        ("1.0.0.0", False),
        ("126.255.255.255", False),
        ("127.0.0.1", True),
        ("128.0.0.0", False),
        ("169.253.255.255", False),
        ("169.254.0.0", True),
        ("169.255.0.0", False),
        ("10.0.0.1", False),
        ("223.255.255.255", False),
        ("224.0.0.0", True),
        ("255.255.255.255", True),
    ],
)
def test_martians_of_ipv4(address: str, martian: bool) -> None:
    assert is_martian_v4(IPv4Address(address).packed) is martian


@pytest.mark.parametrize(
    ("address", "unicast", "link_local"),
    [
        ("::", False, False),
        ("::1", False, False),
        ("::2", True, False),
        ("::ffff:1.2.3.4", False, False),
        ("ff02::1", False, False),
        ("2001:db8::", True, False),
        ("fe7f::1", True, False),
        ("fe80::1", True, True),
        ("febf::1", True, True),
        ("fec0::1", True, False),
        ("fd00::1", True, False),
    ],
)
def test_kinds_of_ipv6(address: str, unicast: bool, link_local: bool) -> None:
    packed = IPv6Address(address).packed
    assert (is_unicast_v6(packed), is_link_local_v6(packed)) == (unicast, link_local)


def test_mapping_comes_before_the_prefix() -> None:
    """RFC 7757 3.3: an explicit mapping wins."""
    addresses = AddressMap(IPv6Network("2001:db8:64::/96"), EAM, well_known_strict=True)
    assert addresses.remote_to_v6(pk.CLAT_V4.packed) == pk.CLAT_V6.packed
    assert addresses.remote_to_v4(pk.CLAT_V6.packed) == pk.CLAT_V4.packed
    assert addresses.local_to_v6(pk.PEER_V4.packed) is None


def test_strictness_is_about_the_well_known_prefix_alone() -> None:
    private = IPv4Address("10.1.2.3").packed
    for prefix, strict, allowed in (
        ("64:ff9b::/96", True, False),
        ("64:ff9b::/96", False, True),
        ("64:ff9b:1::/96", True, True),
    ):
        addresses = AddressMap(IPv6Network(prefix), EAM, well_known_strict=strict)
        if allowed:
            assert addresses.remote_to_v4(addresses.remote_to_v6(private)) == private
        else:
            with pytest.raises(Refused) as caught:
                addresses.remote_to_v6(private)
            assert caught.value.reason is DropReason.NOT_GLOBAL


def test_no_prefix_maps_nobody() -> None:
    addresses = AddressMap(None, EAM, well_known_strict=True)
    with pytest.raises(Refused) as caught:
        addresses.remote_to_v6(pk.PEER_V4.packed)
    assert caught.value.reason is DropReason.DESTINATION_UNMAPPED
    with pytest.raises(Refused) as caught:
        addresses.remote_to_v4(pk.PEER_V6.packed)
    assert caught.value.reason is DropReason.SOURCE_UNMAPPED


def test_illegal_prefix_is_refused() -> None:
    with pytest.raises(ParseError):
        AddressMap(IPv6Network("2001:db8::/33"), EAM, well_known_strict=True)
