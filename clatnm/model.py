# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of the house as frozen values: what is observed, what is wanted, and why.

All times are CLOCK_BOOTTIME seconds (RFC 8781 lifetimes run on while a laptop sleeps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.compat import StrEnum

DEVICE_PREFIX = "clat-"


class Mode(StrEnum):
    """What the user wants for a connection, in NetworkManager's own words for `ipv4.clat`."""

    NO = "no"
    AUTO = "auto"
    FORCE = "force"


class Reason(StrEnum):
    """Why a connection has no CLAT now. The value is what the user reads first."""

    NOT_AN_UPLINK = "not-an-uplink"
    OPTED_OUT = "opted-out"
    MANAGER_TRANSLATES = "manager-translates"
    NO_IPV6 = "no-ipv6"
    NATIVE_IPV4 = "native-ipv4"
    NO_PREF64 = "no-pref64"
    NO_CLAT_ADDRESS = "no-clat-address"
    NO_TRANSLATOR = "no-translator"
    BACKING_OFF = "backing-off"


class PrefixSource(StrEnum):
    """Where a NAT64 prefix was learnt."""

    STATIC = "static"
    RA = "ra"


class RunState(StrEnum):
    """Where the translator of one connection is."""

    STARTING = "starting"
    ON = "on"
    STOPPING = "stopping"


class AddressKind(StrEnum):
    """Whose the CLAT's IPv6 address is to be."""

    AUTO = "auto"
    DEDICATED = "dedicated"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user has decided for a connection; None and AUTO leave it to the policy."""

    clat_v4: IPv4Address | None = None
    clat_v6: IPv6Address | None = None
    address_kind: AddressKind = AddressKind.AUTO
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """One active connection, as its manager tells it; `interface` carries its IP traffic."""

    interface: str
    uuid: str
    name: str
    manager: str
    mode: Mode | None = None
    """Mode set on the connection itself; None: the global default decides."""
    is_vpn: bool = False
    manager_clat: str = ""
    """Non-empty: the manager translates this connection itself, from this IPv4 address."""
    choices: Choices = Choices()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCandidate:
    """A NAT64 prefix heard on one link, still valid until `expires_at`; best first in a list."""

    prefix: IPv6Network
    source: PrefixSource
    router: IPv6Address | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a translator is told. Two equal plans are the same translator."""

    interface: str
    ifindex: int
    uuid: str
    device: str
    backend: str
    clat_v4: IPv4Address
    clat_v6: IPv6Address
    prefix: IPv6Network
    gateway: IPv6Address | None
    link_address: bytes | None
    ipv6_mtu_bytes: int
    ipv4_mtu_bytes: int
    metric: int
    shared: bool = False
    """`clat_v6` is the host's own address, which keeps its own traffic; else it is the translator's alone."""

    def same_translator(self, other: Plan) -> bool:
        """True when `other` can be applied to a running translator without restarting it."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[object, ...]:
        """What a translator is born with."""
        return (
            (self.interface, self.ifindex, self.uuid, self.device, self.backend),
            (self.clat_v4, self.shared, self.link_address is None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The translator of one connection that exists now."""

    plan: Plan
    state: RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A connection whose translator failed: how often in a row, the last error, when to try again."""

    failures: int
    error: str
    not_before: float
    collisions: int = 0
    """How many CLAT addresses duplicate address detection has refused so far (RFC 7217 DAD_Counter)."""
    refused: frozenset[str] = frozenset()
    """Backends that could not start, so that the next one is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global configuration, as far as deciding needs it."""

    mode: Mode = Mode.AUTO
    backend: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything a decision may look at. Built anew each time; nothing else is consulted."""

    uplinks: tuple[Uplink, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    prefixes: Mapping[str, tuple[PrefixCandidate, ...]] = field(default_factory=dict)
    """Per interface name, best first, expired ones already gone."""
    advertised_mtus: Mapping[str, int] = field(default_factory=dict)
    """Per interface name, where a router advertised one."""
    advertised_prefixes: Mapping[str, frozenset[IPv6Network]] = field(default_factory=dict)
    """Per interface name, the preferred /64s for SLAAC heard since its carrier last came back."""
    dead_gateways: Mapping[str, frozenset[IPv4Address]] = field(default_factory=dict)
    """Per interface name, IPv4 gateways that do not answer since its carrier last came back (RFC 4436)."""
    running: Mapping[str, Running] = field(default_factory=dict)
    retries: Mapping[str, Retry] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    """Backend name → "" when it works on this machine, else why not; in order of preference."""
    sharing_backends: frozenset[str] = frozenset()
    """Those that can translate from the host's own address beside its own traffic."""
    settings: Settings = Settings()
    secret: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision for one connection, with the evidence that a user or a log reader needs."""

    uplink: Uplink
    mode: Mode
    plan: Plan | None
    reason: Reason | None
    evidence: Mapping[str, str]
    candidate: PrefixCandidate | None = None

    def line(self) -> str:
        """The evidence on one line: `[mode=auto ipv4=none pref64=64:ff9b::/96 from=ra ret=wanted]`."""
        facts = {**self.evidence, "ret": self.reason or "wanted"}
        return f"[{' '.join(f'{key}={value}' for key, value in facts.items())}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Bring a translator up."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Apply `plan` to the running translator of the same interface, losing nothing."""

    old: Plan
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Take the translator of `plan.interface` down."""

    plan: Plan


Step = Start | Update | Stop
