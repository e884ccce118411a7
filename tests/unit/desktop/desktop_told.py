# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon says of connections, as the tests of the desktop need it."""

from __future__ import annotations

from typing import Any

PREFIX = "64:ff9b::/96"


def connection(state: str = "off", reason: str | None = None, **changes: Any) -> dict[str, Any]:
    """One of `status --json`; with `prefix`, the network tells that one."""
    prefix = changes.pop("prefix", None)
    evidence = {"mode": "auto", "ipv4": "none", "ipv6": "yes", **changes.pop("evidence", {})}
    return {
        "interface": "wlan0",
        "name": "Cafe",
        "uuid": "11111111-2222-3333-4444-555555555555",
        "manager": "NetworkManager",
        "mode": "auto",
        "state": state,
        "reason": reason,
        "explanation": f"because of {reason}" if reason else None,
        "evidence": evidence,
        "prefix": {"prefix": prefix, "source": "ra", "router": "fe80::1", "lifetime_s": 598} if prefix else None,
        "translator": None,
        "failures": 0,
        "error": None,
        **changes,
    }


def on(**changes: Any) -> dict[str, Any]:
    """It has a CLAT."""
    return connection("on", prefix=changes.pop("prefix", PREFIX), **changes)


def without_nat64(**changes: Any) -> dict[str, Any]:
    """It has IPv6 alone."""
    return connection("off", "no-pref64", **changes)


def native(**changes: Any) -> dict[str, Any]:
    """It has IPv4 of its own."""
    return connection("off", "native-ipv4", evidence={"ipv4": "native"}, **changes)


def status(*connections: dict[str, Any]) -> dict[str, Any]:
    """All that the daemon says."""
    return {"version": "1", "default_mode": "auto", "connections": list(connections), "static": []}


OFFICE = {"interface": "eth0", "name": "Office", "uuid": "office"}
