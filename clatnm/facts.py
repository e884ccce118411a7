# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel has, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

# Kinds of links whose traffic goes through another link.
TUNNEL_KINDS = frozenset(
    {"tun", "tap", "wireguard", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan", "ipip", "sit", "ip6tnl"}
    | {"vti", "vti6", "xfrm", "vxlan", "geneve", "l2tp", "bareudp", "fou"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address6:
    """An IPv6 address of a link, with the kernel's opinion of it."""

    address: IPv6Address
    prefixlen: int
    tentative: bool = False
    deprecated: bool = False
    temporary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRoute:
    """A unicast default route of the main table. No gateway: a point-to-point link."""

    gateway: IPv4Address | IPv6Address | None
    metric: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One network device as the kernel has it."""

    index: int
    name: str
    ipv6_mtu_bytes: int
    """What the link and the Router Advertisement allow, whoever applied the latter."""
    carrier: bool
    carrier_changes: int = 0
    """How often the carrier came or went: tells a flap that was over before anybody looked."""
    link_address: bytes | None = None
    """The Ethernet address, or None on links without one (WWAN, PPP, WireGuard)."""
    addresses4: frozenset[IPv4Address] = frozenset()
    addresses6: tuple[Address6, ...] = ()
    default4: tuple[DefaultRoute, ...] = ()
    default6: tuple[DefaultRoute, ...] = ()
    kind: str = ""
    """The kernel's word for a device that is not hardware: `wireguard`, `tun`, `bridge`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The device by which packets to most of the Internet leave, of programs that choose neither device nor address.

    "" where there is none. Our own routes do not count: this is what would be without us.
    """

    ipv4: str = ""
    ipv6: str = ""
