# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes after the end of a connection, or never comes: nothing of it stays. On a real bus, with both libraries."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from pathlib import Path

import pytest

from clatnm.errors import BusError
from tests.unit.aio import run, settle, until
from tests.unit.dbus.rooms import Room
from tests.unit.private_bus import PrivateBus

pytestmark = pytest.mark.usefixtures("private_bus")

PEER = "org.example.Peer"
PATH = "/org/example"


@pytest.mark.parametrize("whose", ["ours", "its"])
def test_answer_that_comes_after_the_end_is_noted_nowhere(
    room: Room, private_bus: PrivateBus, caplog: pytest.LogCaptureFixture, whose: str
) -> None:
    """As one to `Status` whose counters took a while: the library sends it, and nobody looks at what came of it."""

    async def work() -> None:
        bus = await room.bus.Bus.connect()
        if whose == "ours":
            bus.close()
            await settle()
        else:
            private_bus.freeze()
            bus._connection._sock.shutdown(socket.SHUT_WR)
        bus._connection.send(room.bus.Message(destination=PEER, path=PATH, interface=PEER, member="Echo"))
        await settle()
        bus.close()
        del bus
        gc.collect()

    with caplog.at_level(logging.DEBUG, logger=room.bus.log.name):
        run(work())
    gc.collect()
    assert not [record for record in caplog.records if "never retrieved" in record.getMessage()]


def sockets() -> set[str]:
    """Those that are open in this process."""
    gc.collect()
    found = (os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd"))
    return {link for path in found if os.path.lexists(path) and (link := os.readlink(path)).startswith("socket:")}


@pytest.mark.parametrize("answers", [[], [b"OK 1234deadbeef1234deadbeef1234dead\r\n"]], ids=["no-auth", "no-hello"])
def test_bus_that_falls_silent_is_given_up_and_forgotten(
    room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: list[bytes]
) -> None:
    """As a stopped dbus-daemon does: it still accepts connections."""
    monkeypatch.setattr(room.bus, "_TIMEOUT_S", 0.05)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/mute")

    left: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for line in answers:
                await reader.readline()
                writer.write(line)
            await reader.read()  # until the other side has gone
        writer.close()
        left.append(writer)

    async def work() -> None:
        server = await asyncio.start_unix_server(serve, f"{tmp_path}/mute")
        before = sockets()
        for _ in range(3):
            with pytest.raises(BusError, match=r"^cannot connect to the system bus: \S"):
                await room.bus.Bus.connect()
        await until(lambda: len(left) == 3)
        await until(lambda: sockets() <= before)
        server.close()

    run(work())
