# SPDX-License-Identifier: GPL-2.0-or-later
"""Those who ask have a connection of their own, over either library: its end is not the end of the other one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clatnm.errors import BusError
from tests.unit.aio import run, until
from tests.unit.dbus.rooms import Room
from tests.unit.dbus.test_hostile_callers import Answers

pytestmark = pytest.mark.usefixtures("private_bus")
TOLD = '{"connections": []}'


@pytest.fixture(autouse=True)
def quick(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.front, "_AGAIN_S", 0.05)


def test_connection_that_ends_is_made_anew_and_the_other_one_stays(room: Room) -> None:
    async def scene() -> None:
        own, changes = await room.bus.Bus.connect(), []
        front = room.front.Front(Answers(), changed=lambda: changes.append(front.objects))
        await front.open()
        staying = asyncio.ensure_future(front.stay(own))
        assert await room.service.ask("Status") == TOLD
        front._bus.close()
        await until(lambda: len(changes) == 2)
        assert changes[0] is not changes[1] and front.objects is changes[1]
        assert await room.service.ask("Status") == TOLD
        assert await own.follow("org.clatnm1") != own._connection.unique_name
        own.close()
        await staying
        assert front.objects is None
        with pytest.raises(BusError):
            await room.service.ask("Status")

    run(scene())


def test_bus_that_ends_ends_both(room: Room, private_bus: Any) -> None:
    async def scene() -> None:
        own = await room.bus.Bus.connect()
        front = room.front.Front(Answers(), changed=lambda: None)
        await front.open()
        staying = asyncio.ensure_future(front.stay(own))
        await asyncio.sleep(0)
        private_bus.kill()
        await staying
        assert front.objects is None

    run(scene())
