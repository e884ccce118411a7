# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager as the daemon has it, and a stage to play scenes with it on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from clatnm.dbus.bus import Bus, Signal
from clatnm.model import Mode
from clatnm.uplinks.networkmanager import NetworkManager
from clatnm.uplinks.nm_objects import ACTIVE, Objects
from tests.unit.aio import run, until
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager, round_trip, variants
from tests.unit.uplinks.recorded import (
    a_device,
    a_profile,
    active_path,
    added,
    an_active,
    changed,
    profile_path,
    the_manager,
)

ONE = the_manager() | an_active() | a_device()
TWO = ONE | an_active(2, device=2, profile=2) | a_device(2, active=2)


class Follower:
    """NetworkManager as the daemon has it: what it told at each change, and over which bus."""

    def __init__(self) -> None:
        self.manager = NetworkManager()
        self.history: list[list[str]] = []
        self.buses: list[Bus] = []

    async def attach(self) -> None:
        bus = await Bus.connect()
        self.buses.append(bus)
        await self.manager.attach(bus, self._changed)

    def begin_to_attach(self) -> asyncio.Future[None]:
        """For a NetworkManager that holds back its answer."""
        return asyncio.ensure_future(self.attach())

    def _changed(self) -> None:
        self.history.append(self.interfaces())

    def interfaces(self) -> list[str]:
        return [uplink.interface for uplink in self.manager.uplinks()]

    @property
    def modes(self) -> dict[str, Mode | None]:
        return {uplink.interface: uplink.mode for uplink in self.manager.uplinks()}

    def has_modes(self, **modes: Mode | None) -> bool:
        return self.modes == modes

    async def sees(self, *interfaces: str) -> None:
        await until(lambda: self.interfaces() == list(interfaces))

    async def has_heard(self) -> None:
        """Return when all signals sent so far have arrived."""
        await round_trip(self.buses[-1])

    @property
    def unique_name(self) -> str:
        return str(self.buses[-1]._connection.unique_name)


# What a stranger might say, and how it travels
FORGED: dict[str, tuple[Signal, str, list[Any]]] = {
    "properties": (
        changed(active_path(1), ACTIVE, {"State": 4}),
        "sa{sv}as",
        [ACTIVE, variants({"": {"State": 4}})[""], []],
    ),
    "added": (added(an_active())[0], "oa{sa{sv}}", [active_path(1), variants({ACTIVE: {"State": 4}})]),
}

Scene = Callable[[FakeNetworkManager, Follower], Awaitable[None]]


def play(scene: Scene, objects: Objects = ONE, *, attached: bool = True, **modes: str) -> None:
    """Play a scene with a NetworkManager of `objects`; `modes` by profile (`p1="no"`) are in the user data."""

    async def work() -> None:
        profiles = {profile_path(n): a_profile(modes.get(f"p{n}"), number=n) for n in (1, 2, 3)}
        fake, follower = FakeNetworkManager(objects, profiles), Follower()
        await fake.start()
        if attached:
            await follower.attach()
        await scene(fake, follower)
        fake.stop()
        for bus in follower.buses:
            bus.close()

    run(work())
