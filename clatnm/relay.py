# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user writes of an Edge Relay (RFC 7756): mappings, addresses, routes; checked, faults with their place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from clatnm.errors import ConfigError, ParseError
from clatnm.model import Link, Relay
from clatnm.proto.eam import EamTable, Mapping, parse_mapping

_END_OF_LINE = re.compile("\r\n?|\n")  # for editors nothing else is one, in a remark
_MAX_LINE = 200  # characters; the longest mapping has half of that
_EVERYWHERE = IPv4Network("0.0.0.0/0")
_NO_HOST4 = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
_NO_HOST6 = tuple(map(IPv6Network, ("::/16", "fe80::/10", "ff00::/8")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A mapping, and where the user wrote it: `--eam`, `/etc/clatnm/eam:12`."""

    mapping: Mapping
    where: str

    def __str__(self) -> str:
        return f"{self.mapping[0]} = {self.mapping[1]}"


Located: TypeAlias = "tuple[IPv4Address, str]"


def read_mapping(text: str, *, where: str) -> Told:
    """A mapping as in `192.0.2.1=2001:db8::1` or `192.0.2.0/28 2001:db8::/124`. ConfigError."""
    words = text.replace("=", " ").split()
    if len(words) != 2 or text.count("=") > 1 or len(text) > _MAX_LINE:
        whole = text.strip()
        told = repr(whole if len(whole) <= _MAX_LINE else f"{whole[:_MAX_LINE]}…")
        raise ConfigError(f"{where}: {told} is no mapping", hint="as 192.0.2.1 = 2001:db8::c000:201")
    try:
        return Told(mapping=parse_mapping(*words), where=where)
    except ParseError as error:
        raise ConfigError(f"{where}: {error.what}", hint=error.hint) from None


def read_mappings(text: str, *, name: str) -> list[Told]:
    """A file of mappings, one a line; `#` begins a comment. ConfigError with `name` and the number of the line."""
    return [
        read_mapping(content, where=f"{name}:{number}")
        for number, line in enumerate(_END_OF_LINE.split(text), start=1)
        if (content := line.partition("#")[0].strip())
    ]


def build(
    told: Sequence[Told],
    *,
    prefix: IPv6Network,
    addresses: Sequence[Located] = (),
    routes: Sequence[IPv4Network] = (),
) -> Relay:
    """The relay that all this makes. `prefix`: the network's translation prefix. ConfigError for what cannot be.

    No routes: everything is led into the device.
    """
    if not told:
        raise ConfigError("an Edge Relay without mappings", hint="--eam or --eam-file, RFC 7757")
    _check_each(told, prefix)
    _check_distinct(told)
    try:
        table = EamTable(entry.mapping for entry in told)
    except ParseError as error:
        raise ConfigError(error.what, hint=error.hint) from None
    _check_overlaps(told, table)
    _check_addresses(addresses, table)
    return Relay(
        mappings=table,
        addresses=tuple(address for address, _ in addresses),
        routes=tuple(sorted(set(routes))) or (_EVERYWHERE,),
    )


def check_link(relay: Relay, link: Link, *, others: MappingOf[IPv4Address, str]) -> None:
    """ConfigError when mapped addresses are those that the host, or a router of its, has itself.

    `others`: which device has which IPv4 address already.
    """
    routers = {route.gateway for route in link.default6 if isinstance(route.gateway, IPv6Address)}
    for address in (*(own.address for own in link.addresses6), *routers):
        if relay.mappings.to_ipv4(address) is not None:
            whose = f"a router on {link.name}" if address in routers else f"{link.name} itself"
            what = f"{address} is mapped, and is the address of {whose}"
            raise ConfigError(what, hint="mapped addresses are the translator's alone: map others")
    for service in relay.addresses:
        if service in others:
            raise ConfigError(
                f"{service} is in use on {others[service]}", hint="only the translator's device may have it"
            )


def _check_each(told: Sequence[Told], prefix: IPv6Network) -> None:
    for entry in told:
        v4, v6 = entry.mapping
        if v6.overlaps(prefix):
            what = f"{entry.where}: {v6} and the translation prefix {prefix} overlap"
            raise ConfigError(what, hint="one IPv6 address cannot stand for two IPv4 addresses")
        if any(v4.overlaps(other) for other in _NO_HOST4) or any(v6.overlaps(other) for other in _NO_HOST6):
            raise ConfigError(f"{entry.where}: {entry}: these are no addresses of hosts")


def _check_distinct(told: Sequence[Told]) -> None:
    seen: dict[IPv4Network | IPv6Network, str] = {}
    for entry in told:
        for side in entry.mapping:
            if side in seen:
                raise ConfigError(f"{entry.where}: {side} is mapped twice", hint=f"first by {seen[side]}")
            seen[side] = entry.where


def _check_overlaps(told: Sequence[Told], table: EamTable) -> None:
    """A mapping may lie within another one (RFC 7757 3.2), unless an IPv4 address then comes back as another one.

    Between two edges of prefixes, one mapping leads to IPv6 and one back. Both are linear, so it is enough to look at
    the addresses on both sides of each edge.
    """
    edges: dict[IPv4Network, set[int]] = {}
    for entry, outer in _nested(told, 1):
        whole4, whole6 = outer.mapping
        spare = (128 - whole6.prefixlen) - (32 - whole4.prefixlen)
        low, high = (int(end) - int(whole6[0]) for end in (entry.mapping[1][0], entry.mapping[1][-1]))
        first, last = -(-low >> spare), high >> spare
        # All of them lie in it if they are all of the outer one's.
        edges.setdefault(whole4, set()).update((0, whole4.num_addresses - 1, first - 1, first, last, last + 1))
    for entry, outer in _nested(told, 0) if edges else ():
        whole4, part4 = outer.mapping[0], entry.mapping[0]
        if whole4 in edges:
            start = int(part4[0]) - int(whole4[0])
            edges[whole4].update((start - 1, start + part4.num_addresses))
    for whole4, offsets in edges.items():
        for offset in sorted(offsets):
            if 0 <= offset < whole4.num_addresses:
                _check_back(whole4[offset], told, table)


def _nested(told: Sequence[Told], side: int) -> Iterator[tuple[Told, Told]]:
    """Each mapping with each that it lies within, on one side of both."""
    by_network = {entry.mapping[side]: entry for entry in told}
    lengths = sorted({network.prefixlen for network in by_network})
    for inner, entry in by_network.items():
        for length in lengths:
            if length >= inner.prefixlen:
                break
            outer = by_network.get(inner.supernet(new_prefix=length))
            if outer is not None:
                yield entry, outer


def _check_back(address: IPv4Address, told: Sequence[Told], table: EamTable) -> None:
    there = table.to_ipv6(address)
    back = None if there is None else table.to_ipv4(there)
    if there is not None and back != address:
        outer = _longest(told, 0, address)
        inner = _longest(told, 1, there)
        what = f"{inner.where}: {inner} overlaps {outer}: {address} becomes {there}, which is {back}"
        raise ConfigError(what, hint=f"the other is at {outer.where}")


def _longest(told: Sequence[Told], side: int, address: IPv4Address | IPv6Address) -> Told:
    """The mapping that counts for an address."""
    holding = (entry for entry in told if address in entry.mapping[side])
    return max(holding, key=lambda entry: entry.mapping[side].prefixlen)


def _check_addresses(addresses: Sequence[Located], table: EamTable) -> None:
    seen: set[IPv4Address] = set()
    for address, where in addresses:
        if address in seen:
            raise ConfigError(f"{where}: {address} is there twice")
        seen.add(address)
        if table.to_ipv6(address) is None:
            raise ConfigError(f"{where}: {address} is not mapped", hint="say by --eam which IPv6 address it has")
