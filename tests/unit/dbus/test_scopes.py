# SPDX-License-Identifier: GPL-2.0-or-later
"""Units of their own for our processes: what systemd is asked, on a real bus with a systemd of the test's."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from clatnm.dbus import names, scopes
from tests.unit.aio import run, until
from tests.unit.dbus.rooms import Room

OURS, OTHER = "clatnm.service", "session-3.scope"
PID, SECOND = 4711, 4712
FAILED = "org.freedesktop.DBus.Error.AccessDenied"
_USUAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Systemd:
    """Knows in which unit a process is, and moves it when it is told to, unless `refuses` says otherwise."""

    def __init__(self, room: Room, bus: Any) -> None:
        self._room, self._bus = room, bus
        self.units = {os.getpid(): OURS, PID: OURS, SECOND: OURS}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuses: Callable[[str], str] = lambda name: ""
        self.moves = True

    async def start(self) -> None:
        await self._bus.own_name(names.SYSTEMD1)
        self._bus._connection.add_message_handler(self._handle)

    def _handle(self, message: Any) -> Any:
        answer = self._room.bus.Message.new_method_return
        if message.member == "GetUnitByPID":
            unit = self.units.get(message.body[0])
            if unit is None:
                return self._room.bus.Message.new_error(message, f"{names.SYSTEMD1}.NoUnitForPID", "no such process")
            escaped = "".join(char if char in _USUAL else f"_{ord(char):02x}" for char in unit)
            return answer(message, "o", [f"{names.SYSTEMD1_PATH}/unit/{escaped}"])
        if message.member == "StartTransientUnit":
            name, mode, properties, _ = message.body
            told = {key: value.value for key, value in properties}
            self.asked.append((name, {**told, "mode": mode}))
            error = self.refuses(name)
            if error:
                return self._room.bus.Message.new_error(message, error, "no")
            if self.moves:
                for pid in told["PIDs"]:
                    self.units[pid] = name
            return answer(message, "o", [f"{names.SYSTEMD1_PATH}/job/1"])
        return None

    def close(self) -> None:
        self._bus.close()


def group(*pids: int, name: str = "clat-wlan0") -> Any:
    return scopes.Group(name=name, description="IPv4 on wlan0 by CLAT", pids=pids or (PID,))


class Stage:
    """A systemd, and somebody whom it has started."""

    def __init__(self, room: Room, systemd: Systemd, bus: Any) -> None:
        self.room, self.systemd, self.bus = room, systemd, bus
        module = importlib.reload(importlib.import_module("clatnm.dbus.scopes"))
        self.scopes = module.Scopes(environment={"SYSTEMD_EXEC_PID": str(os.getpid())})

    async def settled(self) -> None:
        """Nothing is under way."""
        await until(lambda: self.scopes._work is not None and self.scopes._work.done())
        self.scopes._work.result()


def play(room: Room, scene: Callable[[Stage], Any]) -> None:
    async def work() -> None:
        systemd = Systemd(room, await room.bus.Bus.connect())
        await systemd.start()
        stage = Stage(room, systemd, await room.bus.Bus.connect())
        await scene(stage)
        stage.scopes.close()
        stage.bus.close()
        systemd.close()

    run(work())


pytestmark = pytest.mark.usefixtures("private_bus")


def test_it_is_moved_once(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.scopes.want([group(PID, SECOND)])
        stage.scopes.attach(stage.bus)
        await stage.settled()
        ((name, told),) = stage.systemd.asked
        assert name == "clat-wlan0.scope"
        assert (told["PIDs"], told["Before"], told["mode"]) == ([PID, SECOND], [OURS], "fail")
        assert told["Description"] == "IPv4 on wlan0 by CLAT"
        assert [stage.scopes.unit(pid) for pid in (PID, SECOND, 4713)] == [name, name, ""]
        stage.scopes.want([group(PID, SECOND)])
        stage.scopes.attach(stage.bus)
        assert stage.scopes._work.done() and len(stage.systemd.asked) == 1

    play(room, scene)


def test_one_that_has_a_unit_since_an_earlier_daemon_stays_there(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.systemd.units[PID] = "clat-eth0.scope"
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group()])
        await stage.settled()
        assert (stage.systemd.asked, stage.scopes.unit(PID)) == ([], "clat-eth0.scope")

    play(room, scene)


@pytest.mark.parametrize("unit", [OTHER, "another.service", None])
def test_process_that_is_not_ours_is_left_alone(room: Room, unit: str | None) -> None:
    """The translator may be gone, and its number somebody else's."""

    async def scene(stage: Stage) -> None:
        del stage.systemd.units[PID]
        if unit is not None:
            stage.systemd.units[PID] = unit
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group()])
        await stage.settled()
        assert (stage.systemd.asked, stage.scopes.unit(PID)) == ([], "")

    play(room, scene)


def test_name_that_is_taken_is_not_waited_for(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.systemd.refuses = lambda name: f"{names.SYSTEMD1}.UnitExists" if name == "clat-wlan0.scope" else ""
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group()])
        await stage.settled()
        assert [name for name, _ in stage.systemd.asked] == ["clat-wlan0.scope", f"clat-wlan0-{PID}.scope"]
        assert stage.scopes.unit(PID) == f"clat-wlan0-{PID}.scope"

    play(room, scene)


def test_refusal_is_asked_again_by_the_next_connection_only(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.systemd.refuses = lambda name: FAILED
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group(), group(SECOND, name="clat-eth0")])
        await stage.settled()
        stage.scopes.want([group(), group(SECOND, name="clat-eth0")])
        assert stage.scopes._work.done() and len(stage.systemd.asked) == 2
        assert stage.scopes.unit(PID) == stage.scopes.unit(SECOND) == ""
        stage.systemd.refuses = lambda name: ""
        stage.scopes.attach(stage.bus)
        await stage.settled()
        assert (stage.scopes.unit(PID), stage.scopes.unit(SECOND)) == ("clat-wlan0.scope", "clat-eth0.scope")

    play(room, scene)


def test_promise_that_is_not_kept_is_no_unit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(importlib.import_module("clatnm.dbus.scopes"), "_LOOKS_S", (0.0, 0.01))
        stage.systemd.moves = False
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group()])
        await stage.settled()
        assert len(stage.systemd.asked) == 1 and stage.scopes.unit(PID) == ""

    play(room, scene)


def test_bus_that_dies_meanwhile_is_no_end(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group()])
        stage.bus.close()
        other = await stage.room.bus.Bus.connect()
        stage.scopes.attach(other)
        await stage.settled()
        await until(lambda: stage.scopes.unit(PID) == "clat-wlan0.scope")
        other.close()

    play(room, scene)


@pytest.mark.parametrize("told", [{}, {"SYSTEMD_EXEC_PID": "1"}, {"SYSTEMD_EXEC_PID": "", "INVOCATION_ID": "6f1e"}])
def test_who_is_no_service_asks_nothing(room: Room, told: dict[str, str]) -> None:
    """As in a terminal: what is started there has all that its session inherited."""

    async def scene(stage: Stage) -> None:
        by_hand = importlib.import_module("clatnm.dbus.scopes").Scopes(environment=told)
        by_hand.want([group()])
        by_hand.attach(stage.bus)
        assert by_hand._work is None and by_hand.unit(PID) == ""
        by_hand.close()

    play(room, scene)


def test_end_ends_what_is_under_way(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.scopes.attach(stage.bus)
        stage.scopes.want([group()])
        stage.scopes.close()
        await asyncio.wait({stage.scopes._work})
        assert stage.scopes._work.cancelled()
        stage.scopes.want([group(), group(SECOND, name="clat-eth0")])
        assert stage.scopes._work.cancelled() and stage.systemd.asked == []

    play(room, scene)
