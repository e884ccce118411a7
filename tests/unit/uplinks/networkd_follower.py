# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd-networkd followed as the daemon does it, with a record of what came of it."""

from __future__ import annotations

from pathlib import Path

from clatnm.dbus.bus import Bus
from clatnm.model import Mode
from clatnm.uplinks.networkd import Networkd
from tests.unit.aio import until
from tests.unit.uplinks.fake_networkmanager import round_trip


class Follower:
    """networkd as the daemon has it: what it told at each change."""

    def __init__(self, directory: Path) -> None:
        self.manager = Networkd(directories=[directory])
        self.history: list[list[str]] = []
        self.buses: list[Bus] = []

    async def attach(self) -> None:
        bus = await Bus.connect()
        self.buses.append(bus)
        await self.manager.attach(bus, lambda: self.history.append(self.interfaces()))

    def interfaces(self) -> list[str]:
        return [uplink.interface for uplink in self.manager.uplinks()]

    def modes(self) -> list[Mode | None]:
        return [uplink.mode for uplink in self.manager.uplinks()]

    async def sees(self, *interfaces: str) -> None:
        await until(lambda: self.interfaces() == list(interfaces))

    async def has_heard(self) -> None:
        """Return when all signals sent so far have arrived."""
        await round_trip(self.buses[-1])
