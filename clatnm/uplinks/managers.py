# SPDX-License-Identifier: GPL-2.0-or-later
"""All network managers of a machine as one. Several may run; each connection has one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from clatnm.dbus.bus import Bus
from clatnm.model import Uplink
from clatnm.uplinks import Manager


class Managers:
    """A `uplinks.Manager`. Of two that tell of one interface, the one named first has it."""

    name = "several"

    def __init__(self, managers: Sequence[Manager]) -> None:
        self._managers = tuple(managers)

    async def attach(self, bus: Bus, changed: Callable[[], None]) -> None:
        """Follow them all over `bus`; none waits for another."""
        await asyncio.gather(*(manager.attach(bus, changed) for manager in self._managers))

    def uplinks(self) -> tuple[Uplink, ...]:
        """The active connections of all of them, sorted by interface."""
        return merge(manager.uplinks() for manager in self._managers)

    def managed(self) -> Collection[str] | None:
        """The interfaces that any of them manages; None while one of them does not say."""
        told = [manager.managed() for manager in self._managers]
        known = [interfaces for interfaces in told if interfaces is not None]
        return frozenset().union(*known) if len(known) == len(told) else None

    def manager_of(self, interface: str) -> str:
        """The name of the one that manages an interface; "" where none does."""
        return next((manager.name for manager in self._managers if interface in (manager.managed() or ())), "")


def merge(told: Iterable[tuple[Uplink, ...]]) -> tuple[Uplink, ...]:
    """One connection an interface: what the first one told of it."""
    found: dict[str, Uplink] = {}
    for uplinks in told:
        for uplink in uplinks:
            found.setdefault(uplink.interface, uplink)
    return tuple(found[interface] for interface in sorted(found))
