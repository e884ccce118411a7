# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's networks as data, and the links between its namespaces.

inet   198.51.100.10, 2001:db8:100::10: web, UDP echo, DNS         bridge `ix` to the routers' `wan`
a      IPv6-only  2001:db8:a::/64  NAT64 64:ff9b::/96 and 2001:db8:64::/96, DNS64, PREF64
b      dual stack 2001:db8:b::/64  192.168.2.0/24 by DHCP, masqueraded, plain DNS
c      IPv6-only  2001:db8:c::/64  NAT64 2001:db8:64:0:c::/96, DNS64, PREF64
sw     one bridge a network (brA brB brC, brOFF: nowhere); the far ends p0 p1 of the host's uplinks sit in them
host   up0 (in A at the start), up1 (unplugged)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tests.lab.namespace import Namespace

INET_V4 = IPv4Address("198.51.100.10")
INET_V6 = IPv6Address("2001:db8:100::10")
WELL_KNOWN = IPv6Network("64:ff9b::/96")
ROUTER_LINK_LOCAL = IPv6Address("fe80::1")
UPLINKS = ("up0", "up1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One access network. `pref64` is announced; `translated` is what its NAT64 itself works on."""

    letter: str
    number: int
    pref64: IPv6Network | None = None
    translated: IPv6Network | None = None

    @property
    def bridge(self) -> str:
        return f"br{self.letter.upper()}"

    @property
    def lan(self) -> IPv6Network:
        return IPv6Network(f"2001:db8:{self.letter}::/64")

    @property
    def router(self) -> IPv6Address:
        return self.lan[1]

    @property
    def lan_v4(self) -> IPv4Network:
        return IPv4Network(f"192.168.{self.number}.0/24")

    @property
    def wan_v4(self) -> IPv4Address:
        return IPv4Address(f"198.51.100.{self.number}")

    @property
    def wan_v6(self) -> IPv6Address:
        return IPv6Address(f"2001:db8:100::{self.number}")

    @property
    def router_mac(self) -> str:
        return f"02:00:00:00:0{self.letter}:01"


NETWORKS = (
    # TAYGA refuses 64:ff9b::/96 together with documentation addresses, so a prefix map stands before it.
    Network(letter="a", number=1, pref64=WELL_KNOWN, translated=IPv6Network("2001:db8:64::/96")),
    Network(letter="b", number=2),
    Network(
        letter="c",
        number=3,
        pref64=IPv6Network("2001:db8:64:0:c::/96"),
        translated=IPv6Network("2001:db8:64:0:c::/96"),
    ),
)


def connect_inet(inet: Namespace) -> None:
    inet.sysctl(ipv6__conf__default__accept_ra=0)
    inet.ip(
        "-batch",
        "-",
        stdin=f"""\
link add ix type bridge mcast_snooping 0
addr add {INET_V4}/24 dev ix
addr add {INET_V6}/64 dev ix nodad
link set ix up
""",
    )


def connect_switch(switch: Namespace) -> None:
    switch.sysctl(ipv6__conf__all__disable_ipv6=1, ipv6__conf__default__disable_ipv6=1)
    bridges = [network.bridge for network in NETWORKS] + ["brOFF"]
    lines = [f"link add {name} type bridge mcast_snooping 0\nlink set {name} up" for name in bridges]
    switch.ip("-batch", "-", stdin="\n".join(lines) + "\n")


def add_uplinks(host: Namespace, switch: Namespace, uplinks: Iterable[str]) -> None:
    """Make the named uplinks; their far ends are plugged in nowhere."""
    for uplink in uplinks:
        number = UPLINKS.index(uplink)
        mac = f"02:00:00:00:00:0{number}"
        host.ip("link", "add", uplink, "address", mac, "type", "veth", "peer", "name", f"p{number}",
                "netns", switch.netns)  # fmt: skip


def connect_router(router: Namespace, network: Network, switch: Namespace, inet: Namespace) -> None:
    port = f"r{network.letter}"
    router.sysctl(
        ipv4__ip_forward=1,
        ipv6__conf__all__forwarding=1,
        ipv6__conf__default__accept_dad=0,
        ipv6__conf__default__accept_ra=0,
    )
    router.ip(
        "-batch",
        "-",
        stdin=f"""\
link add lan address {network.router_mac} type veth peer name {port} netns {switch.netns}
link add wan type veth peer name {port} netns {inet.netns}
addr add {network.wan_v4}/24 dev wan
addr add {network.wan_v6}/64 dev wan nodad
addr add {ROUTER_LINK_LOCAL}/64 dev lan nodad
addr add {network.router}/64 dev lan nodad
addr add {network.lan_v4[1]}/24 dev lan
link set lan addrgenmode none
link set wan up
link set lan up
""",
    )
    switch.ip("link", "set", port, "master", network.bridge, "up")
    inet.ip("-batch", "-", stdin=f"link set {port} master ix up\nroute add {network.lan} via {network.wan_v6}\n")
