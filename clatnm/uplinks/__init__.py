# SPDX-License-Identifier: GPL-2.0-or-later
"""Which connections exist? One file a manager."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from clatnm.dbus.bus import Bus
from clatnm.model import Uplink


class Manager(Protocol):
    """A program that manages connections, as a source of uplinks."""

    @property
    def name(self) -> str:
        """For people: `systemd-networkd`."""

    async def attach(self, bus: Bus, changed: Callable[[], None]) -> None:
        """Follow the manager over `bus` (a new one after each loss). `changed` is called when to look again."""

    def uplinks(self) -> tuple[Uplink, ...]:
        """The active connections as known now, sorted by interface; the last known ones while the manager is away."""

    def managed(self) -> Collection[str] | None:
        """The interfaces that it manages, whether or not there is a connection on them; None while it does not say."""
