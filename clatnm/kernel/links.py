# SPDX-License-Identifier: GPL-2.0-or-later
"""What rtnetlink's messages about links, addresses and routes mean."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from typing import Any

from clatnm.kernel.rtnl import IPRoute
from clatnm.model import Address6, DefaultRoute, Link

# linux/if_addr.h, linux/if.h, linux/rtnetlink.h, linux/if_arp.h
_IFA_F_TEMPORARY, _IFA_F_DADFAILED, _IFA_F_DEPRECATED, _IFA_F_TENTATIVE = 0x01, 0x08, 0x20, 0x40
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_RT_TABLE_MAIN, _RTN_UNICAST, _RTNH_F_DEAD_OR_LINKDOWN = 254, 1, 0x11
_ARPHRD_ETHER = 1
_LINK_MODE_DORMANT = 1


def read_links(ip: IPRoute) -> dict[str, Link]:
    """Every device by name. What the library raises, NetlinkDumpInterrupted when something changed under way."""
    addresses4: dict[int, set[IPv4Address]] = {}
    addresses6: dict[int, list[Address6]] = {}
    for message in ip.get_addr():
        _sort_address(message, addresses4, addresses6)
    defaults: dict[int, list[tuple[int, DefaultRoute]]] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in ip.get_routes(family=family):
            for index, route in _default_routes(message):
                defaults.setdefault(index, []).append((family, route))
    found: dict[str, Link] = {}
    for message in ip.get_links():
        index, name = int(message["index"]), str(message.get_attr("IFLA_IFNAME"))
        routes = defaults.get(index, ())
        found[name] = Link(
            index=index,
            name=name,
            ipv6_mtu_bytes=_ipv6_mtu(message),
            carrier=_has_carrier(message),
            carrier_changes=int(message.get_attr("IFLA_CARRIER_CHANGES") or 0),
            link_address=_link_address(message),
            addresses4=frozenset(addresses4.get(index, ())),
            addresses6=tuple(sorted(addresses6.get(index, ()), key=lambda address: address.address)),
            default4=tuple(route for family, route in routes if family == socket.AF_INET),
            default6=tuple(route for family, route in routes if family == socket.AF_INET6),
            kind=_kind(message),
        )
    return found


def _has_carrier(message: Any) -> bool:
    """The link carries traffic now.

    One in the link mode "dormant" does not before its supplicant says so: between association and the end of the
    authentication, what is sent over Wi-Fi is lost (linux/Documentation/networking/operstates.rst).
    """
    if message["flags"] & (_IFF_UP | _IFF_LOWER_UP) != _IFF_UP | _IFF_LOWER_UP:
        return False
    dormant = message.get_attr("IFLA_LINKMODE") == _LINK_MODE_DORMANT
    return not dormant or bool(message.get_attr("IFLA_OPERSTATE") == "UP")


def _sort_address(message: Any, addresses4: dict[int, set[IPv4Address]], addresses6: dict[int, list[Address6]]) -> None:
    # On point-to-point links IFA_ADDRESS is the peer and IFA_LOCAL our own.
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    if text is None:
        return
    address = ip_address(text)
    index = int(message["index"])
    if isinstance(address, IPv4Address):
        addresses4.setdefault(index, set()).add(address)
        return
    flags = message.get_attr("IFA_FLAGS")
    flags = int(message["flags"] if flags is None else flags)
    if flags & _IFA_F_DADFAILED:
        return
    record = Address6(
        address=address,
        prefixlen=int(message["prefixlen"]),
        tentative=bool(flags & _IFA_F_TENTATIVE),
        deprecated=bool(flags & _IFA_F_DEPRECATED),
        temporary=bool(flags & _IFA_F_TEMPORARY),
    )
    addresses6.setdefault(index, []).append(record)


def _default_routes(message: Any) -> Iterable[tuple[int, DefaultRoute]]:
    """(ifindex, route) of each next hop, when the message is a usable default route of the main table."""
    table = message.get_attr("RTA_TABLE") or message["table"]
    if message["dst_len"] != 0 or table != _RT_TABLE_MAIN or message["type"] != _RTN_UNICAST:
        return
    metric = int(message.get_attr("RTA_PRIORITY") or 0)
    hops = message.get_attr("RTA_MULTIPATH")
    for hop in [message] if hops is None else hops:
        index = message.get_attr("RTA_OIF") if hops is None else hop["oif"]
        if index is None or hop["flags"] & _RTNH_F_DEAD_OR_LINKDOWN:
            continue
        gateway = hop.get_attr("RTA_GATEWAY")
        yield int(index), DefaultRoute(gateway=None if gateway is None else ip_address(gateway), metric=metric)


def _ipv6_mtu(message: Any) -> int:
    """The device's MTU, lowered to the IPv6 one where a Router Advertisement or the administrator set that."""
    device_mtu = int(message.get_attr("IFLA_MTU") or 0)
    families = message.get_attr("IFLA_AF_SPEC")
    ipv6 = families.get_attr("AF_INET6") if families is not None else None
    conf = ipv6.get_attr("IFLA_INET6_CONF") if ipv6 is not None else None
    return min(device_mtu, int(conf["mtu"])) if conf is not None else device_mtu


def _kind(message: Any) -> str:
    """The kind of a device that somebody made; "" for hardware."""
    info = message.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""


def _link_address(message: Any) -> bytes | None:
    address = message.get_attr("IFLA_ADDRESS")
    return bytes.fromhex(address.replace(":", "")) if message["ifi_type"] == _ARPHRD_ETHER and address else None
