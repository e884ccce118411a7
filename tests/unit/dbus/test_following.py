# SPDX-License-Identifier: GPL-2.0-or-later
"""Following the daemon, over either library: once for each change, and with patience where it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clatnm.errors import BusError
from tests.unit.aio import run, until
from tests.unit.dbus.rooms import Room
from tests.unit.private_bus import PrivateBus

NEVER_S = 3600.0


class Daemon:
    """It says what the test wants it to say."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.said: Any = {"connections": []}
        self.asked = 0
        self._bus: Any = None

    async def start(self) -> None:
        self._bus = await self._room.bus.Bus.connect()
        self._bus.on_message(self._answer)
        await self._bus.own_name("org.clatnm1")

    def _answer(self, message: Any) -> bool:
        if message.member != "Status":
            return False
        self.asked += 1
        self._bus.send(self._room.bus.Message.new_method_return(message, "s", [json.dumps(self.said)]))
        return True

    def decide(self, text: str) -> None:
        self._bus.emit(
            path="/org/clatnm1", interface="org.clatnm1.Manager", member="Decision", signature="s", body=[text]
        )

    def stop(self) -> None:
        self._bus.close()


@contextlib.asynccontextmanager
async def following(room: Room, said: list[Any], **choices: Any) -> AsyncIterator[None]:
    work = asyncio.ensure_future(room.following.watch(said.append, reconnect_s=0.01, **choices).run())
    try:
        yield
        assert not work.done(), work
    finally:
        work.cancel()
        await asyncio.wait({work})


def test_bus_that_is_not_there_yet_is_waited_for(room: Room, private_bus: PrivateBus) -> None:
    private_bus.kill()

    async def scene() -> None:
        said: list[Any] = []
        async with following(room, said, every_s=NEVER_S):
            await until(lambda: said == [None])
            private_bus.start()
            daemon = Daemon(room)
            await daemon.start()
            await until(lambda: said in ([None, None, daemon.said], [None, daemon.said]))
            daemon.stop()
            await until(lambda: said[-1] is None)

    run(scene())


@pytest.mark.usefixtures("private_bus")
def test_many_changes_at_once_are_few_questions(room: Room) -> None:
    async def scene() -> None:
        said: list[Any] = []
        daemon = Daemon(room)
        await daemon.start()
        async with following(room, said, every_s=NEVER_S):
            await until(lambda: said)
            for number in range(200):
                daemon.said = {"connections": [number]}
                daemon.decide(str(number))
            await until(lambda: said[-1] == {"connections": [199]})
            assert daemon.asked < 10
        daemon.stop()

    run(scene())


@pytest.mark.usefixtures("private_bus")
def test_decisions_come_by_themselves_and_why_there_is_nothing_comes_once(room: Room) -> None:
    async def scene() -> None:
        decided: list[str] = []
        absent: list[str] = []
        found = room.following.Following(
            told=json.loads, absent=absent.append, decided=decided.append, every_s=0.01, reconnect_s=0.01
        )
        work = asyncio.ensure_future(found.run())
        daemon = Daemon(room)
        await until(lambda: absent)
        await daemon.start()
        asked = daemon.asked
        await until(lambda: daemon.asked > asked)
        daemon.decide("wlan0: CLAT up")
        await until(lambda: decided == ["wlan0: CLAT up"])
        daemon.stop()
        await until(lambda: len(absent) == 2)
        assert set(absent) == {"the clatnm daemon does not run (systemctl start clatnm)"}
        work.cancel()
        await asyncio.wait({work})

    run(scene())


def test_without_patience_no_bus_is_an_error(room: Room, private_bus: PrivateBus) -> None:
    private_bus.kill()
    with pytest.raises(BusError, match="cannot connect to the system bus"):
        run(room.following.Following(told=json.loads, absent=str).run())


@pytest.mark.parametrize("answer", ["", "{", None, "[" * 100_000], ids=["empty", "half", "none", "deep"])
def test_answer_that_is_no_json_is_a_bus_error(room: Room, answer: str | None) -> None:
    with pytest.raises(BusError, match="makes no sense"):
        room.following.parsed(answer)
