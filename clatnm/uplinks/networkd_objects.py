# SPDX-License-Identifier: GPL-2.0-or-later
"""What systemd-networkd's description of its links and its .network files mean. Pure: text in, uplinks out."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import PurePath
from typing import Any

from clatnm import config
from clatnm.errors import ConfigError
from clatnm.facts import TUNNEL_KINDS
from clatnm.model import DEVICE_PREFIX, Mode, PrefixCandidate, PrefixSource, Settings, ToldMode, Uplink

NETWORKD = "org.freedesktop.network1"
NETWORKD_PATH = "/org/freedesktop/network1"
MANAGER = f"{NETWORKD}.Manager"
NAME = "systemd-networkd"

# networkd ignores sections that begin with X-, so this one may stand in its own files.
SECTION = "X-Clatnm"
# Ours are those of connections.d, written as networkd writes its own: FallbackPrefix for fallback-prefix.
_KEYS = {key.replace("-", ""): key for key in config.CONNECTION_KEYS}
_KEYS_HINT = "the keys of connections.d without hyphens, as Mode and FallbackPrefix"
_MODE = "mode"

# Of networkd's own states of a link: the first two are its decision to manage it, the others come before any decision.
_MANAGED = frozenset({"configuring", "configured"})
_UNDECIDED = frozenset({"pending", "initialized"})
# Nothing a user would look for: not even mentioned.
_INTERNAL = frozenset({"dummy", "ifb", "nlmon", "vcan"})
# Who told a resolver, best first; one set at run time may be a VPN's.
_RESOLVER_SOURCES = ("DHCPv6", "NDisc", "DHCPv4", "static")
_NO_DHCP4 = frozenset({"", "no", "n", "false", "f", "off", "0", "none", "ipv6", "v6"})
_COMMENTS = ("#", ";")
_MAX_TOLD = 200  # characters of a mistake; values can be of any length
_END_OF_LINE = re.compile("\r\n?|\n|\0")  # as systemd has it; other separators may be in a comment
_NAMESPACE = uuid.UUID("6b5b5ca6-5b4d-5b0e-9a3f-1f6d1d0d5c86")
_MAC_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkdLink:
    """A link that networkd manages, or may be about to."""

    index: int
    interface: str
    decided: bool
    """False: networkd has only just met it, so what was known of it before still counts."""
    network_file: str = ""
    is_tunnel: bool = False
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()
    access_point: str = ""
    prefixes: tuple[PrefixCandidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """What a .network file and its drop-ins say that concerns us."""

    told_modes: tuple[ToldMode, ...] = ()
    """The mode that counts, then those that do not."""
    own: Settings | None = None
    """Everything else in our own section; `written` says which fields."""
    ipv4_disabled: bool = False
    problems: tuple[str, ...] = ()
    """Sentences for the log, about our own section."""

    @property
    def mode(self) -> Mode | None:
        """The mode that counts."""
        return next((told.mode for told in self.told_modes if told.mode is not None), None)


def links_from(description: str) -> tuple[NetworkdLink, ...]:
    """The links in the answer of Manager.Describe that are, or may become, uplinks.

    ValueError when it is no such answer.
    """
    try:
        told = json.loads(description)
    except RecursionError as error:
        raise ValueError("a description that is nested too deep") from error
    if not isinstance(told, dict) or not isinstance(told.get("Interfaces"), list):
        raise ValueError("no description of links")
    found = (_link_from(entry) for entry in told["Interfaces"] if isinstance(entry, dict))
    return tuple(link for link in found if link is not None)


def _link_from(entry: Mapping[str, Any]) -> NetworkdLink | None:
    interface, index = _line(entry.get("Name")), entry.get("Index")
    # "SetupState" is the same under another name, in versions here and there.
    state = str(entry.get("AdministrativeState", entry.get("SetupState")))
    kind = str(entry.get("Kind"))
    if not interface or not isinstance(index, int) or state not in _MANAGED | _UNDECIDED:
        return None
    if (
        interface.startswith(DEVICE_PREFIX)
        or entry.get("Type") == "loopback"
        or kind in _INTERNAL
        or entry.get("OperationalState") == "enslaved"  # its bridge or bond has the addresses
    ):
        return None
    return NetworkdLink(
        index=index,
        interface=interface,
        decided=state in _MANAGED,
        network_file=_line(entry.get("NetworkFile")),
        is_tunnel=kind in TUNNEL_KINDS,
        resolvers=_resolvers(_list(entry.get("DNS"))),
        access_point=_access_point(entry.get("BSSID")),
        prefixes=tuple(_prefixes(_list(_dict(entry.get("NDisc")).get("PREF64")))),
    )


def _line(value: Any) -> str:
    """A text that can be a name of something; "" for others, as one with half a character in it (JSON has such)."""
    return value if isinstance(value, str) and value.isprintable() else ""


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _octets(value: Any) -> bytes:
    """networkd writes addresses of all kinds as lists of numbers."""
    try:
        return bytes(value) if isinstance(value, list) else b""
    except (TypeError, ValueError, OverflowError):
        return b""


def _address(value: Any) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(_octets(value))
    except ValueError:
        return None


def _resolvers(entries: list[Mapping[str, Any]]) -> tuple[IPv4Address | IPv6Address, ...]:
    told: dict[IPv4Address | IPv6Address, None] = {}
    for source in _RESOLVER_SOURCES:
        for entry in entries:
            address = _address(entry.get("Address"))
            if entry.get("ConfigSource") == source and address is not None:
                told[address] = None
    return tuple(told)


def _access_point(value: Any) -> str:
    octets = _octets(value)
    return octets.hex(":").upper() if len(octets) == _MAC_BYTES else ""


def _prefixes(entries: list[Mapping[str, Any]]) -> Iterator[PrefixCandidate]:
    """`[IPv6AcceptRA] UsePREF64=`, since systemd 255; LifetimeUSec is a moment of CLOCK_BOOTTIME, absent: for ever."""
    for entry in entries:
        until_us = entry.get("LifetimeUSec")
        try:
            prefix = IPv6Network((_octets(entry.get("Prefix")), int(entry.get("PrefixLength", -1))))
            expires_at = None if until_us is None else int(until_us) / 1e6
        except (TypeError, ValueError, OverflowError):
            continue
        router = _address(entry.get("ConfigProvider"))
        yield PrefixCandidate(
            prefix=prefix,
            source=PrefixSource.MANAGER,
            router=router if isinstance(router, IPv6Address) else None,
            expires_at=expires_at,
        )


def merge(fresh: Iterable[NetworkdLink], last: Iterable[NetworkdLink]) -> tuple[NetworkdLink, ...]:
    """The links networkd manages: of those it has not decided about again yet, what it said last."""
    known = {(link.index, link.interface): link for link in last}
    links = (link if link.decided else known.get((link.index, link.interface)) for link in fresh)
    return tuple(sorted((link for link in links if link is not None), key=lambda link: link.interface))


def uplink(link: NetworkdLink, settings: FileSettings) -> Uplink:
    """The connection that a link is. networkd has no UUIDs: ours is made from the file's name and the interface."""
    file = PurePath(link.network_file)
    return Uplink(
        interface=link.interface,
        uuid=str(uuid.uuid5(_NAMESPACE, f"{file.name}/{link.interface}")),
        name=file.stem or link.interface,
        manager=NAME,
        told_modes=settings.told_modes,
        settings=settings.own,
        is_vpn=link.is_tunnel,
        ipv4_disabled=settings.ipv4_disabled,
        resolvers=link.resolvers,
        access_point=link.access_point,
    )


class _OwnSection:
    """What [X-Clatnm] says in several files: later lines win, and an empty value takes back what was said."""

    def __init__(self, backends: tuple[str, ...]) -> None:
        self._backends = backends
        self._mode: ToldMode | None = None
        self._bad_modes: list[ToldMode] = []
        self._given: dict[str, Any] = {}
        self.problems: list[str] = []

    def take(self, place: str, word: str, value: str) -> None:
        """One line of the section, which stands at `place`: file and line number."""
        key = _KEYS.get(word.lower().replace("-", ""))
        try:
            if key is None:
                raise ConfigError(f"unknown key {word!r}", hint=_KEYS_HINT)
            if not value:
                self._forget(key)
                return
            field, meaning = config.setting(key, value, backends=self._backends)
        except ConfigError as error:
            what = _shortly(error.what)
            self.problems.append(f"{place}: [{SECTION}] {what}; ignored ({error.hint})")
            if key == _MODE:
                self._bad_modes.append(ToldMode(source=place, text=_shortly(value), mode=None, fault=what))
            return
        if key == _MODE:
            self._mode = ToldMode(source=f"[{SECTION}] at {place}", text=value, mode=meaning)
        else:
            self._given[field] = meaning

    def _forget(self, key: str) -> None:
        if key == _MODE:
            self._mode = None
        self._given.pop(config.field_of(key), None)

    def told_modes(self) -> tuple[ToldMode, ...]:
        return (*([] if self._mode is None else [self._mode]), *self._bad_modes)

    def settings(self) -> Settings | None:
        return Settings(written=frozenset(self._given), **self._given) if self._given else None


def _shortly(text: str) -> str:
    return text if len(text) <= _MAX_TOLD else f"{text[:_MAX_TOLD]}…"


def settings_from(files: Iterable[tuple[str, str]], *, backends: tuple[str, ...] = ()) -> FileSettings:
    """Read (name, text) of the .network file and then its drop-ins, in networkd's order: later lines win."""
    own = _OwnSection(backends)
    dhcp = ""
    addresses: list[str] = []
    for name, text in files:
        for line, section, key, value in assignments(text):
            if (section, key) == ("Network", "DHCP"):
                dhcp = value.lower()
            elif (section, key) == ("Network", "Address"):
                addresses = [*addresses, value] if value else []
            elif (section, key) == ("Address", "Address"):
                addresses.append(value)
            elif section == SECTION:
                own.take(f"{name}:{line}", key, value)
    return FileSettings(
        told_modes=own.told_modes(),
        own=own.settings(),
        ipv4_disabled=dhcp in _NO_DHCP4 and not any(map(_is_ipv4, addresses)),
        problems=tuple(own.problems),
    )


def assignments(text: str) -> Iterator[tuple[int, str, str, str]]:
    """(number, section, key, value) of each line of a systemd configuration file, in order (systemd.syntax(7))."""
    section, begun, first = "", "", 0
    for number, line in enumerate(_END_OF_LINE.split(text), 1):
        bare = line.strip()
        if bare.startswith(_COMMENTS):
            continue
        first = first if begun else number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        whole, begun = (begun + line).strip(), ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
        elif "=" in whole:
            key, _, value = whole.partition("=")
            yield first, section, key.strip(), value.strip()


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Network(text, strict=False)
    except ValueError:
        return False
    return True
