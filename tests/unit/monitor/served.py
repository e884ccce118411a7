# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon on the bus of a test, which says what the test wants it to say."""

from __future__ import annotations

import json
from typing import Any

from clatnm.dbus import service
from clatnm.dbus.bus import Bus
from clatnm.dbus.objects import Objects
from tests.unit.monitor.readings import answer


class Served:
    """From `start` to `stop` it has the name; it can do so again and again."""

    def __init__(self, *there: dict[str, Any]) -> None:
        self.there = list(there)
        self.text: str | None = None
        """The answer of `Status`, if it is to be another one."""
        self.asked = 0
        self._bus: Bus | None = None
        self._objects: Objects | None = None

    async def start(self) -> None:
        self._bus = await Bus.connect()
        self._objects = await service.offer(self._bus, self)

    def stop(self) -> None:
        if self._bus is not None:
            self._bus.close()

    async def change(self, *there: dict[str, Any], decided: str = "") -> None:
        """Other connections, and a decision."""
        assert self._objects is not None
        self.there = list(there)
        self._objects.publish(there, [decided] if decided else [])
        await self._objects.settled()

    async def status(self) -> str:
        self.asked += 1
        return answer(*self.there) if self.text is None else self.text

    def explain(self, connection: str) -> str:
        return "[]"

    def world(self) -> str:
        return "{}"

    def poke(self, why: str) -> None:
        raise AssertionError("whoever watches must not poke")

    def reload(self) -> str:
        raise AssertionError("whoever watches must not reload")

    def connections(self) -> list[dict[str, Any]]:
        return json.loads(json.dumps(self.there))  # type: ignore[no-any-return]
