# SPDX-License-Identifier: GPL-2.0-or-later
"""How IPv4 is on each connection and on the machine, from what the daemon says (`status --json`). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clatnm.compat import StrEnum

# The first tries of a translator are a matter of seconds; a user need not hear of them.
_FAILURES_THAT_COUNT = 3
_LONGEST_TEXT = 200


class Kind(StrEnum):
    """How IPv4 is. The value is the class that status bars see."""

    NAT64 = "nat64"
    """It works through the network's NAT64."""
    NATIVE = "native"
    """The network has IPv4 of its own."""
    NONE = "none"
    """There is IPv6 alone, and nothing that would bring IPv4."""
    STARTING = "starting"
    """It is not known yet."""
    OFF = "off"
    """No CLAT, for a reason that says nothing about IPv4: switched off, no uplink, no connection."""
    STOPPED = "stopped"
    """The daemon does not answer."""


_WITHOUT_IPV4 = frozenset({"vpn-without-ipv4", "no-pref64", "plat-unreachable", "no-clat-address", "no-translator"})
HAS_IPV4 = frozenset({Kind.NAT64, Kind.NATIVE})
# What decides for the machine if its connections differ: with one that has IPv4, programs have it.
_ORDER = (Kind.NAT64, Kind.NATIVE, Kind.STARTING, Kind.NONE, Kind.OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One connection as a desktop sees it. Texts are as they came, except that they are not endless."""

    uuid: str
    name: str
    interface: str
    kind: Kind
    prefix: str = ""
    """The NAT64 prefix; "" where none is known."""
    reason: str = ""
    explanation: str = ""
    """`reason` in words."""
    manager: str = ""
    """Who manages the connection."""


def networks(told: Any) -> tuple[Network, ...]:
    """The connections in a parsed `status --json`. What has not the form of one is left out: it is a newer daemon's."""
    return tuple(_network(item) for item in _mappings(told, "connections"))


def of_machine(networks: Iterable[Network]) -> Network | None:
    """The one that decides how IPv4 is on this machine; None without any."""
    return min(networks, key=lambda network: _ORDER.index(network.kind), default=None)


def has_ipv4(networks: Iterable[Network]) -> bool:
    """Programs on this machine have IPv4, by one connection or another."""
    return any(network.kind in HAS_IPV4 for network in networks)


def _network(told: Mapping[str, Any]) -> Network:
    prefix = _mapping(told, "prefix") or _mapping(told, "translator")
    return Network(
        uuid=_text(told, "uuid") or _text(told, "interface"),
        name=_text(told, "name"),
        interface=_text(told, "interface"),
        kind=_kind(told),
        prefix=_text(prefix, "prefix"),
        reason=_text(told, "reason"),
        explanation=_text(told, "explanation"),
        manager=_text(told, "manager"),
    )


def _kind(told: Mapping[str, Any]) -> Kind:
    state, reason, evidence = _text(told, "state"), _text(told, "reason"), _mapping(told, "evidence")
    failures = told.get("failures")
    if state == "on":
        # With the mode `force` there may be one beside native IPv4, which is preferred.
        return Kind.NATIVE if evidence.get("ipv4") == "native" else Kind.NAT64
    if reason == "manager-translates":
        return Kind.STARTING if evidence.get("manager-clat") == "expected" else Kind.NAT64
    if reason == "native-ipv4":
        return Kind.NATIVE
    if isinstance(failures, int) and failures >= _FAILURES_THAT_COUNT and reason in ("", "backing-off"):
        return Kind.NONE
    if reason in ("", "backing-off") or (reason == "no-pref64" and evidence.get("asking")):
        return Kind.STARTING
    return Kind.NONE if reason in _WITHOUT_IPV4 else Kind.OFF


def _mappings(told: Any, key: str) -> Iterator[Mapping[str, Any]]:
    items = told.get(key) if isinstance(told, Mapping) else None
    if isinstance(items, Sequence) and not isinstance(items, str):
        yield from (item for item in items if isinstance(item, Mapping))


def _mapping(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""
