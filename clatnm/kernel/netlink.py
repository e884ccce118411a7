# SPDX-License-Identifier: GPL-2.0-or-later
"""rtnetlink: what the kernel has (`links`), how to learn that it changed (`Monitor`), what we set.

Reading is level-triggered: an event's content is not looked at beyond "could this matter"; the whole state is dumped
again. The dumps and the settings go through pyroute2; all of it is synchronous and takes a few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from clatnm.errors import HostError
from clatnm.model import Address6, DefaultRoute, Link

log = logging.getLogger(__name__)

# linux/if_addr.h, linux/if.h, linux/rtnetlink.h, linux/if_arp.h, linux/if_link.h
_IFA_F_TEMPORARY, _IFA_F_DADFAILED, _IFA_F_DEPRECATED, _IFA_F_TENTATIVE = 0x01, 0x08, 0x20, 0x40
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_RT_TABLE_MAIN, _RTN_UNICAST, _RTNH_F_DEAD_OR_LINKDOWN = 254, 1, 0x11
_ARPHRD_ETHER = 1
_IN6_ADDR_GEN_MODE_NONE = 1
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
# rtnetlink(7) multicast groups as the bits of sockaddr_nl.nl_groups
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_DUMP_TRIES = 10
# The route protocol that marks our routes as ours (`ip route` shows the number); free in iproute2's rt_protos.
ROUTE_PROTOCOL = 164


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4Default:
    """An IPv4 default route into one of our devices."""

    source: IPv4Address
    metric: int
    mtu_bytes: int


class Netlink:
    """A netlink connection. A context manager; not shared between threads."""

    def __init__(self) -> None:
        self._ip = IPRoute()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._ip.close()

    @property
    def raw(self) -> IPRoute:
        """The library's object, for this room's other files."""
        return self._ip

    def links(self) -> dict[str, Link]:
        """Every device by name, with its addresses and its default routes in the main table. HostError."""
        with reported("cannot read the links"):
            for _ in range(_DUMP_TRIES - 1):
                # Something changed under way; pyroute2 before 0.9 raises that, and it is no reason to give up.
                with contextlib.suppress(NetlinkDumpInterrupted):
                    return self._links()
            return self._links()

    def _links(self) -> dict[str, Link]:
        addresses4: dict[int, set[IPv4Address]] = {}
        addresses6: dict[int, list[Address6]] = {}
        for message in self._ip.get_addr():
            _sort_address(message, addresses4, addresses6)
        defaults: dict[int, list[tuple[int, DefaultRoute]]] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in self._ip.get_routes(family=family):
                for index, route in _default_routes(message):
                    defaults.setdefault(index, []).append((family, route))
        found: dict[str, Link] = {}
        for message in self._ip.get_links():
            index, name = int(message["index"]), str(message.get_attr("IFLA_IFNAME"))
            routes = defaults.get(index, ())
            found[name] = Link(
                index=index,
                name=name,
                ipv6_mtu_bytes=_ipv6_mtu(message),
                carrier=message["flags"] & (_IFF_UP | _IFF_LOWER_UP) == _IFF_UP | _IFF_LOWER_UP,
                carrier_changes=int(message.get_attr("IFLA_CARRIER_CHANGES") or 0),
                link_address=_link_address(message),
                addresses4=frozenset(addresses4.get(index, ())),
                addresses6=tuple(sorted(addresses6.get(index, ()), key=lambda address: address.address)),
                default4=tuple(route for family, route in routes if family == socket.AF_INET),
                default6=tuple(route for family, route in routes if family == socket.AF_INET6),
            )
        return found

    def set_up_device(self, name: str, *, address: IPv4Address, mtu_bytes: int) -> int:
        """Give our TUN device its address and bring it up, with no IPv6 of its own. The ifindex; HostError."""
        with reported(f"cannot set up {name}"):
            index = socket.if_nametoindex(name)
            # Without this the kernel would send router solicitations and MLD reports into the translator.
            no_ipv6 = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _IN6_ADDR_GEN_MODE_NONE)]})]}
            self._ip.link("set", index=index, IFLA_AF_SPEC=no_ipv6)
            self._ip.link("set", index=index, mtu=mtu_bytes, txqlen=1000, state="up")
            self._ip.addr("add", index=index, address=str(address), prefixlen=32)
        return index

    def take_in(self, index: int, address: IPv6Address) -> None:
        """Lead into our device what the kernel would forward to `address`, while both are there. HostError.

        A host that forwards IPv6 (for containers, say) treats packets for an address unknown to it as a router does:
        it looks for their receiver and tells their sender that there is none.
        """
        with reported(f"cannot take in {address}"):
            self._ip.route("replace", **_host_route(index, address))

    def let_go(self, index: int, address: IPv6Address) -> None:
        """Undo `take_in`. HostError."""
        with reported(f"cannot let go {address}", gone_is_fine=True):
            self._ip.route("del", **_host_route(index, address))

    def set_device_mtu(self, index: int, mtu_bytes: int) -> None:
        """Change the MTU of our device. HostError."""
        with reported("cannot change the MTU"):
            self._ip.link("set", index=index, mtu=mtu_bytes)

    def add_default_route(self, index: int, route: Ipv4Default) -> None:
        """A new IPv4 default route into our device. HostError, also when any route of this metric exists."""
        with reported("cannot add the IPv4 default route"):
            self._ip.route("add", **_request(index, route))

    def change_default_route(self, index: int, route: Ipv4Default) -> None:
        """Put `route` in the place of ours with the same metric. HostError."""
        with reported("cannot change the IPv4 default route"):
            self._ip.route("replace", **_request(index, route))

    def drop_default_route(self, index: int, route: Ipv4Default) -> None:
        """Take that route away again; a route that is already gone is no error. HostError."""
        with reported("cannot remove the IPv4 default route", gone_is_fine=True):
            self._ip.route("del", **_request(index, route))


def _host_route(index: int, address: IPv6Address) -> dict[str, Any]:
    return {"family": socket.AF_INET6, "dst": f"{address}/128", "oif": index, "proto": ROUTE_PROTOCOL}


def _request(index: int, route: Ipv4Default) -> dict[str, Any]:
    return {
        "dst": "0.0.0.0/0",
        "oif": index,
        "prefsrc": str(route.source),
        "priority": route.metric,
        "proto": ROUTE_PROTOCOL,
        "scope": 253,  # RT_SCOPE_LINK: there is no gateway
        "metrics": {"mtu": route.mtu_bytes},
    }


@contextlib.contextmanager
def reported(what: str, *, gone_is_fine: bool = False) -> Iterator[None]:
    """Turn what pyroute2 and the kernel raise into HostError with `what` in front."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        # if_nametoindex() sets no errno: the name is all that can be wrong with it.
        code = int(error.code if isinstance(error, NetlinkError) else error.errno or errno.ENODEV)
        if gone_is_fine and code in (errno.ESRCH, errno.ENODEV, errno.ENOENT):
            return
        hint = "run as root" if code == errno.EPERM else ""
        raise HostError(f"{what}: {os.strerror(code)}", errno=code, hint=hint) from error


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


def _link_address(message: Any) -> bytes | None:
    address = message.get_attr("IFLA_ADDRESS")
    return bytes.fromhex(address.replace(":", "")) if message["ifi_type"] == _ARPHRD_ETHER and address else None


class Monitor:
    """Calls `changed` (in the event loop) whenever a link, an address or a default route changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        relevant = False
        while True:
            try:
                relevant |= _matters(self._socket.recv(65536))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                relevant = True  # some were lost: then look again
        if relevant:
            self._changed()


def _matters(data: bytes) -> bool:
    """True unless every message is about a route other than a default one; those can be many."""
    offset = 0
    while offset + 18 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], sys.byteorder)
        kind = int.from_bytes(data[offset + 4 : offset + 6], sys.byteorder)
        # struct rtmsg: family, destination length, …
        if kind not in (_RTM_NEWROUTE, _RTM_DELROUTE) or data[offset + 17] == 0:
            return True
        offset += max((length + 3) & ~3, 16)
    return False
