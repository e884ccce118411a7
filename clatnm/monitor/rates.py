# SPDX-License-Identifier: GPL-2.0-or-later
"""Two answers of `Status` become rates: per connection and direction, by protocol and by drop reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clatnm import status
from clatnm.errors import BusError
from clatnm.printable import printable

DIRECTIONS: Mapping[str, str] = {"ipv4_to_ipv6": "IPv4→IPv6", "ipv6_to_ipv4": "IPv6→IPv4"}
_SAME_MOMENT = 0.9
"""Part of the time between two readings that one has to be late by, to be the next reading."""

Key = tuple[str, str]
"""Interface and UUID of a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One direction of a translator, counted since it started."""

    packets: int = 0
    bytes: int = 0
    protocols: Mapping[str, int]
    """Packets by protocol."""
    fast: int = 0
    slow: int = 0
    drops: Mapping[str, int]
    """Packets by the reason why they went no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One connection or static translator at one moment."""

    key: Key
    title: str
    """`wlan0 “Cafe”`, `static.d/web on eth0`."""
    text: tuple[str, ...]
    """What `clatnm status` prints about it."""
    flows: Mapping[str, Flow]
    """By direction; empty without a translator that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the daemon said at one moment, in seconds of any clock."""

    at: float
    version: str
    default_mode: str
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One direction between two moments, in packets and bytes a second."""

    packets: float
    bytes: float
    protocols: Mapping[str, float]
    drops: Mapping[str, float]
    slow_share: float | None
    """Which part of the packets took the slow path, 0 to 1; None where there were none."""


def sample(text: str, *, at: float) -> Sample:
    """Read an answer of `Status`. BusError when it is none: the daemon may be of another version."""
    try:
        told = json.loads(text)
        seen = [_seen(each, static=False) for each in told["connections"]]
        seen += [_seen(each, static=True) for each in told["static"]]
        return Sample(
            at=at,
            version=printable(str(told["version"])),
            default_mode=printable(str(told["default_mode"])),
            seen=tuple(seen),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BusError("the daemon's answer makes no sense", hint="is it of another version?") from error


def _seen(told: Mapping[str, Any], *, static: bool) -> Seen:
    interface, name, uuid = str(told["interface"]), str(told["name"]), str(told["uuid"])
    alone = {"connections": [], "static": [told]} if static else {"connections": [told], "static": []}
    counters = told["translator"]["counters"] if told["translator"] else {}
    return Seen(
        key=(interface, uuid),
        title=printable(f"{uuid} on {interface}" if static else f"{interface} “{name}”"),
        text=tuple(printable(line) for line in status.as_text(alone).splitlines()),
        flows={way: _flow(counters[way]) for way in DIRECTIONS if counters.get(way)},
    )


def _flow(counted: Mapping[str, Any]) -> Flow:
    protocols = counted["protocols"]
    return Flow(
        packets=sum(int(row["packets"]) for row in protocols.values()),
        bytes=sum(int(row["bytes"]) for row in protocols.values()),
        protocols={str(name): int(row["packets"]) for name, row in protocols.items()},
        fast=int(counted["fast"]),
        slow=int(counted["slow"]),
        drops={str(reason): int(count) for reason, count in counted["drops"].items()},
    )


_NOTHING = Flow(protocols={}, drops={})


def rate(before: Flow, after: Flow, seconds: float) -> Rate:
    """What has happened between two readings. Where numbers went back, another translator counts: from nothing on."""
    if _is_another(before, after):
        before = _NOTHING
    fast, slow = after.fast - before.fast, after.slow - before.slow
    return Rate(
        packets=(after.packets - before.packets) / seconds,
        bytes=(after.bytes - before.bytes) / seconds,
        protocols=dict(_each(before.protocols, after.protocols, seconds)),
        drops=dict(_each(before.drops, after.drops, seconds)),
        slow_share=slow / (fast + slow) if fast + slow else None,
    )


def _is_another(before: Flow, after: Flow) -> bool:
    pairs = [(before.packets, after.packets), (before.bytes, after.bytes)]
    pairs += [(before.fast, after.fast), (before.slow, after.slow)]
    for was, now in ((before.protocols, after.protocols), (before.drops, after.drops)):
        pairs += [(count, now.get(name, 0)) for name, count in was.items()]
    return any(then > now for then, now in pairs)


def _each(before: Mapping[str, int], after: Mapping[str, int], seconds: float) -> Iterator[tuple[str, float]]:
    """Only what there was any of."""
    for name, count in after.items():
        if count > before.get(name, 0):
            yield name, (count - before.get(name, 0)) / seconds


class Meter:
    """Rates over `interval_s` or more; what comes sooner is waited for, since a moment alone has no rate."""

    def __init__(self, *, interval_s: float) -> None:
        self._interval_s = interval_s
        self._base: Sample | None = None
        self._rates: dict[Key, dict[str, Rate]] = {}

    def feed(self, now: Sample) -> bool:
        """Take another reading; True when there are new rates."""
        base = self._base
        if base is None or now.at < base.at:
            self._base, self._rates = now, {}
            return False
        seconds = now.at - base.at
        if seconds <= 0 or seconds < self._interval_s * _SAME_MOMENT:
            return False
        before = {seen.key: seen.flows for seen in base.seen}
        self._rates = {
            seen.key: {
                way: rate(before[seen.key].get(way, _NOTHING), flow, seconds) for way, flow in seen.flows.items()
            }
            for seen in now.seen
            if seen.key in before
        }
        self._base = now
        return True

    def forget(self) -> None:
        """Nothing more is known: the daemon is gone."""
        self._base, self._rates = None, {}

    def of(self, key: Key) -> Mapping[str, Rate]:
        """The last rates of one connection by direction; empty while there are none."""
        return self._rates.get(key, {})
