# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes read off what a DNS64 made of two well-known IPv4 addresses (RFC 7050)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.errors import ParseError
from clatnm.proto import nat64

WELL_KNOWN_NAME = "ipv4only.arpa"  # RFC 7050 8.2
WELL_KNOWN_ADDRESSES = (IPv4Address("192.0.0.170"), IPv4Address("192.0.0.171"))  # RFC 7050 2.2

_LONGEST_FIRST = tuple(sorted(nat64.LENGTHS, reverse=True))


def prefixes_from(addresses: Iterable[IPv6Address]) -> tuple[IPv6Network, ...]:
    """The NAT64 prefixes behind the IPv6 addresses of `ipv4only.arpa`, in their order, each once (RFC 7050 3).

    An address in which neither well-known address stands at one of the places of RFC 6052 2.2 was not synthesised
    and says nothing. One with several readings counts only where the other well-known address agrees with one of them.
    """
    readings = [list(_readings(address)) for address in addresses]
    agreed = _agreed(readings)
    found: dict[IPv6Network, None] = {}
    for reading in readings:
        prefixes = [prefix for prefix, _ in reading]
        if len(prefixes) > 1:  # RFC 7050 3: the prefix itself looks like a well-known address
            prefixes = [prefix for prefix in prefixes if prefix in agreed]
        if len(prefixes) == 1:
            found[prefixes[0]] = None
    return tuple(found)


def _readings(address: IPv6Address) -> Iterator[tuple[IPv6Network, IPv4Address]]:
    """Each prefix with which this address would be a well-known one, and which one."""
    for length in _LONGEST_FIRST:
        prefix = IPv6Network((address, length), strict=False)
        try:
            nat64.check_prefix(prefix)
        except ParseError:
            continue
        embedded = nat64.extract(prefix, address)
        if embedded in WELL_KNOWN_ADDRESSES:
            yield prefix, embedded


def _agreed(readings: Iterable[Iterable[tuple[IPv6Network, IPv4Address]]]) -> set[IPv6Network]:
    """The prefixes under which both well-known addresses were found."""
    pairs = {pair for reading in readings for pair in reading}
    prefixes = {prefix for prefix, _ in pairs}
    return {prefix for prefix in prefixes if all((prefix, address) in pairs for address in WELL_KNOWN_ADDRESSES)}
