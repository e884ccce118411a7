# SPDX-License-Identifier: GPL-2.0-or-later
"""A suspend waits until everything is put away, and what is said twice counts once. On a real bus."""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import Any

import pytest

from clatnm.dbus import names
from clatnm.errors import BusError
from tests.unit.aio import run, until
from tests.unit.dbus.rooms import Room

pytestmark = pytest.mark.usefixtures("private_bus")


class Logind:
    """Gives out the write ends of pipes; a suspend waits while one of them is open."""

    def __init__(self, room: Room, bus: Any) -> None:
        self._room, self._bus = room, bus
        self._pipes: list[int] = []
        self.asked: list[Any] = []

    async def start(self) -> None:
        await self._bus.own_name(names.LOGIN1)
        self._bus._connection.add_message_handler(self._handle)

    def _handle(self, message: Any) -> Any:
        if message.member != "Inhibit":
            return None
        self.asked.append(message.body)
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self._pipes.append(ours)
        reply = self._room.bus.Message.new_method_return(message, "h", [0], unix_fds=[theirs])
        self._giving = asyncio.ensure_future(self._give(reply, theirs))
        return True

    async def _give(self, reply: Any, descriptor: int) -> None:
        await self._bus._connection.send(reply)
        os.close(descriptor)  # the copy that was sent is all that is left

    @property
    def held_up(self) -> bool:
        return any(_is_open(pipe) for pipe in self._pipes)

    async def tell(self, asleep: bool) -> None:
        path, interface = names.LOGIN1_PATH, names.LOGIN1_MANAGER
        signal = self._room.bus.Message.new_signal(path, interface, "PrepareForSleep", "b", [asleep])
        await self._bus._connection.send(signal)

    def close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._bus.close()


def _is_open(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) != b""
    except BlockingIOError:
        return True


class Sleeper:
    """Who follows logind, and what came of it."""

    def __init__(self) -> None:
        self.changes = 0
        self.reasons: list[str] = []
        module = importlib.reload(importlib.import_module("clatnm.dbus.suspend"))
        self.suspend = module.Suspend(changed=self._change, resumed=self.reasons.append)

    def _change(self) -> None:
        self.changes += 1


async def followed(room: Room) -> tuple[Logind, Sleeper, Any]:
    logind = Logind(room, await room.bus.Bus.connect(descriptors=True))
    await logind.start()
    sleeper, bus = Sleeper(), await room.bus.Bus.connect()
    await sleeper.suspend.attach(bus)
    await until(lambda: logind.held_up and sleeper.suspend._holding.done())
    return logind, sleeper, bus


def test_suspend_waits_until_all_is_put_away(room: Room) -> None:
    async def work() -> None:
        logind, sleeper, bus = await followed(room)
        assert logind.asked == [["sleep", "clatnm", logind.asked[0][2], "delay"]]
        sleeper.suspend.ready()  # nobody asks
        assert logind.held_up
        await logind.tell(True)
        await until(lambda: sleeper.changes == 1)
        assert sleeper.suspend.asleep
        assert logind.held_up
        sleeper.suspend.ready()
        assert not logind.held_up
        await logind.tell(False)
        await until(lambda: logind.held_up and sleeper.suspend._holding.done())  # the next one is to wait again
        assert sleeper.reasons == ["logind says so"]
        assert not sleeper.suspend.asleep
        sleeper.suspend.close()
        await until(lambda: not logind.held_up)  # the bus may not have closed its copy yet
        bus.close()
        logind.close()

    run(work())


def test_clock_that_tells_first_counts_once(room: Room) -> None:
    async def work() -> None:
        logind, sleeper, bus = await followed(room)
        await logind.tell(True)
        await until(lambda: sleeper.suspend.asleep)
        sleeper.suspend.woken("the clock jumped")
        assert not sleeper.suspend.asleep
        await logind.tell(False)
        await logind.tell(True)
        await until(lambda: sleeper.suspend.asleep)
        assert sleeper.reasons == ["the clock jumped"]
        await logind.tell(False)
        await until(lambda: sleeper.reasons[1:] == ["logind says so"])
        sleeper.suspend.close()
        bus.close()
        logind.close()

    run(work())


def test_resume_without_a_beginning_counts(room: Room) -> None:
    async def work() -> None:
        logind, sleeper, bus = await followed(room)
        await logind.tell(False)
        await until(lambda: sleeper.reasons == ["logind says so"])
        sleeper.suspend.close()
        bus.close()
        logind.close()

    run(work())


def test_logind_that_falls_silent_is_not_waited_for(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        logind, sleeper, bus = await followed(room)
        monkeypatch.setattr(importlib.import_module("clatnm.dbus.suspend"), "_FOREVER_S", 0.01)
        await logind.tell(True)
        await until(lambda: sleeper.reasons == ["logind says nothing more"])
        assert not sleeper.suspend.asleep
        sleeper.suspend.close()
        bus.close()
        logind.close()

    run(work())


def test_without_logind_nothing_is_held_up(room: Room) -> None:
    async def work() -> None:
        sleeper, bus = Sleeper(), await room.bus.Bus.connect()
        await sleeper.suspend.attach(bus)
        await until(sleeper.suspend._holding.done)
        sleeper.suspend._holding.result()
        sleeper.suspend.ready()
        sleeper.suspend.close()
        bus.close()

    run(work())


@pytest.mark.parametrize("signature", ["s", "hh", ""])
def test_other_answer_is_no_descriptor(room: Room, signature: str) -> None:
    """And what came instead is closed."""

    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(descriptors=True), await room.bus.Bus.connect(descriptors=True)
        await peer.own_name(names.LOGIN1)
        pipes = [os.pipe() for _ in range(signature.count("h"))]
        body = ["hold"] if signature == "s" else list(range(len(pipes)))

        def handle(message: Any) -> Any:
            if message.member != "Inhibit":
                return None
            theirs = [end for _, end in pipes]
            return room.bus.Message.new_method_return(message, signature, body, unix_fds=theirs)

        peer._connection.add_message_handler(handle)
        call = {"path": names.LOGIN1_PATH, "interface": names.LOGIN1_MANAGER, "member": "Inhibit"}
        with pytest.raises(BusError, match="no descriptor"):
            await bus.call_for_descriptor(destination=names.LOGIN1, signature="", body=[], **call)
        for ours, theirs in pipes:
            os.close(theirs)
            assert os.read(ours, 1) == b""
            os.close(ours)
        bus.close()
        peer.close()

    run(work())
