# SPDX-License-Identifier: GPL-2.0-or-later
"""What each of clatd's keys is here: one rule a key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import TypeVar

from clatnm import config_device
from clatnm.compat import StrEnum
from clatnm.errors import ConfigError, ParseError
from clatnm.proto.nat64 import parse_prefix

_WORDS_YES, _WORDS_NO = ("1", "true", "on", "yes"), ("0", "false", "off", "no")
_MAX_TOLD = 60  # characters of a value, in a message about it
# clatd's defaults, where they matter.
_DEVICE, _MTU, DEFAULT_V4 = "clat", 1260, "192.0.0.1"
_CONTINUITY = IPv4Network("192.0.0.0/29")  # RFC 7335
_HEADERS = 40  # of IPv4 and TCP
_BEFORE_ALL = 1  # a metric better than that of any route a manager makes
_T = TypeVar("_T")


class Becomes(StrEnum):
    """What becomes of a line of clatd's."""

    KEPT = "kept"
    NOT_NEEDED = "not needed"
    NOT_SUPPORTED = "not supported"
    IGNORED = "ignored"


class Place(StrEnum):
    """Which of our files has a key."""

    COMMON = "clatnm.conf"
    CONNECTION = "connections.d"
    STATIC = "static.d"


@dataclass(frozen=True, slots=True)
class Given:
    """What clatd would go by: each key's last value; and whether there is a connection to import for."""

    values: Mapping[str, str]
    for_connection: bool
    directory: str = "/etc/clatnm"

    @property
    def static(self) -> bool:
        """Everything is chosen by hand, as for a SIIT-DC Edge Relay: nothing is left to find out."""
        address = self.values.get("clat-v6-addr", "shared") not in ("shared", "derived")
        return address and "plat-prefix" in self.values and not self.for_connection

    def flag(self, key: str, default: bool) -> bool:
        return self._get(key, _flag, default)

    def number(self, key: str, default: int) -> int:
        return self._get(key, _number, default)

    def _get(self, key: str, read: Callable[[str], _T], default: _T) -> _T:
        """What a mistake in another line's value is answered with, that line's own rule says."""
        with contextlib.suppress(ConfigError):
            return read(self.values[key]) if key in self.values else default
        return default


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    becomes: Becomes
    why: str = ""
    place: Place = Place.COMMON
    keys: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Absolute path → text of programs that are to be there."""


def _kept(place: Place = Place.COMMON, why: str = "", /, **keys: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in keys.items()}
    return Said(becomes=Becomes.KEPT, why=why, place=place, keys=named)


def _needless(why: str) -> Said:
    return Said(becomes=Becomes.NOT_NEEDED, why=why)


def _unsupported(why: str) -> Said:
    return Said(becomes=Becomes.NOT_SUPPORTED, why=why)


# Values, as clatd takes them; and numbers in hexadecimal, in which clatd writes its own defaults.


def _told(value: str) -> str:
    return repr(value if len(value) <= _MAX_TOLD else f"{value[:_MAX_TOLD]}…")


def _flag(value: str) -> bool:
    word = value.lower()
    if word not in (*_WORDS_YES, *_WORDS_NO):
        raise ConfigError(f"{_told(value)} is neither yes nor no", hint="one of: 1 0 true false on off yes no")
    return word in _WORDS_YES


def _number(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,10}", value):
        return int(value)
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", value):
        return int(value, 16)
    raise ConfigError(f"{_told(value)} is no number", hint="digits, or 0x and hexadecimal ones")


def _address4(value: str) -> IPv4Address:
    try:
        return IPv4Address(value)
    except AddressValueError:
        raise ConfigError(f"{_told(value)} is no IPv4 address", hint="as 192.0.0.1") from None


def _prefix(value: str) -> IPv6Network:
    try:
        return parse_prefix(value)
    except ParseError as error:
        raise ConfigError(error.what, hint="a NAT64 prefix, as 64:ff9b::/96") from None


# They are asked only for values that are there, and a few for an empty one.

Rule = Callable[[str, Given], Said]


def _plat_prefix(value: str, given: Given) -> Said:
    return _kept(prefix=str(_prefix(value)))


def _fallback_prefix(value: str, given: Given) -> Said:
    return _kept(fallback_prefix=str(_prefix(value)))


def _dns64_servers(value: str, given: Given) -> Said:
    servers = []
    for word in value.split(","):
        try:
            server = ip_address(word.strip())
        except ValueError:
            return _unsupported(f"{_told(word)} is no address; put addresses into dns64-servers of clatnm.conf")
        if server.is_loopback or server.is_unspecified:
            return _unsupported(f"{server} is this host; the resolvers that the link itself tells of are asked")
        servers.append(str(server))
    return _kept(Place.COMMON, "what a router tells goes before what they say", dns64_servers=", ".join(servers))


def _clat_dev(value: str, given: Given) -> Said:
    name = config_device.device(value)
    if given.for_connection and name is not None:
        return _kept(Place.CONNECTION, device=name)
    if value == _DEVICE:
        return _needless(
            "each connection has a device of its own, as clat-eth0; scripts and firewalls may need the name"
        )
    return _for_one("each connection's device is called after it, as clat-eth0")


def _clat_v4(value: str, given: Given) -> Said:
    address = config_device.clat_v4(value)
    if address is None:  # a word of ours, not of clatd's
        raise ConfigError(f"{value!r} is no IPv4 address", hint="an address, as 192.0.0.1")
    if given.for_connection:
        return _kept(Place.CONNECTION, clat_v4_addr=str(address))
    if address in _CONTINUITY:
        return _needless("each connection gets a free address of 192.0.0.0/29")
    return _for_one("each connection gets a free address of 192.0.0.0/29")


def _clat_v6(value: str, given: Given) -> Said:
    if value == "shared":
        return _kept(
            Place.COMMON,
            "takes an eBPF backend; without this line an address of its own is preferred",
            clat_v6_addr=value,
        )
    if value == "derived":
        return _kept(Place.COMMON, "an address of its own, that nobody else on the link has", clat_v6_addr="dedicated")
    address = config_device.clat_v6(value)
    if given.for_connection:
        return _kept(Place.CONNECTION, clat_v6_addr=str(address))
    return _for_one("each connection has its own, in its network")


def _for_one(otherwise: str) -> Said:
    return _unsupported(f"it is for one connection, which --connection can name; otherwise {otherwise}")


def _plat_dev(value: str, given: Given) -> Said:
    if given.for_connection:
        return _needless("the connection has its interface")
    return _unsupported(
        "every connection that needs CLAT gets it; for one alone: clatnm set --default no, clatnm set CONNECTION auto"
    )


def _conncheck(value: str, given: Given) -> Said:
    if _flag(value):
        return _needless("native IPv4 goes before CLAT, on each connection by itself, whenever it comes")
    if given.flag("v4-defaultroute-replace", False):
        return _needless("v4-defaultroute-replace says more")
    return _kept(Place.COMMON, "CLAT also beside native IPv4, whose routes are preferred", mode="force")


def _replace(value: str, given: Given) -> Said:
    if not _flag(value):
        return _needless("other IPv4 default routes are never removed")
    why = "other IPv4 default routes stay, and CLAT's goes before them"
    return _kept(Place.COMMON, why, mode="force", metric=str(_BEFORE_ALL))


def _metric(value: str, given: Given) -> Said:
    metric = _number(value)
    if given.flag("v4-defaultroute-replace", False):
        return _needless("with v4-defaultroute-replace there is nothing to compare it with")
    if not given.flag("v4-defaultroute-enable", True):
        return _needless("v4-defaultroute-enable=no")
    if metric > config_device.MAX_METRIC:
        raise ConfigError(f"{_told(value)} is no metric", hint=f"0 to {config_device.MAX_METRIC}")
    return _kept(metric=str(metric))


def _mtu(value: str, given: Given) -> Said:
    mtu_bytes = _number(value)
    if mtu_bytes == 0:
        return _needless("clatnm takes what the link allows")
    if not config_device.MIN_MTU <= mtu_bytes <= config_device.MAX_MTU:
        raise ConfigError(f"{_told(value)} is no MTU", hint=f"{config_device.MIN_MTU} to {config_device.MAX_MTU}")
    why = "without this line, what the link allows: more" if mtu_bytes == _MTU else ""
    return _kept(Place.COMMON, why, mtu=str(mtu_bytes))


def _advmss(value: str, given: Given) -> Said:
    advmss, mtu_bytes = _number(value), given.number("v4-defaultroute-mtu", _MTU)
    if advmss in (0, mtu_bytes - _HEADERS):
        return _needless("the kernel takes the MTU less 40")
    return _unsupported(f"the kernel takes the MTU less 40: for less, mtu = {advmss + _HEADERS} in clatnm.conf")


def _default_route(value: str, given: Given) -> Said:
    if _flag(value):
        return _needless("there always is one")
    return _kept(Place.COMMON, "routes into the device are yours to make, as by script-up", default_route="no")


def _script(key: str, when: str) -> Rule:
    def rule(value: str, given: Given) -> Said:
        path = f"{given.directory}/clatd-{key}"
        text = f"#!/bin/sh\n# clatd's {key}, as it was; see clatnm.conf(5) for what is different.\n{value}\n"
        said = _kept(
            Place.COMMON,
            f"{when}; it may do no more than the service may: see SCRIPTS in clatnm.conf(5)",
            **{key: path},
        )
        return replace(said, scripts={path: text})

    return rule


def _tayga_v4(value: str, given: Given) -> Said:
    _address4(value)
    return _needless("ICMP errors of the translator itself come from 192.0.0.8; `clatnm status` tells whether it works")


def _ctmark(value: str, given: Given) -> Said:
    _number(value)
    return _needless("no mark is set: what is for the translator is told apart without one")


def _cmd_networkctl(value: str, given: Given) -> Said:
    if value:
        return _needless("no program is run")
    return _unsupported("a router's word is always heard; prefix = in clatnm.conf goes before it")


def _cmd_tayga(value: str, given: Given) -> Said:
    return _needless("clatnm translates by itself; backend = tayga would have TAYGA do it")


def _needs_none(why: str, check: Callable[[str], object] = str) -> Rule:
    def rule(value: str, given: Given) -> Said:
        check(value)
        return _needless(why)

    return rule


# With everything chosen by hand, a translator of its own. What is not said here is as above.


def _static(why: str = "", /, **keys: str) -> Said:
    return _kept(Place.STATIC, why, **keys)


def _static_v4(value: str, given: Given) -> Said:
    address = config_device.clat_v4(value)
    if address in _CONTINUITY:
        return _static(clat_v4_addr=str(address))
    return _static("others reach it, too", clat_v4_addr=str(address), addresses=str(address))


def _static_replace(value: str, given: Given) -> Said:
    if not _flag(value):
        return _needless("other IPv4 default routes are never removed")
    return _static("other IPv4 default routes stay, and this one goes before them", metric=str(_BEFORE_ALL))


def _static_route(value: str, given: Given) -> Said:
    if _flag(value):
        return _needless("there is one unless routes says otherwise")
    return _static("routes into the device are yours to make, as by script-up", routes="none")


def _static_ctmark(value: str, given: Given) -> Said:
    if not _number(value):
        return _needless("no mark is set: whoever connects from outside is let in")
    return _unsupported("whoever connects from outside is let in; a firewall can keep them out by the device")


STATIC_RULES: Mapping[str, Rule] = {
    "clat-dev": lambda value, given: _static(device=config_device.device(value) or _DEVICE),
    "clat-v4-addr": _static_v4,
    "clat-v6-addr": lambda value, given: _static(clat_v6_addr=str(config_device.clat_v6(value))),
    "ctmark": _static_ctmark,
    "dns64-servers": _needs_none("plat-prefix says it"),
    "plat-dev": lambda value, given: _static(uplink=value),
    "plat-fallback-prefix": _needs_none("plat-prefix says it", _prefix),
    "v4-conncheck-enable": _needs_none("it is there whatever else there is", _flag),
    "v4-defaultroute-enable": _static_route,
    "v4-defaultroute-replace": _static_replace,
}
# Those whose empty value says something.
MEANT_EMPTY = frozenset({"cmd-networkctl"})
RULES: Mapping[str, Rule] = {
    "quiet": _needs_none("the journal has priorities: journalctl -u clatnm -p warning", _number),
    "debug": _needs_none("clatnm explain CONNECTION tells why; clatnm daemon -v logs it", _number),
    "script-up": _script("script-up", "run when a translator is there, which ends if it fails"),
    "script-down": _script("script-down", "run when it is gone"),
    "clat-dev": _clat_dev,
    "clat-v4-addr": _clat_v4,
    "clat-v6-addr": _clat_v6,
    "dns64-servers": _dns64_servers,
    "cmd-ip": _needs_none("no program is run"),
    "cmd-networkctl": _cmd_networkctl,
    "cmd-nft": _needs_none("no firewall rule is made"),
    "cmd-tayga": _cmd_tayga,
    "cmd-ufw": _needs_none("no firewall rule is made: nothing is forwarded, so none is needed"),
    "ctmark": _ctmark,
    "forwarding-enable": _needs_none("nothing is forwarded", _flag),
    "plat-dev": _plat_dev,
    "plat-prefix": _plat_prefix,
    "plat-fallback-prefix": _fallback_prefix,
    "proxynd-enable": _needs_none("the translator answers for its address itself", _flag),
    "route-table": _needs_none("no routing table of its own is needed", _number),
    "tayga-conffile": _needs_none("no configuration file is written"),
    "tayga-v4-addr": _tayga_v4,
    "v4-conncheck-enable": _conncheck,
    "v4-conncheck-delay": _needs_none("nothing waits: when native IPv4 comes, it is used at once", _number),
    "v4-defaultroute-enable": _default_route,
    "v4-defaultroute-replace": _replace,
    "v4-defaultroute-metric": _metric,
    "v4-defaultroute-mtu": _mtu,
    "v4-defaultroute-advmss": _advmss,
}
KEYS = tuple(RULES)
"""All that clatd 2.1 knows."""
