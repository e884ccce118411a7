# SPDX-License-Identifier: GPL-2.0-or-later
"""Two translators at once? Told from every message of the kernel's about addresses, routes and links, in its order.

A translator takes new connections while the IPv4 default route into it is the best: NetworkManager's is one of the
uplink, with a source of 192.0.0.0/29 (RFC 7335), ours is one into `clat-…`. The kernel looks for the lowest metric, so
with both there, a connection may get either only if ours is not behind. The kernel tells of every change while it
holds the lock under which it is made, so between two messages nothing changes: no state is sampled, and none is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from tests.lab import Host, eventually

_STAMP = r"^\[(?P<at>[^]]+)\] (?P<gone>Deleted )?"
_ROUTE = re.compile(
    _STAMP + r"default (?:via \S+ \S+ |via \S+ )?dev (?P<device>\S+)(?P<rest> .*)",
)
_ADDRESS = re.compile(_STAMP + r"\d+: (?P<device>\S+)\s+inet (?P<address>192\.0\.0\.[0-7])/")
_LINK = re.compile(_STAMP + r"\d+: (?P<device>[^:@\s]+)[:@]")
_SOURCE = re.compile(r" src (192\.0\.0\.[0-7])\b")
_METRIC = re.compile(r" metric (\d+)")
_LOST = re.compile("receive error|overrun|No buffer space", re.IGNORECASE)
_MARK = "192.0.2.78"


@dataclass(frozen=True)
class Way:
    """A default route into a translator."""

    device: str
    source: str
    metric: int

    @property
    def is_ours(self) -> bool:
        return self.device.startswith("clat-")


@dataclass(frozen=True)
class Overlap:
    """Both routes at once: which there were, and from when to when, in seconds."""

    ways: frozenset[Way]
    began: float
    ended: float

    @property
    def ms(self) -> float:
        return (self.ended - self.began) * 1000

    @property
    def native_first(self) -> bool:
        """Ours is behind: the kernel gives all new connections to NetworkManager's."""
        ours, native = ([way.metric for way in self.ways if way.is_ours is which] for which in (True, False))
        return min(native) < min(ours)


@dataclass
class Record:
    """What the messages so far add up to."""

    ways: frozenset[Way] = frozenset()
    overlaps: list[Overlap] = field(default_factory=list)
    native: int = 0
    ours: int = 0
    """How often each had taken over."""
    yielded_ms: list[float] = field(default_factory=list)
    """From NetworkManager's address to the end of our route, where ours was there."""
    _since: float | None = None
    _announced: float | None = None

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            assert not _LOST.search(line), f"the kernel's messages were too many: {line}"
            self._read(line)

    @property
    def open(self) -> bool:
        """There are two now."""
        return self._since is not None

    def _read(self, line: str) -> None:
        after = self.ways
        if found := _ROUTE.match(line):
            after = self._with_route(found)
        elif found := _ADDRESS.match(line):
            if found["gone"]:
                # The kernel takes the routes along, and does not always say so.
                gone = (found["device"], found["address"])
                after = frozenset(way for way in self.ways if (way.device, way.source) != gone)
            elif not found["device"].startswith("clat-") and any(way.is_ours for way in self.ways):
                self._announced = _seconds(found)
        elif (found := _LINK.match(line)) and found["gone"]:
            after = frozenset(way for way in self.ways if way.device != found["device"])
        if found and after != self.ways:
            self._change(after, _seconds(found))

    def _with_route(self, found: re.Match[str]) -> frozenset[Way]:
        source, metric = _SOURCE.search(found["rest"]), _METRIC.search(found["rest"])
        if " table " in found["rest"] or source is None:
            return self.ways
        way = Way(found["device"], source[1], int(metric[1]) if metric else 0)
        return self.ways - {way} if found["gone"] else self.ways | {way}

    def _change(self, after: frozenset[Way], at: float) -> None:
        before, self.ways = self.ways, after
        ours, native = (any(way.is_ours is which for way in after) for which in (True, False))
        self.ours += ours and not any(way.is_ours for way in before)
        self.native += native and all(way.is_ours for way in before)
        if self._announced is not None and not ours:
            self.yielded_ms.append((at - self._announced) * 1000)
            self._announced = None
        if ours and native and self._since is None:
            self._since = at
        elif not (ours and native) and self._since is not None:
            self.overlaps.append(Overlap(before, self._since, at))
            self._since = None


class Watch:
    """Looks on from now until the lab is reset."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._monitor = host.popen("ip", "-4", "-o", "-ts", "monitor", "address", "route", "link", name="at-once")
        # An earlier one's log is continued.
        self._read = len(self._lines())
        self.record = Record()
        eventually(self._passes_on, message="the monitor looks on")
        self.record.ways = self._ways_now()

    def look(self) -> Record:
        """Everything until now is in the record, and what it adds up to is so."""
        eventually(self._agrees, message="the record is as the kernel says")
        return self.record

    def _agrees(self) -> bool:
        # While something changes, either may be ahead of the other.
        self._passes_on()
        seen = self._ways_now()
        self._passes_on()
        assert self.record.ways == seen, (self.record.ways, seen)
        return True

    def _ways_now(self) -> frozenset[Way]:
        routes = self._host.ip_json("-4", "route", "show", "default")
        told = ((route["dev"], route.get("prefsrc", ""), route.get("metric", 0)) for route in routes)
        return frozenset(Way(*way) for way in told if way[1].startswith("192.0.0."))

    def _passes_on(self) -> bool:
        """Wait for a message that was made now, and read all before it."""
        before = self._monitor.log().count(_MARK)
        self._host.ip("addr", "add", f"{_MARK}/32", "dev", "lo")
        self._host.ip("addr", "del", f"{_MARK}/32", "dev", "lo")
        # Each is told as an address, and as a route of the table `local`.
        eventually(lambda: self._monitor.log().count(_MARK) >= before + 2, timeout_s=2, message="a change is told")
        complete = self._lines()
        self.record.read(complete[self._read :])
        self._read = len(complete)
        return True

    def _lines(self) -> list[str]:
        return self._monitor.log().rpartition("\n")[0].splitlines()


def _seconds(found: re.Match[str]) -> float:
    return datetime.fromisoformat(found["at"]).timestamp()
