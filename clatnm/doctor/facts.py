# SPDX-License-Identifier: GPL-2.0-or-later
"""All that the checks look at, as frozen values."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from clatnm.compat import StrEnum
from clatnm.doctor.filters import Chain
from clatnm.kernel.machine import Neighbour, Way4
from clatnm.kernel.overhear import Overheard
from clatnm.kernel.ping import NOT_TRIED, Reach, Trial
from clatnm.model import Link, Running, ToldMode, Verdict, World
from clatnm.policy.verdict import Case

NETWORKMANAGER = "NetworkManager"


class DaemonState(StrEnum):
    """What became of a question to the daemon."""

    ANSWERS = "answers"
    ABSENT = "absent"
    NAMELESS = "nameless"
    """A process is there, and its name on the bus is not."""
    MUTE = "mute"
    FORBIDDEN = "forbidden"
    """The bus lets this user not ask."""
    UNKNOWN = "unknown"
    """Without a bus nobody can be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """The file that holds for all connections."""

    path: str = "/etc/clatnm/clatnm.conf"
    has_section: bool = False
    """It is there, with its section, and can be edited by a line."""
    written: frozenset[str] = frozenset()
    """The keys in it."""

    def edit(self, key: str, value: str) -> str:
        """A command that sets a key in it and has it read; "" where one line does not do."""
        if not self.has_section:
            return ""
        if key in self.written:
            script = rf"s|^[[:space:]]*{key}[[:space:]]*[=:].*|{key} = {value}|"
        else:
            script = rf"/^\[clatnm\]/a {key} = {value}"
        return f"sed -i {shlex.quote(script)} {shlex.quote(self.path)} && systemctl reload clatnm"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticState:
    """A static translator: whether it runs, else why not, and what would change it."""

    name: str
    runs: bool
    why: str = ""
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is not about one connection."""

    as_root: bool
    config_fault: str = ""
    config_hint: str = ""
    config_hidden: bool = False
    """This user may not read it."""
    plain_only: bool = False
    """Interfaces without a manager are named, so clatnm does without a bus."""
    ipv6: bool = True
    bus_fault: str = ""
    daemon: DaemonState = DaemonState.ANSWERS
    daemon_words: str = ""
    daemon_pid: int = 0
    capabilities: frozenset[str] | None = None
    """Those of the daemon; None where they are not known."""
    tun_fault: str = ""
    backend: str = "auto"
    backends: Mapping[str, str] = field(default_factory=dict)
    """As in `World`; empty where nobody has tried."""
    leftovers: tuple[str, ...] | None = None
    """None: only root sees them."""
    statics: tuple[StaticState, ...] = ()
    conf: Conf = Conf()


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A device behind which somebody has IPv4 by this host: masqueraded, and forwarded unless a chain drops it."""

    device: str
    drop_out: tuple[Chain, ...] = ()
    """What drops packets on their way into the translator."""
    drop_back: tuple[Chain, ...] = ()
    """What drops the answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One connection, or an interface that is none."""

    interface: str
    name: str
    as_root: bool = False
    link: Link | None = None
    up: bool | None = None
    """Somebody has switched the device on."""
    ipv6_off: bool = False
    duplicates: tuple[IPv6Address, ...] = ()
    """Addresses of this link that another host has, too."""
    manager: str = ""
    unfollowed: tuple[str, str] | None = None
    """It is no connection: why, and what would make it one."""
    verdict: Verdict | None = None
    this: Case | None = None
    """Both None where nobody could decide."""
    told_modes: tuple[ToldMode, ...] = ()
    run: Running | None = None
    device: Link | None = None
    """Its translator's device."""
    error: str = ""
    """By which its translator has failed."""
    foreign_device: str = ""
    """A device of somebody else that has the name of ours."""
    adverts: Overheard | None = None
    """None: not listened for."""
    neighbour: Neighbour = Neighbour.UNKNOWN
    router: Trial = NOT_TRIED
    plat: Trial = NOT_TRIED
    """Over IPv6, from the host's own address."""
    unannounced: Trial = NOT_TRIED
    """The same for the well-known prefix, where the network tells none."""
    way: Way4 | None = None
    ipv4: Trial = NOT_TRIED
    """By the routes there are."""
    by_device: Trial = NOT_TRIED
    """Into the translator, whatever the routes say."""
    went: int | None = None
    came: int | None = None
    """Packets that the translator counted meanwhile, to IPv6 and back; None where it told none."""
    reach: Reach | None = None
    chains: tuple[Chain, ...] = ()
    lans: tuple[tuple[str, IPv4Address], ...] = ()
    """Devices from which this host forwards IPv4, and its address there; uplinks and tunnels are none."""
    behind: tuple[Behind, ...] | None = ()
    """None: only root sees the rules."""
    zones: tuple[str, str] | None = None
    """firewalld's zones of the uplink and of the device; "" is the default zone. None: no firewalld, or not known."""
    vpn_names: Mapping[str, str] = field(default_factory=dict)
    """Device of a VPN → its connection in NetworkManager."""
    pool: tuple[tuple[str, IPv4Address], ...] = ()
    """Who has addresses of 192.0.0.0/29 that are not ours, by device."""
    metrics: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Device → metric and gateway of its best IPv4 default route."""
    sources: tuple[tuple[str, str], ...] = ()
    """What each source of prefixes says: its name, and its words."""
    conf: Conf = Conf()

    @property
    def called(self) -> str:
        """Its name as a shell wants it; one like an option is no name for a command."""
        uplink = self.verdict.uplink if self.verdict else None
        plain = self.name and self.name.isprintable() and not self.name.startswith("-")
        return shlex.quote(self.name if plain or uplink is None else uplink.uuid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. `at`: CLOCK_BOOTTIME seconds."""

    machine: Machine
    subjects: tuple[Subject, ...]
    world: World | None
    at: float
    status: str = ""
    """The daemon's own, as JSON; "" without it."""
    interfaces: tuple[str, ...] = ()
    """Those that could be asked for by name: with a carrier, and neither ours nor tunnels."""
