# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager's VPNs: whose device is whose, where they end, and what else a profile says of IPv4."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest

from clatnm.dbus.bus import Signal
from clatnm.errors import BusError
from clatnm.model import Mode, Uplink
from clatnm.uplinks import nm_objects, nm_vpns
from clatnm.uplinks.nm_objects import NM_PATH, Objects
from clatnm.uplinks.nm_vpns import VpnGateways
from tests.unit.uplinks.recorded import a_device, a_profile, an_active, device_path, profile_path

FAR = IPv4Address("198.51.100.20")
CONFIG4, CONFIG6 = f"{NM_PATH}/IP4Config/5", f"{NM_PATH}/IP6Config/5"


def number(address: IPv4Address) -> int:
    return int.from_bytes(address.packed, sys.byteorder)


def a_vpn(**other: Any) -> Objects:
    """Over device 1; its own device is 5, which is shown as somebody else's."""
    told = {"Ip4Config": CONFIG4, "Ip6Config": CONFIG6, "Id": "Office", "Uuid": "the-vpn", **other}
    return (
        an_active()
        | a_device()
        | an_active(3, profile=3, Type="vpn", Vpn=True, **told)
        | an_active(4, profile=4, device=5, Type="tun")
        | a_device(5, active=4, Interface="tun0", IpInterface="tun0", Ip4Config=CONFIG4, Ip6Config=CONFIG6)
    )


def told(objects: Objects, *, far: dict[str, IPv4Address] | None = None, mode: str | None = None) -> dict[str, Uplink]:
    profiles = {profile_path(n): a_profile(mode if n == 3 else None) for n in (1, 3, 4)}
    return {uplink.interface: uplink for uplink in nm_objects.uplinks_from(objects, profiles, far)}


def test_device_of_a_vpn_is_known_by_the_vpns_name() -> None:
    uplinks = told(a_vpn(), mode="force")
    vpn = uplinks["tun0"]
    assert (vpn.name, vpn.uuid, vpn.is_vpn, vpn.told_modes[0].mode) == ("Office", "the-vpn", True, Mode.FORCE)
    (below,) = (uplink for name, uplink in uplinks.items() if name != "tun0")
    assert (below.uuid, below.is_vpn, below.told_modes) == ("uuid-1", False, ())


def test_vpn_without_a_device_does_not_take_the_one_below() -> None:
    """IPsec by policies alone: the VPN names the configuration of the connection that it runs over."""
    below = a_device(Ip4Config=CONFIG4, Ip6Config=CONFIG6)
    uplinks = told(a_vpn() | below)
    assert {uplink.uuid for uplink in uplinks.values()} == {"uuid-1", "the-vpn"}


@pytest.mark.parametrize(
    ("objects", "found"),
    [
        pytest.param(a_vpn(), True, id="up"),
        pytest.param(a_vpn(State=1, Ip4Config="/", Ip6Config="/"), True, id="coming-up"),
        pytest.param(a_vpn(State=2, Ip4Config="/", Ip6Config="/"), False, id="another-one-is-up"),
        pytest.param(a_vpn(State=4), False, id="ended"),
        pytest.param(a_vpn(Devices=[device_path(9)]), False, id="over-another-connection"),
        pytest.param(an_active() | a_device(), False, id="no-vpn"),
    ],
)
def test_far_end_belongs_to_the_connection_that_the_vpn_runs_over(objects: Objects, found: bool) -> None:
    uplinks = told(objects, far={"tun0": FAR})
    (below,) = (uplink for uplink in uplinks.values() if uplink.uuid == "uuid-1")
    assert below.vpn_gateways == ((FAR,) if found else ())
    assert all(uplink.vpn_gateways == () for uplink in uplinks.values() if uplink is not below)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"tundev": "tun0", "gateway": number(FAR)}, ("tun0", FAR)),
        ({"tundev": "tun0", "gateway": IPv6Address("2001:db8::1").packed}, None),
        ({"tundev": "tun0"}, None),
        ({"gateway": number(FAR)}, None),
        ({"tundev": "", "gateway": number(FAR)}, None),
        ({"tundev": "tun0", "gateway": 0}, None),
        ({"tundev": "tun0", "gateway": -1}, None),
        ({"tundev": "tun0", "gateway": 1 << 32}, None),
        ({"tundev": "tun0", "gateway": True}, None),
        ({"tundev": "tun0", "gateway": "198.51.100.20"}, None),
        ({"tundev": 7, "gateway": number(FAR)}, None),
    ],
)
def test_far_end_is_read_from_what_the_plugin_says(config: dict[str, Any], expected: object) -> None:
    assert nm_vpns.far_end(config) == expected


def says(*body: Any, member: str = "Config", interface: str = nm_vpns.PLUGIN) -> Signal:
    return Signal(sender=":1.7", path="/", interface=interface, member=member, body=body)


def test_only_what_plugins_say_of_their_configuration_is_news() -> None:
    assert nm_vpns.is_news(says({}))
    assert not nm_vpns.is_news(says({}, member="Ip4Config"))
    assert not nm_vpns.is_news(says({}, interface="org.example"))


@pytest.mark.parametrize(("user", "believed"), [(0, True), (1000, False), (None, False)])
def test_plugin_is_believed_if_it_is_root(user: int | None, believed: bool) -> None:
    async def call(**what: Any) -> list[Any]:
        assert (what["member"], what["body"]) == ("GetConnectionUnixUser", [":1.7"])
        if user is None:
            raise BusError("it has gone")
        return [user]

    gateways, changes = VpnGateways(), list[None]()
    bus: Any = SimpleNamespace(call=call)
    signal = says({"tundev": "tun0", "gateway": number(FAR)})
    asyncio.run(gateways.take(bus, signal, lambda: changes.append(None)))
    assert gateways.known == ({"tun0": FAR} if believed else {})
    assert len(changes) == int(believed)


@pytest.mark.parametrize("body", [(), ("text",), ({"tundev": "tun0"},)])
def test_nobody_asks_who_says_nothing(body: tuple[Any, ...]) -> None:
    bus: Any = SimpleNamespace()
    asyncio.run(VpnGateways().take(bus, says(*body), lambda: None))


@pytest.mark.parametrize(
    ("ipv4", "expected"),
    [
        ({}, (False, False, None, False)),
        ({"method": "disabled"}, (True, False, None, False)),
        ({"method": "auto", "may-fail": False}, (False, True, None, False)),
        ({"method": "auto", "may-fail": True}, (False, False, None, False)),
        ({"method": "disabled", "may-fail": False}, (True, False, None, False)),
        ({"method": "auto", "route-metric": 20}, (False, False, 20, False)),
        ({"method": "auto", "route-metric": 0}, (False, False, 0, False)),
        ({"method": "auto", "route-metric": -1}, (False, False, None, False)),
        ({"method": "auto", "never-default": True}, (False, False, None, True)),
    ],
)
def test_what_a_profile_says_of_ipv4_is_read(ipv4: dict[str, Any], expected: object) -> None:
    (uplink,) = nm_objects.uplinks_from(an_active() | a_device(), {profile_path(1): {**a_profile(), "ipv4": ipv4}})
    assert (uplink.ipv4_disabled, uplink.ipv4_required, uplink.ipv4_metric, uplink.never_default) == expected
