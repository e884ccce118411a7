# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own object, as other programs see it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from clatnm import __version__
from clatnm.dbus import names
from clatnm.errors import AlreadyRunningError, BusError
from tests.unit.aio import run
from tests.unit.dbus.rooms import Room
from tests.unit.private_bus import PrivateBus

pytestmark = pytest.mark.usefixtures("private_bus")

STATUS = json.dumps({"connections": [], "name": "Café \N{SNOWMAN}"}, ensure_ascii=False)


class Offered:
    """The manager object on the bus, with a daemon of two callbacks."""

    def __init__(self) -> None:
        self.pokes: list[str] = []
        self.fault: Exception | None = None

    async def status(self) -> str:
        if self.fault is not None:
            raise self.fault
        return STATUS

    def explain(self, connection: str) -> str:
        return json.dumps([connection])

    def world(self) -> str:
        return '{"at": 1}'

    def poke(self, why: str) -> None:
        self.pokes.append(why)

    def reload(self) -> str:
        return "x.conf:1: mistake"

    def connections(self) -> list[dict[str, Any]]:
        return []


def with_service(room: Room, work: Callable[[Offered], Awaitable[None]]) -> None:
    async def serve() -> None:
        bus, offered = await room.bus.Bus.connect(), Offered()
        await room.service.offer(bus, offered)
        try:
            await work(offered)
        finally:
            bus.close()

    run(serve())


async def output(*command: str) -> str:
    """What another program on the bus prints; the loop, and with it the service, goes on meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    text, _ = await process.communicate()
    assert process.returncode == 0, text.decode()
    return text.decode().strip()


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def test_status_comes_through_whole(room: Room) -> None:
    async def work(offered: Offered) -> None:
        assert await room.service.ask("Status") == STATUS

    with_service(room, work)


def test_explain_and_world_come_through(room: Room) -> None:
    async def work(offered: Offered) -> None:
        assert await room.service.ask("Explain", "Café \N{SNOWMAN}") == json.dumps(["Café \N{SNOWMAN}"])
        assert await room.service.ask("World") == '{"at": 1}'

    with_service(room, work)


def test_status_that_fails_is_an_error_to_the_caller_alone(room: Room) -> None:
    async def work(offered: Offered) -> None:
        offered.fault = ValueError("a bug")
        with pytest.raises(BusError):
            await room.service.ask("Status")
        offered.fault = None
        assert await room.service.ask("Status") == STATUS

    with_service(room, work)


def test_absent_daemon_is_said_in_plain_words(room: Room) -> None:
    with pytest.raises(BusError, match=r"^the clatnm daemon does not run \(systemctl start clatnm\)$"):
        run(room.service.ask("Status"))


def test_absent_bus_is_no_absent_daemon(room: Room, private_bus: PrivateBus) -> None:
    private_bus.kill()
    with pytest.raises(BusError, match="cannot connect to the system bus"):
        run(room.service.ask("Status"))


def test_second_daemon_is_refused(room: Room) -> None:
    async def work(offered: Offered) -> None:
        bus = await room.bus.Bus.connect()
        with pytest.raises(AlreadyRunningError):
            await room.service.offer(bus, offered)
        bus.close()
        assert await room.service.ask("Status") == STATUS  # the first one goes on

    with_service(room, work)


def test_name_that_the_bus_refuses_costs_the_status_and_nothing_else(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(names, "BUS_NAME", names.DBUS)  # nobody may have this one

    async def work(offered: Offered) -> None:
        (record,) = caplog.records
        assert "`clatnm status` will not work" in record.getMessage()
        assert "org.clatnm1.conf" in record.getMessage()

    with_service(room, work)


def test_poke_reaches_the_daemon_and_properties_answer(room: Room) -> None:
    async def work(offered: Offered) -> None:
        bus = await room.bus.Bus.connect()

        async def call(interface: str, member: str, signature: str, *body: Any) -> Any:
            return await bus.call(
                destination=names.BUS_NAME,
                path=names.OBJECT_PATH,
                interface=interface,
                member=member,
                signature=signature,
                body=body,
            )

        assert await call(names.MANAGER_INTERFACE, "Poke", "s", "wlan0 up") == []
        assert await call(names.MANAGER_INTERFACE, "Reload", "") == ["x.conf:1: mistake"]
        assert offered.pokes == ["wlan0 up"]
        told = await call(names.PROPERTIES, "GetAll", "s", names.MANAGER_INTERFACE)
        assert room.bus.unwrap(told) == [{"Version": __version__, "ApiVersion": 1, "Connections": []}]
        value = room.bus.Variant("s", "9")
        with pytest.raises(BusError):
            await call(names.PROPERTIES, "Set", "ssv", names.MANAGER_INTERFACE, "Version", value)
        with pytest.raises(BusError):
            await call(names.MANAGER_INTERFACE, "Poke", "u", 7)
        with pytest.raises(BusError):
            await call(names.MANAGER_INTERFACE, "Stop", "")
        assert await room.service.ask("Status") == STATUS
        bus.close()

    with_service(room, work)


@pytest.mark.parametrize(("member", "signature", "body"), [("Poke", "s", ["why"]), ("Reload", "", [])])
def test_call_that_names_no_interface_passes_nobody_by(
    room: Room, member: str, signature: str, body: list[str]
) -> None:
    """D-Bus allows that, and then the libraries differ in whom they give the call to."""

    async def work(offered: Offered) -> None:
        bus = await room.bus.Bus.connect()
        message = room.bus.Message(
            destination=names.BUS_NAME, path=names.OBJECT_PATH, member=member, signature=signature, body=body
        )
        reply = await bus._connection.call(message)
        bus.close()
        assert reply.message_type is room.bus.MessageType.ERROR
        assert offered.pokes == []

    with_service(room, work)


def test_introspection_tells_what_there_is_and_no_more(room: Room) -> None:
    async def work(offered: Offered) -> None:
        bus = await room.bus.Bus.connect()
        (xml,) = await bus.call(
            destination=names.BUS_NAME,
            path=names.OBJECT_PATH,
            interface="org.freedesktop.DBus.Introspectable",
            member="Introspect",
        )
        bus.close()
        (ours,) = (i for i in ElementTree.fromstring(xml) if i.get("name") == names.MANAGER_INTERFACE)
        told = {
            (item.tag, item.get("name")): [(arg.get("type"), arg.get("direction")) for arg in item.iter("arg")]
            for item in ours
        }
        assert told == {
            ("method", "Status"): [("s", "out")],
            ("method", "Explain"): [("s", "in"), ("s", "out")],
            ("method", "World"): [("s", "out")],
            ("method", "Poke"): [("s", "in")],
            ("method", "Reload"): [("s", "out")],
            ("property", "Version"): [],
            ("property", "ApiVersion"): [],
            ("property", "Connections"): [],
            ("signal", "ConnectionAdded"): [("o", "out")],
            ("signal", "ConnectionRemoved"): [("o", "out")],
            ("signal", "Decision"): [("s", "out")],
        }

    with_service(room, work)


def test_busctl_understands_us(room: Room, private_bus: PrivateBus) -> None:
    busctl = needs("busctl")
    address = f"--address={private_bus.address}"
    here = (names.BUS_NAME, names.OBJECT_PATH, names.MANAGER_INTERFACE)

    async def work(offered: Offered) -> None:
        told = json.loads(await output(busctl, address, "--json=short", "call", *here, "Status"))
        assert told == {"type": "s", "data": [STATUS]}
        assert await output(busctl, address, "get-property", *here, "Version") == f's "{__version__}"'
        assert await output(busctl, address, "--timeout=2", "call", *here, "Poke", "s", "eth0 down") == ""
        assert offered.pokes == ["eth0 down"]
        assert "Status" in await output(busctl, address, "introspect", *here[:2])

    with_service(room, work)


def test_gdbus_understands_us(room: Room, private_bus: PrivateBus) -> None:
    gdbus = needs("gdbus")
    call = (gdbus, "call", "--address", private_bus.address.partition(",")[0], "--dest", names.BUS_NAME)
    here = (*call, "--object-path", names.OBJECT_PATH, "--method")

    async def work(offered: Offered) -> None:
        assert "Café" in await output(*here, f"{names.MANAGER_INTERFACE}.Status")
        assert await output(*here, f"{names.MANAGER_INTERFACE}.Poke", "wlan0 up") == "()"
        assert offered.pokes == ["wlan0 up"]

    with_service(room, work)
