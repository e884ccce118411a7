# SPDX-License-Identifier: GPL-2.0-or-later
"""By which device packets to the Internet leave: the kernel's policy routing, done again without our own routes.

The kernel can be asked where it would send a packet, but not where it would send it if we were not there. VPNs hide
their routes in every way there is: a better metric, halves of the address space, a table of their own by a rule about
packets that are not their own (WireGuard), the main table without its default route (`suppress_prefixlength`).
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from clatnm.facts import Ways
from clatnm.kernel.furnish import ROUTE_PROTOCOL
from clatnm.kernel.rtnl import IPRoute

# Somewhere in what each registry gives out, away from what people route by itself. An odd number: there is a majority.
_SAMPLES: Mapping[int, tuple[str, ...]] = {
    socket.AF_INET: ("23.17.4.1", "62.104.9.1", "133.41.2.1", "185.60.8.1", "203.17.29.1"),
    socket.AF_INET6: ("2001:4a00::1", "2406:3000::1", "2605:8000::1", "2804:4a00::1", "2a05:3c00::1"),
}
_BITS: Mapping[int, int] = {socket.AF_INET: 32, socket.AF_INET6: 128}
# linux/fib_rules.h, linux/rtnetlink.h
_TO_TABLE, _GOTO, _NOP, _INVERT = 1, 2, 3, 0x2
_UNICAST, _THROW, _DEAD_OR_LINKDOWN = 1, 9, 0x11
_NO_SUPPRESSION = 0xFFFFFFFF
_ORDINARY_USER = 1000
_ROUTE_END = ""  # a packet that comes here goes nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """A route to one of the samples."""

    table: int
    length: int
    metric: int
    kind: int
    index: int


def read_ways(ip: IPRoute, names: Mapping[int, str]) -> Ways:
    """`names`: of the devices, by index. What the library raises."""
    found = {family: _way(ip, family, names) for family in _SAMPLES}
    return Ways(ipv4=found[socket.AF_INET], ipv6=found[socket.AF_INET6])


def _way(ip: IPRoute, family: int, names: Mapping[int, str]) -> str:
    rules = sorted(ip.get_rules(family=family), key=_priority)
    routes = list(ip.get_routes(family=family))
    found = Counter(_device(int(ip_address(sample)), rules, routes, family, names) for sample in _SAMPLES[family])
    device, count = found.most_common(1)[0]
    return device if 2 * count > found.total() else _ROUTE_END


def _device(sample: int, rules: Iterable[Any], routes: Iterable[Any], family: int, names: Mapping[int, str]) -> str:
    to_it = [route for message in routes for route in _routes(message, sample, _BITS[family])]
    skip_to = 0
    for rule in rules:
        if _priority(rule) < skip_to or not _applies(rule, sample, _BITS[family]):
            continue
        if rule["action"] == _GOTO:
            skip_to = int(rule.get_attr("FRA_GOTO") or 0)
        elif rule["action"] == _TO_TABLE:
            route = _lookup(to_it, _table(rule, "FRA_TABLE"), suppressed=_suppressed(rule))
            if route is not None:
                return names.get(route.index, _ROUTE_END) if route.kind == _UNICAST else _ROUTE_END
        elif rule["action"] != _NOP:
            return _ROUTE_END
    return _ROUTE_END


def _priority(rule: Any) -> int:
    return int(rule.get_attr("FRA_PRIORITY") or 0)


def _table(message: Any, attribute: str) -> int:
    return int(message.get_attr(attribute) or message["table"])


def _suppressed(rule: Any) -> int:
    """Routes of this length and shorter do not count; -1: all do."""
    length = rule.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return -1 if length is None or length == _NO_SUPPRESSION else int(length)


def _applies(rule: Any, sample: int, bits: int) -> bool:
    """To a packet of an ordinary program of this host: nothing marked, bound or asked for by type of service."""
    singled_out = (
        rule["src_len"] > 0
        or rule["tos"] > 0
        or any(rule.get_attr(name) for name in ("FRA_OIFNAME", "FRA_L3MDEV", "FRA_IP_PROTO"))
        or any(rule.get_attr(name) is not None for name in ("FRA_SPORT_RANGE", "FRA_DPORT_RANGE"))
        or (rule.get_attr("FRA_IIFNAME") or "lo") != "lo"
        # What has a mark bit to be set is for somebody's own packets. All of ours have mark 0.
        or bool((rule.get_attr("FRA_FWMARK") or 0) & _mask(rule))
        or not _of_a_user(rule.get_attr("FRA_UID_RANGE"))
        or not _covers(rule.get_attr("FRA_DST"), rule["dst_len"], sample, bits)
    )
    return singled_out is bool(rule["flags"] & _INVERT)


def _mask(rule: Any) -> int:
    mask = rule.get_attr("FRA_FWMASK")
    return 0xFFFFFFFF if mask is None else int(mask)


def _of_a_user(uids: Any) -> bool:
    if uids is None:
        return True
    start, end = (int(part) for part in str(uids).replace(":", "-").split("-", 1))
    return start <= _ORDINARY_USER <= end


def _covers(network: str | None, length: int, sample: int, bits: int) -> bool:
    if length == 0:
        return True
    return network is not None and (int(ip_address(network)) ^ sample) >> (bits - length) == 0


def _routes(message: Any, sample: int, bits: int) -> Iterable[_Route]:
    length = int(message["dst_len"])
    if message["proto"] == ROUTE_PROTOCOL or not _covers(message.get_attr("RTA_DST"), length, sample, bits):
        return
    hops = message.get_attr("RTA_MULTIPATH")
    for hop in [message] if hops is None else hops:
        index = message.get_attr("RTA_OIF") if hops is None else hop["oif"]
        if message["type"] == _UNICAST and (index is None or hop["flags"] & _DEAD_OR_LINKDOWN):
            continue
        yield _Route(
            table=_table(message, "RTA_TABLE"),
            length=length,
            metric=int(message.get_attr("RTA_PRIORITY") or 0),
            kind=int(message["type"]),
            index=int(index or 0),
        )


def _lookup(routes: Iterable[_Route], table: int, *, suppressed: int) -> _Route | None:
    """The longest prefix, then the lowest metric; None where the next rule is asked."""
    inside = [route for route in routes if route.table == table]
    best = min(inside, key=lambda route: (-route.length, route.metric), default=None)
    return None if best is None or best.kind == _THROW or best.length <= suppressed else best
