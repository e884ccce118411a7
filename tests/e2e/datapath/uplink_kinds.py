# SPDX-License-Identifier: GPL-2.0-or-later
"""Other uplinks than plain Ethernet, made out of a rig's."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import TypeAlias

from tests.e2e.datapath.rig import CLAT, GATEWAY, Rig
from tests.lab.namespace import PYTHON
from tests.lab.poll import CommandError, eventually
from tests.lab.session import NETNS_DIR

WIRE = Path(__file__).with_name("wire.py")
ROUTED_CLAT = IPv6Address("2001:db8:3::c1a7")


Uplink: TypeAlias = "tuple[str, IPv6Address]"


def add(rig: Rig, *link: str) -> None:
    """A skip where the kernel does not have that kind."""
    try:
        rig.host.ip("link", "add", *link)
    except CommandError as error:
        import pytest  # not above: guests have every kind, and it is large

        pytest.skip(f"ip link add {' '.join(link)}: {error.result.stderr.strip()}")


def vlan(rig: Rig) -> Uplink:
    """802.1Q, with the tag beside the packet in memory, as network cards leave it."""
    add(rig, "wan0.7", "link", "wan0", "type", "vlan", "id", "7")
    rig.near.ip("link", "add", "lan0.7", "link", "lan0", "type", "vlan", "id", "7")
    rig.leave_host("wan0")
    rig.near.ip("addr", "flush", "dev", "lan0")
    rig.near.batch(
        f"""
        addr add {GATEWAY}/64 dev lan0.7 nodad
        addr add 2001:db8:1::1/64 dev lan0.7 nodad
        link set lan0.7 up
        """
    )
    rig.join_host("wan0.7", "2001:db8:1::10")
    return "wan0.7", CLAT


def vlan_in_the_packet(rig: Rig) -> Uplink:
    """802.1Q, with the tag in the packet."""
    made = vlan(rig)
    for place, device in ((rig.host, "wan0"), (rig.near, "lan0")):
        place.run("ethtool", "-K", device, "txvlan", "off", "rxvlan", "off")
    return made


def bridge(rig: Rig) -> Uplink:
    rig.leave_host("wan0")
    rig.host.batch(
        """
        link add br0 type bridge
        link set wan0 master br0
        """
    )
    rig.join_host("br0", "2001:db8:1::10")
    rig.host.wait_up("br0")
    return "br0", CLAT


def macvlan(rig: Rig) -> Uplink:
    rig.leave_host("wan0")
    add(rig, "mac0", "link", "wan0", "type", "macvlan", "mode", "bridge")
    rig.join_host("mac0", "2001:db8:1::10")
    return "mac0", CLAT


def routed(rig: Rig) -> Uplink:
    """No Ethernet header, no neighbours, no gateway."""
    rig.host.ip("link", "set", "wan0", "down")
    wire = rig.host.popen(PYTHON, str(WIRE), "wwan0", "isp0", str(NETNS_DIR / rig.near.netns), name="wire")
    eventually(lambda: "ready" in wire.log(), message="the wire is laid")
    rig.near.batch(
        f"""
        link set isp0 up
        route add {ROUTED_CLAT}/64 dev isp0
        """
    )
    rig.host.batch(
        """
        link set wwan0 up
        addr add 2001:db8:3::10/64 dev wwan0 nodad
        route add ::/0 dev wwan0
        """
    )
    return "wwan0", ROUTED_CLAT


def narrow(rig: Rig) -> Uplink:
    rig.host.ip("link", "set", "wan0", "mtu", "1280")
    rig.near.ip("link", "set", "lan0", "mtu", "1280")
    return "wan0", CLAT


def jumbo(rig: Rig) -> Uplink:
    for place, devices in (
        (rig.host, ("wan0",)),
        (rig.near, ("lan0", "core0")),
        (rig.far, ("core0", "edge0")),
        (rig.server, ("eth0",)),
    ):
        for device in devices:
            place.ip("link", "set", device, "mtu", "9000")
    return "wan0", CLAT


KINDS: tuple[Callable[[Rig], Uplink], ...] = (
    vlan,
    vlan_in_the_packet,
    bridge,
    macvlan,
    routed,
    narrow,
    jumbo,
)
