# SPDX-License-Identifier: GPL-2.0-or-later
"""Any user may send messages to the daemon. None of them keeps it from its work, or takes it off the bus."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from clatnm.errors import BusError
from tests.unit.aio import run, until
from tests.unit.dbus.by_hand import CALL, SIGNAL, SILENT, field, hello, message, text, to_daemon
from tests.unit.dbus.rooms import Room
from tests.unit.private_bus import PrivateBus

pytestmark = pytest.mark.usefixtures("private_bus")


class Stranger:
    """A program that speaks D-Bus by hand."""

    def __init__(self, bus: PrivateBus) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(bus.address.partition("path=")[2].partition(",")[0])
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        assert self._socket.recv(100).startswith(b"OK ")
        self._socket.sendall(b"BEGIN\r\n" + hello())
        assert self._socket.recv(4096)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class Answers:
    """What the daemon would say."""

    asked = 0
    told: Sequence[int] = ()
    fault: Exception | None = None
    gate: asyncio.Event | None = None

    async def status(self) -> str:
        self.asked += 1
        self._fail()
        if self.gate is not None:
            await self.gate.wait()
        return json.dumps({"connections": self.told})

    def explain(self, connection: str) -> str:
        self._fail()
        return "[]"

    def world(self) -> str:
        self._fail()
        return "{}"

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault

    def poke(self, why: str) -> None:
        return None

    def reload(self) -> str:
        return ""

    def connections(self) -> list[Any]:
        return []


async def offered(room: Room) -> tuple[Any, Answers, list[Any]]:
    """The daemon on the bus, and all messages that it has seen."""
    bus, answers, seen = await room.bus.Bus.connect(), Answers(), []
    bus.on_message(lambda told: seen.append(told) and False)
    await room.service.offer(bus, answers)
    return bus, answers, seen


def test_caller_without_a_pause_holds_up_nobody(room: Room, private_bus: PrivateBus) -> None:
    async def scene() -> None:
        bus, _, seen = await offered(room)
        stranger = Stranger(private_bus)
        stranger.send(message(CALL, to_daemon(), flags=SILENT) * 4000)  # until now nothing of it is read
        turns = 0
        while len(seen) < 4000:
            await asyncio.sleep(0)
            turns += 1
        # The other library reads pieces of its own size, and has a turn for others now and then.
        assert turns > (100 if room.library == "dbus_next" else 1)
        stranger.close()
        assert await room.service.ask("Status") == '{"connections": []}'
        bus.close()

    run(scene())


def test_call_with_endless_arguments_is_not_read(room: Room, private_bus: PrivateBus) -> None:
    body = struct.pack("<I", 1 << 20) + b"\1y\0\5" * (1 << 18)  # an array of variants, each a byte
    signed = field(8, "g", "av")

    async def scene() -> None:
        bus, _, seen = await offered(room)
        stranger = Stranger(private_bus)
        stranger.send(message(CALL, to_daemon("Status", signed), serial=70, body=body))
        stranger.send(message(CALL, to_daemon("World"), serial=71))
        await until(lambda: any(told.serial == 71 for told in seen))
        # The other library makes short work of it; then the call is answered as one of no method of ours.
        assert [told.serial for told in seen if told.serial == 70] == ([70] if room.library == "dbus_fast" else [])
        stranger.close()
        bus.close()

    run(scene())


ODD = {
    "field-of-a-later-version": message(CALL, to_daemon("Status", field(42, "s", "x"))),
    "arguments-of-another-kind": message(CALL, to_daemon("Explain", field(8, "g", "ay")), body=struct.pack("<I", 0)),
    "nothing-in-it": message(CALL, to_daemon("Explain", field(8, "g", "s")), body=text("")),
    "no-interface": message(CALL, field(1, "o", "/") + field(3, "s", "Explain") + field(6, "s", "org.clatnm1")),
    "unknown-flags": message(CALL, to_daemon(), flags=0xF0),
    "addressed-signal": message(SIGNAL, to_daemon("Decision", field(8, "g", "s")), body=text("x")),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_message_ends_nothing(room: Room, private_bus: PrivateBus, odd: bytes) -> None:
    async def scene() -> None:
        bus, _, seen = await offered(room)
        stranger = Stranger(private_bus)
        stranger.send(odd)
        stranger.send(message(CALL, to_daemon("World"), serial=71))
        await until(lambda: any(told.serial == 71 for told in seen))
        assert await room.service.ask("Status") == '{"connections": []}'
        stranger.close()
        bus.close()

    run(scene())


def test_all_of_the_program_can_be_imported_without_the_library_that_is_not_there() -> None:
    """As packages for distributions try it."""
    code = "import sys; sys.modules['dbus_next'] = None; import clatnm.dbus.patient, clatnm.dbus.bus as bus; "
    code += "print(bus.MessageBus.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    if "No module named 'dbus_fast'" in done.stderr:
        pytest.skip("needs dbus_fast")
    assert done.stdout.startswith("dbus_fast."), done.stderr


def test_however_many_ask_it_is_worked_out_once_more(room: Room) -> None:
    async def scene() -> None:
        bus, answers, seen = await offered(room)
        answers.gate = asyncio.Event()
        first = asyncio.ensure_future(room.service.ask("Status"))
        await until(lambda: answers.asked == 1)
        others = [asyncio.ensure_future(room.service.ask("Status")) for _ in range(20)]
        await until(lambda: sum(told.member == "Status" for told in seen) == 21)
        answers.told = [1]  # whoever asks later is told what is then
        answers.gate.set()
        assert {*await asyncio.gather(*others)} == {'{"connections": [1]}'}
        assert await first == '{"connections": [1]}'
        assert answers.asked == 2
        bus.close()

    run(scene())


@pytest.mark.parametrize("question", [("Status",), ("World",), ("Explain", "wlan0")], ids=lambda words: words[0])
def test_bug_is_told_in_the_log_and_to_nobody_else(
    room: Room, question: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        bus, answers, _ = await offered(room)
        answers.fault = ZeroDivisionError("secret")
        with pytest.raises(BusError) as caught:
            await room.service.ask(*question)
        assert str(caught.value) == "it failed; the daemon's log says how"
        answers.fault = None
        assert await room.service.ask("Status") == '{"connections": []}'
        bus.close()

    run(scene())
    assert f"answering {question[0]}" in caplog.text and "ZeroDivisionError: secret" in caplog.text
