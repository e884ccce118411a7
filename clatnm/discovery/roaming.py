# SPDX-License-Identifier: GPL-2.0-or-later
"""A Wi-Fi station goes from one access point to another. Pure: links and access points in, links and roams out.

Most drivers take the carrier away while they associate anew, a fraction of a second, some do not. Mostly it is the same
network, and all goes on; so for a moment the link counts as it was. Whether it is the same network, the sources find
out afterwards. Nobody else does: NetworkManager asks DHCPv4 again, but no router.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from clatnm.model import Link, Uplink

PATIENCE_S = 5.0
"""How long the carrier may be away. NetworkManager waits for 15 s, systemd-networkd for 3 s."""
# The manager may name the new access point only after the carrier is back.
_SAME_ROAM_S = 3.0


@dataclass
class _Station:
    """A Wi-Fi link within one connection."""

    uuid: str
    access_point: str
    link: Link
    """As it counts: as it was when it last had a carrier."""
    place: str
    """The access point that it is at for certain; "" while its manager may still be naming the one before."""
    left: str = ""
    lost_at: float | None = None
    roamed_at: float = -math.inf

    def depart(self) -> None:
        """It may be at another access point from now on, whatever it is called."""
        self.left, self.place = self.place or self.left, ""

    def find(self, news: str, now: float) -> None:
        """Who has just been named is right, and so is a manager that names another one than before, or had its time."""
        waited = self.lost_at is None and now >= self.roamed_at + _SAME_ROAM_S
        if news:
            self.place = news
        elif self.access_point != self.left or waited:
            self.place = self.place or self.access_point


class Roaming:
    """Follows the Wi-Fi links that a network manager names an access point of; what it knows is of one connection."""

    def __init__(self) -> None:
        self._stations: dict[int, _Station] = {}
        self._turned: dict[int, str] = {}
        self._hidden: dict[int, int] = {}  # by index: how many carrier changes count for nothing

    def turn(self, ifindex: int, access_point: str) -> None:
        """The kernel says that a station turns to an access point; it may still have to get through."""
        self._turned[ifindex] = access_point

    def elsewhere(self, uplinks: Iterable[Uplink]) -> bool:
        """Some link is said to have another access point: look at its carrier before `take`."""
        if self._turned:
            return True
        points = {station.link.name: station.access_point for station in self._stations.values()}
        return any(uplink.access_point not in ("", points.get(uplink.interface, "")) for uplink in uplinks)

    def take(
        self, links: Mapping[str, Link], uplinks: Iterable[Uplink], now: float
    ) -> tuple[dict[str, Link], frozenset[str]]:
        """The links as they count, and the names of those that may be on another network from this moment on.

        `links` are as the kernel has them, `now` is in seconds.
        """
        by_name = {uplink.interface: uplink for uplink in uplinks}
        indices = {link.index for link in links.values()}
        self._stations = {index: station for index, station in self._stations.items() if index in indices}
        self._hidden = {index: count for index, count in self._hidden.items() if index in indices}
        roamed = frozenset(name for name, link in links.items() if self._has_roamed(link, by_name.get(name), now))
        self._turned.clear()
        return {name: self._counted(link) for name, link in links.items()}, roamed

    def places(self) -> dict[int, str]:
        """By index: the access point that a link is at; "" while that is not certain."""
        return {index: station.place for index, station in self._stations.items()}

    def wait_until(self) -> float | None:
        """When the first link without a carrier counts as lost, should it still be."""
        waiting = (station.lost_at for station in self._stations.values() if station.lost_at is not None)
        return min((lost_at + PATIENCE_S for lost_at in waiting), default=None)

    def _has_roamed(self, link: Link, uplink: Uplink | None, now: float) -> bool:
        station = self._stations.get(link.index)
        if station is None or uplink is None or uplink.uuid != station.uuid:
            self._begin(link, uplink)
            return False
        named = "" if uplink.access_point == station.access_point else uplink.access_point
        station.access_point = uplink.access_point or station.access_point
        changes = self._as_is(link).carrier_changes
        roamed = False
        if not link.carrier:
            if station.lost_at is None:
                station.lost_at = now
                station.depart()
            if now >= station.lost_at + PATIENCE_S:
                del self._stations[link.index]
        else:
            flapped = station.lost_at is not None or changes != station.link.carrier_changes
            roamed = flapped or (bool(named) and now >= station.roamed_at + _SAME_ROAM_S)
            if roamed:
                if station.lost_at is None:
                    station.depart()
                station.lost_at, station.roamed_at = None, now
            self._hidden[link.index] = link.carrier_changes - station.link.carrier_changes
            station.link = self._as_is(link)
        station.find(self._turned.get(link.index, named), now)
        return roamed

    def _begin(self, link: Link, uplink: Uplink | None) -> None:
        """Another connection, whatever was waited for; or none, or none that roams."""
        self._stations.pop(link.index, None)
        if uplink is not None and uplink.access_point and link.carrier:
            self._stations[link.index] = _Station(
                uplink.uuid, uplink.access_point, self._as_is(link), place=uplink.access_point
            )

    def _counted(self, link: Link) -> Link:
        station = self._stations.get(link.index)
        return self._as_is(link) if station is None else station.link

    def _as_is(self, link: Link) -> Link:
        hidden = self._hidden.get(link.index, 0)
        return replace(link, carrier_changes=link.carrier_changes - hidden) if hidden else link
