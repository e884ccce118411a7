# SPDX-License-Identifier: GPL-2.0-or-later
"""What NetworkManager knows of a connection's link: no IPv4 wanted, its resolvers, its Wi-Fi access point."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any

import pytest

from clatnm.model import Uplink
from clatnm.uplinks import nm_objects
from clatnm.uplinks.nm_modes import Profile
from clatnm.uplinks.nm_objects import (
    ACCESS_POINT,
    DEVICE,
    DHCP6_CONFIG,
    IP4_CONFIG,
    IP6_CONFIG,
    NM_PATH,
    WIRELESS,
    Objects,
)
from tests.unit.uplinks.recorded import (
    a_device,
    a_profile,
    active_path,
    added,
    an_active,
    changed,
    device_path,
    profile_path,
    removed,
)

NO_PATH = "/"
IP6_PATH, DHCP6_PATH = f"{NM_PATH}/IP6Config/1", f"{NM_PATH}/DHCP6Config/1"


def merged(*parts: Objects) -> Objects:
    """All these objects; interfaces of the same path together."""
    objects: Objects = {}
    for part in parts:
        for path, interfaces in part.items():
            objects.setdefault(path, {}).update(interfaces)
    return objects


def the_uplink(*parts: Objects, profile: Profile | None = None) -> Uplink:
    (uplink,) = nm_objects.uplinks_from(merged(*parts), {profile_path(1): profile or a_profile()})
    return uplink


# No IPv4


@pytest.mark.parametrize(
    ("profile", "disabled"),
    [
        ({"ipv4": {"method": "disabled"}}, True),
        ({"ipv4": {"method": "auto"}}, False),
        ({"ipv4": {"method": "link-local"}}, False),
        ({"ipv4": {}}, False),
        ({}, False),
    ],
)
def test_profile_says_whether_ipv4_is_wanted(profile: Profile, disabled: bool) -> None:
    assert the_uplink(an_active(), a_device(), profile=profile).ipv4_disabled is disabled


# Resolvers


def packed(*addresses: str) -> list[bytes]:
    """As IP6Config.Nameservers has them."""
    return [IPv6Address(address).packed for address in addresses]


def entries(*addresses: str) -> list[dict[str, Any]]:
    """As IP4Config.NameserverData has them."""
    return [{"address": address} for address in addresses]


def a_network(
    *, leased: str | None = None, ip6: dict[str, Any] | None = None, ip4: dict[str, Any] | None = None
) -> Objects:
    """An Ethernet device with these resolvers in its DHCPv6 lease and its IP configurations."""
    return merged(
        a_device(Ip6Config=IP6_PATH, Dhcp6Config=NO_PATH if leased is None else DHCP6_PATH),
        {IP6_PATH: {IP6_CONFIG: ip6 or {}}},
        {f"{NM_PATH}/IP4Config/1": {IP4_CONFIG: ip4 or {}}},
        {} if leased is None else {DHCP6_PATH: {DHCP6_CONFIG: {"Options": {"dhcp6_name_servers": leased}}}},
    )


A, B, C, D = "2001:db8::a", "2001:db8::b", "192.0.2.1", "192.0.2.2"


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        pytest.param(a_network(), [], id="none"),
        pytest.param(a_device(), [], id="no-ipv6-configuration-yet"),
        pytest.param(a_network(leased=""), [], id="lease-without"),
        pytest.param(a_network(leased=f"{A} {B}"), [A, B], id="dhcp6"),
        pytest.param(a_network(ip6={"Nameservers": packed(A, B)}), [A, B], id="ip6-as-of-1.42"),
        pytest.param(a_network(ip6={"NameserverData": entries(A), "Nameservers": packed(A)}), [A], id="ip6-data"),
        pytest.param(a_network(ip4={"NameserverData": entries(C, D), "Nameservers": [16843009]}), [C, D], id="ip4"),
        pytest.param(
            a_network(leased=B, ip6={"Nameservers": packed(A, B)}, ip4={"NameserverData": entries(C)}),
            [B, A, C],
            id="dhcp6-before-ip6-before-ip4",
        ),
        pytest.param(a_network(leased="fe80::53%eth1"), ["fe80::53"], id="link-local-with-scope"),
        pytest.param(a_network(leased=f"nonsense {A}"), [A], id="nonsense"),
        pytest.param(a_network(ip6={"Nameservers": [b"short"]}, ip4={"NameserverData": [{}]}), [], id="broken"),
    ],
)
def test_resolvers_of_the_link_are_told_in_order(network: Objects, expected: list[str]) -> None:
    assert the_uplink(an_active(), network).resolvers == tuple(map(ip_address, expected))


def a_vpn(**other: Any) -> Objects:
    """A VPN over the Ethernet device, with a configuration of its own that brings resolver B."""
    path = f"{NM_PATH}/IP6Config/7"
    active = an_active(2, profile=2, Type="vpn", Vpn=True, Ip4Config=NO_PATH, Ip6Config=path, **other)
    return merged(active, {path: {IP6_CONFIG: {"Nameservers": packed(B)}}})


def test_resolvers_of_a_vpn_over_the_link_are_not_the_links() -> None:
    # A VPN without a device of its own (IPsec) has its resolvers in the configuration of the device, too.
    network = a_network(ip6={"Nameservers": packed(B, A)})
    assert the_uplink(an_active(), network, a_vpn()).resolvers == (IPv6Address(A),)
    assert the_uplink(an_active(), network, a_vpn(Devices=[device_path(9)])).resolvers == tuple(
        map(IPv6Address, (B, A))
    )


def test_vpn_that_names_the_links_own_configuration_takes_nothing_away() -> None:
    network = a_network(ip6={"Nameservers": packed(A)})
    vpn = an_active(2, profile=2, Type="vpn", Vpn=True, Ip6Config=IP6_PATH)
    assert the_uplink(an_active(), network, vpn).resolvers == (IPv6Address(A),)


def test_vpn_with_a_device_of_its_own_has_resolvers_of_its_own() -> None:
    """They are asked only if it is told to have a CLAT."""
    uplink = the_uplink(an_active(Type="wireguard"), a_network(ip6={"Nameservers": packed(A)}))
    assert (uplink.is_vpn, uplink.resolvers) == (True, (IPv6Address(A),))


def test_resolvers_come_and_go_by_signal() -> None:
    objects = merged(an_active(), a_network())
    for addresses in ((A,), (A, B), ()):
        nm_objects.apply(objects, changed(IP6_PATH, IP6_CONFIG, {"Nameservers": packed(*addresses)}))
        assert the_uplink(objects).resolvers == tuple(map(IPv6Address, addresses))


# Access points


def access_point_path(number: int) -> str:
    return f"{NM_PATH}/AccessPoint/{number}"


def an_access_point(number: int, **other: Any) -> Objects:
    properties = {"HwAddress": f"02:00:00:00:00:0{number}", "Ssid": b"six", "Strength": 80, "Frequency": 2412}
    return {access_point_path(number): {ACCESS_POINT: {**properties, **other}}}


def a_wifi(active: str) -> Objects:
    wireless = {"ActiveAccessPoint": active, "AccessPoints": [access_point_path(1)], "Mode": 2, "Bitrate": 54000}
    device = a_device(Interface="wlan0", IpInterface="wlan0", DeviceType=2)
    return merged(an_active(Type="802-11-wireless"), device, {device_path(1): {WIRELESS: wireless}})


def test_wifi_tells_its_access_point() -> None:
    uplink = the_uplink(a_wifi(access_point_path(1)), an_access_point(1), an_access_point(2))
    assert (uplink.interface, uplink.access_point) == ("wlan0", "02:00:00:00:00:01")


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((an_active(), a_device()), id="ethernet"),
        pytest.param((a_wifi(NO_PATH), an_access_point(1)), id="none-now"),
        pytest.param((a_wifi(access_point_path(1)),), id="object-not-told-yet"),
        pytest.param((a_wifi(access_point_path(1)), an_access_point(1, HwAddress=None)), id="without-address"),
    ],
)
def test_access_point_that_is_not_known_is_empty(parts: tuple[Objects, ...]) -> None:
    assert the_uplink(*parts).access_point == ""


def test_roam_shows_by_signal_and_nothing_else_changes() -> None:
    objects = merged(a_wifi(access_point_path(1)), an_access_point(1))
    before = the_uplink(objects)
    for signal in added(an_access_point(2)):
        nm_objects.apply(objects, signal)
    assert the_uplink(objects) == before
    nm_objects.apply(objects, changed(device_path(1), WIRELESS, {"ActiveAccessPoint": access_point_path(2)}))
    nm_objects.apply(objects, removed(access_point_path(1), ACCESS_POINT))
    after = the_uplink(objects)
    assert (before.access_point, after.access_point) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert (after.uuid, after.resolvers) == (before.uuid, before.resolvers)


def test_signal_strength_is_no_change_of_the_uplink() -> None:
    objects = merged(a_wifi(access_point_path(1)), an_access_point(1))
    before = the_uplink(objects)
    nm_objects.apply(objects, changed(access_point_path(1), ACCESS_POINT, {"Strength": 20}))
    nm_objects.apply(objects, changed(active_path(1), f"{DEVICE}.Statistics", {"RxBytes": 1}))
    assert the_uplink(objects) == before


@pytest.mark.parametrize(
    ("ip4", "setting", "expected"),
    [
        pytest.param({}, {"clat": 1}, 0.0, id="nm-before-1.58"),
        pytest.param({"ClatAddress": ""}, {"clat": 0}, 0.0, id="switched-off"),
        pytest.param({"ClatAddress": ""}, {}, 0.3, id="default-unknown"),
        pytest.param({"ClatAddress": ""}, {"clat": -1}, 0.3, id="default-explicit"),
        pytest.param({"ClatAddress": ""}, {"clat": 1}, 1.0, id="auto"),
        pytest.param({"ClatAddress": ""}, {"clat": 2, "method": "auto"}, 1.0, id="force"),
        pytest.param({"ClatAddress": ""}, {"clat": 2, "method": "disabled"}, 0.0, id="ipv4-disabled"),
        pytest.param({"ClatAddress": ""}, {"clat": 9}, 0.0, id="unheard-of"),
    ],
)
def test_manager_with_a_clat_has_the_right_of_way(
    ip4: dict[str, object], setting: dict[str, object], expected: float
) -> None:
    assert nm_objects._right_of_way_s(ip4, {"ipv4": setting}) == expected
