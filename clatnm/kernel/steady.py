# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses that are away for a moment.

NetworkManager keeps a link's addresses in an order of its own, which the kernel cannot change: so when a router tells
another prefix, it takes the old address away and puts it back behind the new one, within a millisecond. Whoever looks
in between must not take it for gone, as connections would be given up with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address

from clatnm.model import Link

PATIENCE_S = 0.05


class Steady:
    """Links as they are once their manager has put them in order."""

    def __init__(self) -> None:
        self._before: dict[int, Link] = {}
        self._missed: dict[tuple[int, IPv6Address], float] = {}

    @property
    def unsure(self) -> bool:
        """Some address was missing when `take` looked last: look again after PATIENCE_S."""
        return bool(self._missed)

    def take(self, links: Mapping[str, Link], now: float) -> dict[str, Link]:
        """The links as just read (`now`: seconds), with the IPv6 addresses that they had until a moment ago.

        A link whose carrier came or went has none but those that it has.
        """
        missed, self._missed = self._missed, {}
        steady = {name: self._steady(link, missed, now) for name, link in links.items()}
        self._before = {link.index: link for link in steady.values()}
        return steady

    def _steady(self, link: Link, missed: Mapping[tuple[int, IPv6Address], float], now: float) -> Link:
        before = self._before.get(link.index)
        if before is None or not link.carrier or before.carrier_changes != link.carrier_changes:
            return link
        present = {own.address for own in link.addresses6}
        held = []
        for own in before.addresses6:
            since = missed.get((link.index, own.address), now)
            if own.address not in present and now - since < PATIENCE_S:
                self._missed[link.index, own.address] = since
                held.append(own)
        both = sorted((*link.addresses6, *held), key=lambda own: own.address)
        return replace(link, addresses6=tuple(both)) if held else link
