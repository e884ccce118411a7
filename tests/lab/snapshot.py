# SPDX-License-Identifier: GPL-2.0-or-later
"""The network state of a host as comparable text: what must be the same before and after."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.namespace import Namespace

# Fields that change by themselves: clocks, counters, caches.
_MOVING = frozenset(
    {"ifindex", "link_index", "link_netnsid", "valid_life_time", "preferred_life_time", "expires", "cacheinfo", "age"}
    | {"stats", "stats64", "used", "confirmed", "updated", "probes", "refcnt", "users", "tentative"}
)
_COUNTERS = re.compile(r"^net\.(netfilter\.nf_conntrack_count|ipv[46]\.route\.flush)$")


@dataclass(frozen=True, slots=True)
class HostState:
    """Sections (`address`, `route`, ...) of sorted lines. Equal states compare equal."""

    sections: Mapping[str, tuple[str, ...]]

    def diff(self, later: HostState) -> str:
        """What `later` has more (+) and less (-), by section; empty when nothing changed."""
        return "\n".join(
            line
            for name in sorted(self.sections.keys() | later.sections.keys())
            for line in _changes(name, self.sections.get(name, ()), later.sections.get(name, ()))
        )

    def __str__(self) -> str:
        return "\n".join(f"[{name}]\n" + "\n".join(lines) for name, lines in self.sections.items() if name != "sysctl")


def take(host: Namespace) -> HostState:
    """Read the state of the host's network namespace."""
    links = host.ip_json("-d", "addr")
    sections = {
        "link": [_text({k: v for k, v in link.items() if k != "addr_info"}) for link in links],
        "address": [f"{link['ifname']} {_text(item)}" for link in links for item in link["addr_info"]],
        "route4": map(_text, host.ip_json("-4", "route", "show", "table", "all")),
        "route6": map(_text, host.ip_json("-6", "route", "show", "table", "all")),
        "rule4": map(_text, host.ip_json("-4", "rule")),
        "rule6": map(_text, host.ip_json("-6", "rule")),
        # Learnt neighbours come and go; what somebody set stays.
        "neighbour": map(_text, host.ip_json("neigh", "show", "nud", "permanent")),
        "proxy": map(_text, host.ip_json("neigh", "show", "proxy")),
        "nft": host.run("nft", "-s", "list", "ruleset").stdout.splitlines(),
        "qdisc": map(_without_handle, host.run("tc", "qdisc", "show").stdout.splitlines()),
        "sysctl": [f"{name} = {value}" for name, value in sysctls(host).items()],
    }
    keep_order = {"nft"}
    return HostState({k: tuple(v) if k in keep_order else tuple(sorted(v)) for k, v in sections.items()})


def sysctls(host: Namespace) -> dict[str, str]:
    """Every readable `net.*` switch."""
    text = host.run("sysctl", "-a", "-r", r"^net\.", check=False).stdout
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {name: value for name, _, value in pairs if not _COUNTERS.match(name)}


def _without_handle(line: str) -> str:
    return re.sub(r"refcnt \d+ ?", "", line).strip()


def _text(record: Mapping[str, Any]) -> str:
    parts = []
    for key, value in record.items():
        if key in _MOVING or value in (None, [], ""):
            continue
        parts.append(f"{key}={_value(value)}")
    return " ".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + _text(value) + "}"
    if isinstance(value, list):
        return ",".join(_value(item) for item in value)
    return str(value)


def _changes(name: str, before: Iterable[str], after: Iterable[str]) -> list[str]:
    lines = list(difflib.unified_diff(list(before), list(after), lineterm="", n=0))
    return [f"[{name}]", *(line for line in lines[2:] if not line.startswith("@@"))] if lines else []
