# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses, device name, metric and MTU a translator gets. Pure arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import chain
from typing import NamedTuple

from clatnm.model import DEVICE_PREFIX, Address6, DefaultRoute, Link, Static

# RFC 7335: hosts running an IPv4 continuity solution take their IPv4 address from here.
CONTINUITY_PREFIX = IPv4Network("192.0.0.0/29")
# Other software starts at .1 (clatd, phones as gateways), .2 (phones' guests) or .5 (NetworkManager):
# begin where none of them does, so that an address taken later rarely makes us move.
_POOL = tuple(CONTINUITY_PREFIX[n] for n in (4, 3, 6, 7, 5, 2, 1, 0))

_MAX_DEVICE_NAME = 15
_METRIC_OFFSET = 50
_MAX_METRIC = 0xFFFFFFFF
_IPV6_MIN_MTU = 1280
# An IPv6 header is 20 bytes longer than an IPv4 one, and a Fragment header takes 8 more (RFC 7915 section 1.4).
_HEADER_GROWTH, _HEADER_DIFFERENCE = 28, 20
_ULA = IPv6Network("fc00::/7")


def device_name(interface: str) -> str:
    """`clat-<interface>`, or a stable hash of it where that would pass the kernel's 15 bytes."""
    name = DEVICE_PREFIX + interface
    return name if len(name.encode()) <= _MAX_DEVICE_NAME else _hashed(interface)


def static_device(static: Static) -> str:
    """The chosen name, or `clat-s-<its own>`: a file named after an interface is not to take that one's device."""
    return static.choices.device or device_name(f"s-{static.name}")


def spare_name(interface: str) -> str:
    """The name of an older translator's device, once a newer one is to have `device_name`."""
    return _hashed(f"{interface} before")


def _hashed(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return DEVICE_PREFIX + digest[: _MAX_DEVICE_NAME - len(DEVICE_PREFIX)]


def clat_v4(*, used: Collection[IPv4Address], current: IPv4Address | None) -> IPv4Address | None:
    """A free address of 192.0.0.0/29 (RFC 7335 section 4), None if all are taken; the current one while it is free."""
    if current is not None and current not in used:
        return current
    return next((address for address in _POOL if address not in used), None)


def source_prefix(
    link: Link, *, advertised: Collection[IPv6Network], towards: IPv6Network, current: IPv6Address | None
) -> IPv6Network | None:
    """The /64 of `link` that the CLAT address should lie in, or None when the link has none.

    RFC 6724 section 5, as far as it can differ between prefixes of one link: not deprecated (rule 3), same
    label as the NAT64 prefix (rule 6), longest match with it (rule 8). Rule 7 does not apply: the address is
    ours alone and neither temporary nor public. Before all that come the prefixes `advertised` since the carrier last
    came back: after a quick roam the addresses of the old network are still there. The prefix in use wins among
    equals, so nothing flaps.
    """
    prefixes = prefixes_of(link, deprecated=False) | set(advertised)

    def rank(prefix: IPv6Network) -> tuple[bool, bool, int, bool, int]:
        same_label = (prefix.network_address in _ULA) == (towards.network_address in _ULA)
        in_use = current is not None and current in prefix
        alike = _common_bits(prefix.network_address, towards.network_address)
        return prefix in advertised, same_label, alike, in_use, -int(prefix[0])

    return max(prefixes, key=rank, default=None)


def prefixes_of(link: Link, *, deprecated: bool = True) -> set[IPv6Network]:
    """The /64s that the link's addresses lie in; without the deprecated ones if so asked."""
    return {
        IPv6Network((a.address, 64), strict=False)
        for a in link.addresses6
        if _routable(a.address) and a.prefixlen == 64 and (deprecated or not a.deprecated)
    }


def host_address(link: Link, *, towards: IPv6Network, current: IPv6Address | None) -> IPv6Address | None:
    """The host's own address to share, where the link has no /64 to take one from; None when there is none.

    RFC 6724 section 5 as above, but rule 7 the other way round: an address that lasts beats a temporary one, since
    translated connections end with it. Tentative and deprecated ones are out (RFC 4862 section 5.5.4).
    """
    able = [a for a in link.addresses6 if _routable(a.address) and not a.tentative and not a.deprecated]

    def rank(candidate: Address6) -> tuple[bool, bool, int, bool, int]:
        same_label = (candidate.address in _ULA) == (towards.network_address in _ULA)
        alike = _common_bits(candidate.address, towards.network_address)
        return same_label, not candidate.temporary, alike, candidate.address == current, -int(candidate.address)

    best = max(able, key=rank, default=None)
    return None if best is None else best.address


def _routable(address: IPv6Address) -> bool:
    return not (address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified)


def _common_bits(one: IPv6Address, other: IPv6Address) -> int:
    """Length of the common prefix, at most 64 bits (RFC 6724 section 2.2)."""
    return min(128 - (int(one) ^ int(other)).bit_length(), 64)


def clat_v6(
    prefix: IPv6Network,
    *,
    uuid: str,
    interface: str,
    collisions: int,
    secret: bytes,
    used: Collection[IPv6Address] = (),
) -> IPv6Address:
    """A stable, semantically opaque address in the /64 `prefix` (RFC 7217 section 5), not one that is `used`.

    Stable for one connection on one network, unrelated between networks, and different from the host's own
    addresses because the secret is ours alone. `collisions` is RFC 7217's DAD_Counter.
    """
    for counter in range(collisions, collisions + 256):
        message = b"\0".join((prefix.network_address.packed[:8], interface.encode(), uuid.encode(), b"%d" % counter))
        digest = hashlib.sha256(len(secret).to_bytes(2, "big") + secret + message).digest()
        address = prefix[int.from_bytes(digest[:8], "big")]
        if not _reserved(address) and address not in used:
            return address
    raise AssertionError("256 interface identifiers in a row are reserved or in use")


def _reserved(address: IPv6Address) -> bool:
    """Interface identifiers nobody may choose (RFC 5453): the anycast ones at both ends, and IANA's block."""
    iid = int(address) & 0xFFFFFFFFFFFFFFFF
    return iid == 0 or 0xFDFFFFFFFFFFFF80 <= iid <= 0xFDFFFFFFFFFFFFFF or iid >> 24 == 0x02005EFFFE


def best_default(routes: Iterable[DefaultRoute]) -> DefaultRoute | None:
    """The default route the kernel would use: the lowest metric."""
    return min(routes, key=lambda route: route.metric, default=None)


def metric(
    link: Link,
    *,
    dead: Collection[IPv4Address],
    taken: Collection[int],
    own: int | None = None,
    behind: int | None = None,
    chosen: int | None = None,
) -> int:
    """Metric of the IPv4 default route over the translator of `link`.

    It sorts like the metric `own` that its user chose for IPv4, else like the uplink's own IPv6 route, so that the
    better uplink wins for both families; it is worse than the metric `behind`, and than any native IPv4 default of that
    uplink, and never equal to another IPv4 default route (`taken`), since the kernel would refuse the later of two. It
    is better than a default route whose gateway is `dead`.

    One that was `chosen` is it, or the next worse one that nobody has; only `behind` goes before that.
    """
    if chosen is not None:
        first = chosen if behind is None else max(chosen, behind + 1)
        return next(metric for metric in chain(range(first, _MAX_METRIC + 1), range(first)) if metric not in taken)
    live = live_routes(link, dead)
    base = best_default(link.default6)
    told = (own if own is not None else base.metric if base is not None else None, behind)
    alive = [*(route.metric for route in live), *(metric for metric in told if metric is not None)]
    highest = min((route.metric - 1 for route in link.default4 if route not in live), default=_MAX_METRIC)
    wanted = min(max(alive, default=0) + _METRIC_OFFSET, highest)
    # Being alone is a must, everything else a wish.
    ways = chain(range(wanted, highest + 1), range(wanted - 1, -1, -1), range(highest + 1, _MAX_METRIC + 1))
    return next(metric for metric in ways if metric not in taken)


def live_routes(link: Link, dead: Collection[IPv4Address]) -> tuple[DefaultRoute, ...]:
    """The IPv4 default routes of `link` that lead somewhere, or that nothing could come before (metric 0)."""
    return tuple(route for route in link.default4 if route.gateway not in dead or route.metric == 0)


class Path(NamedTuple):
    """The way out of the host, as a translator needs to know it."""

    gateway: IPv6Address | None
    link_address: bytes | None
    ipv6_mtu_bytes: int
    ipv4_mtu_bytes: int


def path(link: Link, *, advertised_mtu: int | None, chosen_mtu: int | None = None) -> Path:
    """Next hop, own link-layer address and MTUs of `link` now; `chosen_mtu` is for IPv4, as far as it fits."""
    route = best_default(link.default6)
    gateway = route.gateway if route and isinstance(route.gateway, IPv6Address) else None
    mtu_bytes = ipv6_mtu(link, advertised=advertised_mtu)
    most = ipv4_mtu(mtu_bytes) if chosen_mtu is None else min(chosen_mtu, mtu_bytes - _HEADER_DIFFERENCE)
    return Path(gateway, link.link_address, mtu_bytes, most)


def ipv6_mtu(link: Link, *, advertised: int | None) -> int:
    """The largest IPv6 packet for the uplink, never below what every IPv6 link carries (RFC 8200 section 5).

    The router's word counts at once, whenever the manager gets round to telling the kernel, which then tells nobody.
    """
    own = link.ipv6_mtu_bytes if advertised is None else min(link.ipv6_mtu_bytes, advertised)
    return max(own, _IPV6_MIN_MTU)


def ipv4_mtu(ipv6_mtu_bytes: int) -> int:
    """The largest IPv4 packet whose translation fits even as a fragment: 28 bytes less."""
    return ipv6_mtu_bytes - _HEADER_GROWTH
