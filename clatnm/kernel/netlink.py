# SPDX-License-Identifier: GPL-2.0-or-later
"""rtnetlink: what the kernel has (`links`), and what we set; `monitor.py` tells when it changed.

Reading is level-triggered: an event's content is not looked at beyond "could this matter"; the whole state is dumped
again. The dumps and the settings go through pyroute2; all of it is synchronous and takes a few milliseconds.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Any

from clatnm.errors import HostError
from clatnm.kernel.furnish import ROUTE_PROTOCOL, Ipv4Default, furnish
from clatnm.kernel.links import read_links
from clatnm.kernel.rtnl import IPRoute, NetlinkDumpInterrupted, NetlinkError
from clatnm.kernel.ways import read_ways
from clatnm.model import Link, Ways

__all__ = ["ROUTE_PROTOCOL", "RULE_PRIORITY", "Ipv4Default", "Netlink", "reported"]

log = logging.getLogger(__name__)

# linux/neighbour.h, net/neighbour.h
_NTF_USE, _NUD_VALID = 0x1, 0xDE
_DUMP_TRIES = 10
# Before the rules of VPN software, which begin at 5210: these connections are older than what it wants to redirect.
RULE_PRIORITY = 5000
_TABLES = 0xC1A70000


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
                    return read_links(self._ip)
            return read_links(self._ip)

    def ways(self, links: Mapping[str, Link]) -> Ways:
        """By which of these devices packets to the Internet leave. HostError."""
        with reported("cannot read the routes"):
            return read_ways(self._ip, {link.index: name for name, link in links.items()})

    def set_up_device(
        self,
        name: str,
        *,
        address: IPv4Address,
        mtu_bytes: int,
        take_in: IPv6Address | None = None,
        route: Ipv4Default | None = None,
    ) -> int:
        """Give our TUN device its address and bring it up, with no IPv6 of its own. The ifindex; HostError.

        `take_in`, `route`: do that as well, the former if it can be done.
        """
        with reported(f"cannot set up {name}"):
            index = socket.if_nametoindex(name)
        furnish(index, address=address, mtu_bytes=mtu_bytes, take_in=take_in, route=route)
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

    def meet(self, index: int, neighbour: IPv6Address) -> bool:
        """Have the kernel look for a neighbour; whether it knows its link-layer address already. HostError."""
        with reported(f"cannot look for {neighbour}"):
            there = {"dst": str(neighbour), "ifindex": index, "family": socket.AF_INET6}
            for entry in self._ip.get_neighbours(family=socket.AF_INET6, ifindex=index):
                if (entry["ifindex"], entry.get_attr("NDA_DST")) == (index, there["dst"]) and entry[
                    "state"
                ] & _NUD_VALID:
                    return True
            # Only now: an entry that is good would be overwritten.
            self._ip.neigh("replace", **there, flags=_NTF_USE, state=0)
            return False

    def set_device_mtu(self, index: int, mtu_bytes: int) -> None:
        """Change the MTU of our device. HostError."""
        with reported("cannot change the MTU"):
            self._ip.link("set", index=index, mtu=mtu_bytes)

    def rename_device(self, index: int, name: str) -> bool:
        """Give our device another name. True when it had to go down for that, and has lost its routes. HostError."""
        with reported(f"cannot rename the device to {name}"):
            try:
                self._ip.link("set", index=index, ifname=name)
            except NetlinkError as error:
                if error.code != errno.EBUSY:  # before Linux 6.3: not while it is up
                    raise
            else:
                return False
            self._ip.link("set", index=index, state="down")
            try:
                self._ip.link("set", index=index, ifname=name)
            finally:
                self._ip.link("set", index=index, state="up")
        return True

    def remove_address(self, index: int, address: IPv4Address) -> None:
        """Take our device's address away, and with it the default route that has it as source. HostError.

        Unlike the loss of the route alone, this leaves no socket that sends from the address by another way.
        """
        with reported(f"cannot remove {address}", gone_is_fine=True):
            self._ip.addr("del", index=index, address=str(address), prefixlen=32)

    def remove_tun(self, index: int) -> bool:
        """Take a device of ours away from the process that holds it, with its addresses, routes and hooks. HostError.

        False: there is none, or one of another kind.
        """
        if not any(link.index == index and link.kind == "tun" for link in self.links().values()):
            return False
        with reported("cannot remove the device", gone_is_fine=True):
            self._ip.link("del", index=index)
        return True

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
            # Without metrics: if some are given, they must be the same.
            self._ip.route("del", **{**_request(index, route), "metrics": {}})

    def add_host_route(self, index: int, host: IPv4Address, route: Ipv4Default) -> None:
        """Lead what is for `host` into our device, as `route` does with everything. HostError, also when there is
        such a route of the same metric."""
        with reported(f"cannot add a route to {host}"):
            self._ip.route("add", **{**_request(index, route), "dst": f"{host}/32"})

    def drop_host_route(self, index: int, host: IPv4Address, route: Ipv4Default) -> None:
        """Undo `add_host_route`. HostError."""
        with reported(f"cannot remove the route to {host}", gone_is_fine=True):
            self._ip.route("del", **{**_request(index, route), "dst": f"{host}/32", "metrics": {}})

    def pin(self, index: int, source: IPv4Address, *, mtu_bytes: int) -> None:
        """Lead what has `source` already into our device, whatever the main table says. HostError.

        Again is fine, with another MTU as well. The route goes with the device; the rule has to be taken away.
        """
        with reported(f"cannot pin {source}"):
            # The rule comes last: nothing that could outlive us is there unless all of it is.
            self._ip.route("replace", **_pinned_route(index, source), metrics={"mtu": mtu_bytes})
            self._add_rule(index, source)

    def pin_again(self, index: int, source: IPv4Address) -> bool:
        """Put the rule of a `pin` back, if somebody else has removed it: whether it was so. HostError."""
        with reported(f"cannot pin {source} again"):
            return self._add_rule(index, source)

    def _add_rule(self, index: int, source: IPv4Address) -> bool:
        try:
            self._ip.rule("add", **_rule(source, _table(index)))
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            return False
        return True

    def unpin(self, index: int, source: IPv4Address) -> None:
        """Undo `pin`, also when the device is gone. HostError."""
        with reported(f"cannot unpin {source}", gone_is_fine=True):
            self._ip.rule("del", **_rule(source, _table(index)))
        with reported(f"cannot unpin {source}", gone_is_fine=True):
            self._ip.route("del", **_pinned_route(index, source))

    def clean_pins(self) -> list[IPv4Address]:
        """Remove our rules for addresses that no device of ours has; these addresses. HostError."""
        left = self.left_pins()
        for source, table in left:
            with reported(f"cannot unpin {source}", gone_is_fine=True):
                self._ip.rule("del", **_rule(source, table))
        return [source for source, _ in left]

    def left_pins(self) -> list[tuple[IPv4Address, int]]:
        """Address and table of such rules. HostError."""
        with reported("cannot read the rules"):
            rules = [rule for message in self._ip.get_rules(family=socket.AF_INET) for rule in _our_rule(message)]
        links = self.links().values() if rules else ()
        used = {(source, _table(link.index)) for link in links for source in link.addresses4}
        return [rule for rule in rules if rule not in used]


def _table(index: int) -> int:
    """The routing table that a device of ours has for itself."""
    return _TABLES | index & 0xFFFF


def _rule(source: IPv4Address, table: int) -> dict[str, Any]:
    return {
        "family": socket.AF_INET,
        "src": str(source),
        "src_len": 32,
        "table": table,
        "priority": RULE_PRIORITY,
        "protocol": ROUTE_PROTOCOL,
    }


def _our_rule(message: Any) -> Iterator[tuple[IPv4Address, int]]:
    """Its address and table, when the message is about a rule of ours."""
    source, table = message.get_attr("FRA_SRC"), message.get_attr("FRA_TABLE") or 0
    tagged = message.get_attr("FRA_PROTOCOL") == ROUTE_PROTOCOL and message.get_attr("FRA_PRIORITY") == RULE_PRIORITY
    if tagged and source is not None and table & ~0xFFFF == _TABLES:
        yield IPv4Address(source), table


def _pinned_route(index: int, source: IPv4Address) -> dict[str, Any]:
    return {**_default(index, source), "table": _table(index)}


def _host_route(index: int, address: IPv6Address) -> dict[str, Any]:
    return {"family": socket.AF_INET6, "dst": f"{address}/128", "oif": index, "proto": ROUTE_PROTOCOL}


def _request(index: int, route: Ipv4Default) -> dict[str, Any]:
    return {**_default(index, route.source), "priority": route.metric, "metrics": {"mtu": route.mtu_bytes}}


def _default(index: int, source: IPv4Address) -> dict[str, Any]:
    return {
        "dst": "0.0.0.0/0",
        "oif": index,
        "prefsrc": str(source),
        "proto": ROUTE_PROTOCOL,
        "scope": 253,  # RT_SCOPE_LINK: there is no gateway
    }


@contextlib.contextmanager
def reported(what: str, *, gone_is_fine: bool = False) -> Iterator[None]:
    """Turn what pyroute2 and the kernel raise into HostError with `what` in front."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        # if_nametoindex() sets no errno: the name is all that can be wrong with it.
        code = int(error.code if isinstance(error, NetlinkError) else error.errno or errno.ENODEV)
        if gone_is_fine and code in (errno.ESRCH, errno.ENODEV, errno.ENOENT, errno.EADDRNOTAVAIL):
            return
        hint = "run as root" if code == errno.EPERM else ""
        raise HostError(f"{what}: {os.strerror(code)}", errno=code, hint=hint) from error
