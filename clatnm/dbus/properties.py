# SPDX-License-Identifier: GPL-2.0-or-later
"""What `org.clatnm1.Connection` has: each property with its D-Bus type, and where it is in `status --json`.

What changes all the time by itself is none of them: counters, and the seconds that a prefix has left. `Status` has
both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clatnm.model import STATIC_OWNER

Told = Mapping[str, Any]
"""One connection as `clatnm.status.connection` tells it."""

_COUNTS_DOWN = "left"
_DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property, by its name and D-Bus type."""

    name: str
    signature: str
    of: Callable[[Told], Any]


def _row(name: str, signature: str, of: Callable[[Told], Any]) -> Property:
    return Property(name=name, signature=signature, of=of)


def _prefix(told: Told, key: str) -> str:
    return str((told["prefix"] or {}).get(key) or "")


def _translator(told: Told, key: str, default: Any) -> Any:
    """`default`, which says the type as well, where there is no translator or it has no such thing."""
    found = (told["translator"] or {}).get(key)
    return default if found is None else type(default)(found)


def _relay(told: Told, key: str, default: Any) -> Any:
    found = ((told["translator"] or {}).get("relay") or {}).get(key)
    return default if found is None else type(default)(found)


def _leads(told: Told) -> bool:
    """New IPv4 connections go through it by a default route."""
    return bool(_translator(told, "metric", -1) >= 0 and told["state"] != _DRAINING)


PROPERTIES: tuple[Property, ...] = (
    _row("Interface", "s", lambda told: told["interface"]),
    _row("Name", "s", lambda told: told["name"]),
    _row("Uuid", "s", lambda told: told["uuid"]),
    _row("Manager", "s", lambda told: told["manager"]),
    _row("Static", "b", lambda told: told["uuid"].startswith(STATIC_OWNER)),
    _row("Mode", "s", lambda told: told["mode"] or ""),
    _row("State", "s", lambda told: told["state"]),
    _row("Reason", "s", lambda told: told["reason"] or ""),
    _row("Explanation", "s", lambda told: told["explanation"] or ""),
    _row("Evidence", "a{ss}", lambda told: {k: v for k, v in told["evidence"].items() if k != _COUNTS_DOWN}),
    _row("Failures", "u", lambda told: told["failures"]),
    _row("Error", "s", lambda told: told["error"] or ""),
    _row("Prefix", "s", lambda told: _prefix(told, "prefix")),
    _row("PrefixSource", "s", lambda told: _prefix(told, "source")),
    _row("PrefixRouter", "s", lambda told: _prefix(told, "router")),
    _row("Device", "s", lambda told: _translator(told, "device", "")),
    _row("Backend", "s", lambda told: _translator(told, "backend", "")),
    _row("ClatV4", "s", lambda told: _translator(told, "clat_v4", "")),
    _row("ClatV6", "s", lambda told: _translator(told, "clat_v6", "")),
    _row("Shared", "b", lambda told: _translator(told, "shared", False)),
    _row("Gateway", "s", lambda told: _translator(told, "gateway", "")),
    _row("Ipv4Mtu", "u", lambda told: _translator(told, "ipv4_mtu_bytes", 0)),
    _row("Ipv6Mtu", "u", lambda told: _translator(told, "ipv6_mtu_bytes", 0)),
    _row("DefaultRoute", "b", _leads),
    _row("Metric", "u", lambda told: _translator(told, "metric", 0)),
    _row("Mappings", "u", lambda told: _relay(told, "mappings", 0)),
    _row("Addresses", "as", lambda told: _relay(told, "addresses", [])),
    _row("Routes", "as", lambda told: _relay(told, "routes", [])),
)


def values(told: Told) -> dict[str, Any]:
    """Every property's value, as the bus can carry it."""
    return {row.name: _fit(row.of(told)) for row in PROPERTIES}


def _fit(value: Any) -> Any:
    """Texts without what no D-Bus string may have: names come from files and from other programs."""
    match value:
        case str():
            return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
        case list():
            return [_fit(item) for item in value]
        case dict():
            return {_fit(key): _fit(item) for key, item in value.items()}
        case _:
            return value
