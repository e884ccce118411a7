# SPDX-License-Identifier: GPL-2.0-or-later
"""What networks have told, as frozen values. All times are CLOCK_BOOTTIME seconds."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from clatnm.compat import StrEnum


class PrefixSource(StrEnum):
    """Where a NAT64 prefix was learnt, in the order in which they are believed (RFC 9872 section 4)."""

    STATIC = "static"
    RA = "ra"
    MANAGER = "manager"
    DNS64 = "dns64"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCandidate:
    """A NAT64 prefix heard on one link, still valid until `expires_at`; best first in a list."""

    prefix: IPv6Network
    source: PrefixSource
    router: IPv6Address | None = None
    """Who told it: the router, or the DNS resolver."""
    expires_at: float | None = None
    heard_at: float | None = None
    """When it was last confirmed."""
    fading: bool = False
    """Still valid, but whoever told it now tells other prefixes instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What one source of prefixes has to say about one link, besides the prefixes."""

    source: PrefixSource
    settled: bool
    """It has had its chance to tell a prefix; until all have, a fallback waits."""
    detail: str
    """For people: `fe80::1 announces none`, `2001:db8::53 says NXDOMAIN`, `not asked`."""
    since: float


class Dhcp4State(StrEnum):
    """How the network answers a DHCPv4 client, as seen on the wire."""

    ASKING = "asking"
    ANSWERED = "answered"
    SILENT = "silent"
    REFUSED = "ipv6-only"
    """The answer was option 108: this network wants hosts without IPv4 (RFC 8925)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp4:
    """What was overheard of DHCPv4 on one link since its carrier came back."""

    state: Dhcp4State
    since: float
    until: float | None = None
    """REFUSED: when the client may ask again (V6ONLY_WAIT)."""


class PlatState(StrEnum):
    """What is known about the translator at the far end, behind one prefix of one link."""

    UNKNOWN = "unknown"
    ALIVE = "alive"
    SILENT = "silent"
    """Does not answer probes, which many do not; no reason to give it up."""
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatHealth:
    """The judgement about one PLAT, and since when."""

    state: PlatState
    since: float
    detail: str = ""
    """For people: `1.1.1.1 answered in 12 ms`, `no route (from 2001:db8::1)`."""
