# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of the house as frozen values: what is observed, what is wanted, and why.

All times are CLOCK_BOOTTIME seconds (RFC 8781 lifetimes run on while a laptop sleeps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from clatnm.compat import StrEnum
from clatnm.facts import Address6 as Address6  # noqa: PLC0414
from clatnm.facts import DefaultRoute as DefaultRoute  # noqa: PLC0414
from clatnm.facts import Link as Link  # noqa: PLC0414
from clatnm.facts import Ways as Ways  # noqa: PLC0414
from clatnm.heard import Dhcp4 as Dhcp4  # noqa: PLC0414
from clatnm.heard import Dhcp4State as Dhcp4State  # noqa: PLC0414
from clatnm.heard import PlatHealth as PlatHealth  # noqa: PLC0414
from clatnm.heard import PlatState as PlatState  # noqa: PLC0414
from clatnm.heard import PrefixCandidate as PrefixCandidate  # noqa: PLC0414
from clatnm.heard import PrefixSource as PrefixSource  # noqa: PLC0414
from clatnm.heard import SourceReport as SourceReport  # noqa: PLC0414
from clatnm.proto.eam import EamTable
from clatnm.words import AroundVpn as AroundVpn  # noqa: PLC0414
from clatnm.words import Mode as Mode  # noqa: PLC0414
from clatnm.words import Reason as Reason  # noqa: PLC0414

DEVICE_PREFIX = "clat-"
STATIC_OWNER = "static.d/"  # no interface has a slash in its name


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
class Relay:
    """What makes a translator an Edge Relay instead of a CLAT (RFC 7756)."""

    mappings: EamTable
    """RFC 7757: every address in it is served by this translator, whoever has it behind us."""
    addresses: tuple[IPv4Address, ...] = ()
    """Given to the device: services of this host. None: a router for others only."""
    routes: tuple[IPv4Network, ...] = (IPv4Network("0.0.0.0/0"),)
    """Led into the device: where the clients are."""

    @property
    def has_default(self) -> bool:
        """It takes all of IPv4, as a CLAT does; else it is in no other translator's way."""
        return any(route.prefixlen == 0 for route in self.routes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user has decided for a connection; None and AUTO leave it to the policy."""

    clat_v4: IPv4Address | None = None
    clat_v6: IPv6Address | None = None
    address_kind: AddressKind = AddressKind.AUTO
    device: str | None = None
    relay: Relay | None = None
    """An Edge Relay is wanted, not a CLAT."""
    metric: int | None = None
    """The metric of the IPv4 default route, whatever other routes have."""
    mtu_bytes: int | None = None
    """The longest IPv4 packet, where the uplink does not allow less."""
    default_route: bool = True
    """A CLAT without one has what somebody else leads into its device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldMode:
    """A mode that one place has for a connection."""

    source: str
    """Which place, for people: `ipv6.dns-options`."""
    text: str
    """What stands there."""
    mode: Mode | None
    """None: it does not count."""
    fault: str = ""
    """Why it does not count."""


def owner(interface: str, static: str) -> str:
    """Who has a translator: the connection on an interface, or a static translator, which may stand beside it."""
    return f"{STATIC_OWNER}{static}" if static else interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """One active connection, as its manager tells it; `interface` carries its IP traffic."""

    interface: str
    uuid: str
    name: str
    manager: str
    told_modes: tuple[ToldMode, ...] = ()
    """The modes that the connection itself has, in the order of belief."""
    is_vpn: bool = False
    manager_clat: str = ""
    """Non-empty: the manager translates this connection itself, from this IPv4 address."""
    manager_wait_s: float = 0.0
    """The manager has a CLAT of its own that is or may be on here: how long after a prefix is told it has the right of
    way."""
    choices: Choices = Choices()
    ipv4_disabled: bool = False
    """The profile says that this connection has no IPv4 of its own."""
    ipv4_required: bool = False
    """The profile says that the manager is to give the connection up without IPv4 of its own."""
    ipv4_metric: int | None = None
    """The metric that the profile has for IPv4 routes, if it has one."""
    never_default: bool = False
    """The profile says that IPv4's default route never is by this connection."""
    vpn_gateways: tuple[IPv4Address, ...] = ()
    """The far ends of the VPNs that run over this connection, where nobody else keeps them out of their own VPN."""
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()
    """The DNS resolvers that this link itself told of, as its manager has them; never another connection's."""
    settings: Settings | None = None
    """What is set where the connection itself is configured, but for the mode; `written` says which fields."""
    access_point: str = ""
    """BSSID of the Wi-Fi access point in use. Another one may lead to another network, without a loss of carrier."""
    static: str = ""
    """Name of the static translator that this stands for; "" for a connection."""

    @property
    def owner(self) -> str:
        """Whose translators, failures and decisions are kept apart: see `owner`."""
        return owner(self.interface, self.static)

    @property
    def mode(self) -> Mode | None:
        """What the connection itself says; None: the global default decides."""
        return next((told.mode for told in self.told_modes if told.mode is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """A translator from `/etc/clatnm/static.d/NAME.conf`: there as long as its uplink has IPv6."""

    name: str
    uplink: str
    prefix: IPv6Network
    """The network's translation prefix: that of a NAT64, or of a SIIT-DC border relay (RFC 7755)."""
    choices: Choices = Choices()
    backend: str = "auto"
    script_up: str = ""
    script_down: str = ""
    told_at: str = ""
    """File and line of the uplink, for people."""

    @property
    def key(self) -> str:
        """Its identity where connections have a UUID."""
        return owner(self.uplink, self.name)


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
    gateways: tuple[IPv4Address, ...] = ()
    """Far ends of VPNs over this uplink: what is for them goes through this translator, not into the VPN."""
    offered: bool = True
    """There is a default route through it. Without one, only connections that began earlier go on (a drain)."""
    default_route: bool = True
    """False: there never is one, and all the rest as if there were."""
    relay: Relay | None = None
    """With it, `clat_v4` and `clat_v6` are the pair that the translator itself speaks with, and need not be mapped; the
    addresses of its traffic are the relay's. Its table can change live."""
    static: str = ""
    """Name of the static translator that this is; "" for a connection's."""

    @property
    def owner(self) -> str:
        """Whose it is: see `owner`."""
        return owner(self.interface, self.static)

    @property
    def key(self) -> str:
        """Tells the translators of one owner apart: two are there while one takes over from the other."""
        return f"{self.owner}/{self.clat_v4}"

    def same_translator(self, other: Plan) -> bool:
        """True when `other` can be applied to a running translator without restarting it."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[object, ...]:
        """What a translator is born with."""
        return (
            (self.interface, self.static, self.ifindex, self.uuid, self.backend),
            (self.clat_v4, self.shared, self.link_address is None, self.default_route),
            None if self.relay is None else (self.relay.addresses, self.relay.routes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A translator that exists now."""

    plan: Plan
    state: RunState
    withdrawn_at: float | None = None
    """Since when it has had no default route; None while it is offered."""
    adopted_at: float | None = None
    """Since when this daemon has it, if an earlier one had it before."""


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
    prefix: IPv6Network | None = None
    """The NAT64 prefix, set by hand: nobody else is asked."""
    fallback_prefix: IPv6Network | None = None
    """The NAT64 prefix where nobody tells one."""
    dns64: bool = True
    """Ask the link's resolvers for the prefix (RFC 7050) where no router tells one."""
    dns64_servers: tuple[IPv4Address | IPv6Address, ...] = ()
    """Ask these instead of the link's own."""
    plat_check: bool = True
    plat_check_targets: tuple[IPv4Address, ...] = tuple(map(IPv4Address, ("1.1.1.1", "8.8.8.8", "9.9.9.9")))
    """Who is asked for an ICMP echo through the PLAT."""
    device: str | None = None
    clat_v4: IPv4Address | None = None
    clat_v6: IPv6Address | AddressKind = AddressKind.AUTO
    metric: int | None = None
    mtu_bytes: int | None = None
    default_route: bool = True
    """These six: see `Choices`."""
    script_up: str = ""
    script_down: str = ""
    """Absolute paths of programs that are run when a translator is there, and when it is gone; "" for none."""
    drain_s: int = 3600
    """How long connections through a translator may go on after its default route has gone."""
    vpn: AroundVpn = AroundVpn.STRICT
    interfaces: tuple[str, ...] = ()
    """Names and patterns of the interfaces that are followed although no network manager manages them."""
    metrics: str = ""
    """Where metrics are handed out: an absolute path, or a loopback address with a port; "" for nowhere."""
    written: frozenset[str] = frozenset()
    """Names of the fields that somebody has set."""
    connections: Mapping[str, Settings] = field(default_factory=dict)
    """Per connection UUID, where there are settings for it: complete, the global ones filled in."""
    statics: tuple[Static, ...] = ()
    """The static translators, sorted by name."""

    def of(self, uuid: str) -> Settings:
        """The settings that hold for one connection."""
        return self.connections.get(uuid, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything a decision may look at. Built anew each time; nothing else is consulted."""

    uplinks: tuple[Uplink, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    prefixes: Mapping[str, tuple[PrefixCandidate, ...]] = field(default_factory=dict)
    """Per interface name, from all sources; of each source best first; expired ones already gone."""
    without_ipv6_since: Mapping[str, float] = field(default_factory=dict)
    """Per interface name, where there is a carrier and no IPv6."""
    told_since: Mapping[str, float] = field(default_factory=dict)
    """Per interface name, since when there has been a prefix, IPv6 and the same right of way all the time."""
    reports: Mapping[str, tuple[SourceReport, ...]] = field(default_factory=dict)
    """Per interface name, what the sources say besides."""
    dhcp4: Mapping[str, Dhcp4] = field(default_factory=dict)
    """Per interface name, where any DHCPv4 was overheard."""
    plats: Mapping[tuple[str, IPv6Network], PlatHealth] = field(default_factory=dict)
    """Per interface name and prefix, where anything is known."""
    ways: Ways = field(default_factory=Ways)
    """Looked at only where there are VPNs."""
    users: Mapping[IPv4Address, int] = field(default_factory=dict)
    """Per CLAT address, how many sockets of this host use it; looked at while a translator drains."""
    advertised_mtus: Mapping[str, int] = field(default_factory=dict)
    """Per interface name, where a router advertised one."""
    advertised_prefixes: Mapping[str, frozenset[IPv6Network]] = field(default_factory=dict)
    """Per interface name, the preferred /64s for SLAAC heard since its carrier last came back."""
    dead_gateways: Mapping[str, frozenset[IPv4Address]] = field(default_factory=dict)
    """Per interface name, IPv4 gateways that do not answer since its carrier last came back (RFC 4436)."""
    running: Mapping[str, Running] = field(default_factory=dict)
    """By `Plan.key`."""
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
    keep: tuple[Plan, ...] = ()
    """Older translators of this connection that stay for a while beside the plan, or without one."""

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
