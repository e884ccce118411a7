# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections as objects: what another program on the bus sees of them, and hears."""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from clatnm import status
from clatnm.dbus import names
from clatnm.dbus.properties import PROPERTIES, values
from clatnm.errors import BusError
from clatnm.model import Running, RunState
from clatnm.policy.plan import decide
from tests.unit.aio import run
from tests.unit.dbus.rooms import Room
from tests.unit.dbus.test_service import output
from tests.unit.policy.worlds import NOW, a_link, a_world
from tests.unit.private_bus import PrivateBus

pytestmark = pytest.mark.usefixtures("private_bus")

CONNECTION, MANAGER = names.CONNECTION_INTERFACE, names.MANAGER_INTERFACE
MANY = 300


def told(interface: str = "wlan0", *, on: bool = True, uuid: str = "") -> dict[str, Any]:
    """As the daemon tells it, with a translator or before that."""
    (verdict,) = decide(a_world(a_link(interface)), NOW)
    verdict = replace(verdict, uplink=replace(verdict.uplink, uuid=uuid or f"uuid-of-{interface}"))
    assert verdict.plan is not None
    running = Running(plan=verdict.plan, state=RunState.ON) if on else None
    return status.connection(verdict, running, None, counters={}, now=NOW)


class Daemon:
    """What there is, and why."""

    def __init__(self) -> None:
        self.there: list[dict[str, Any]] = []
        self.reasons: list[dict[str, Any]] = []

    async def status(self) -> str:
        return "{}"

    def explain(self, connection: str) -> str:
        return json.dumps([each for each in self.reasons if each["uuid"] == connection])

    def world(self) -> str:
        return "{}"

    def poke(self, why: str) -> None:
        raise AssertionError("nobody pokes here")

    def reload(self) -> str:
        raise AssertionError("nobody reloads here")

    def connections(self) -> list[dict[str, Any]]:
        return self.there


class Stage:
    """The daemon's objects, and somebody on the bus who listens to all that it says."""

    def __init__(self, room: Room, daemon: Daemon, objects: Any, listener: Any) -> None:
        self.room, self.daemon, self.objects, self.listener = room, daemon, objects, listener
        self._heard: list[Any] = []
        listener.on_signal(self._heard.append)

    async def publish(self, *there: dict[str, Any], decisions: tuple[str, ...] = ()) -> None:
        self.objects.publish(there, decisions)
        await self.objects.settled()

    async def heard(self) -> list[tuple[Any, ...]]:
        """Path, member and body of each signal since the last time; not what the libraries send beside them."""
        await self.listener.drain()
        heard, self._heard[:] = list(self._heard), []
        ours = [
            each for each in heard if not (each.interface == names.OBJECT_MANAGER and each.path != names.OBJECT_PATH)
        ]
        return [(each.path, each.member, *each.body) for each in ours if each.sender.startswith(":")]

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        reply = await self.listener.call(
            destination=names.BUS_NAME, path=path, interface=interface, member=member, signature=signature, body=body
        )
        return reply[0] if reply else None

    async def properties(self, path: str) -> Any:
        return self.room.bus.unwrap(await self.call(path, names.PROPERTIES, "GetAll", "s", CONNECTION))

    async def listed(self) -> Any:
        return (await self.call(names.OBJECT_PATH, names.PROPERTIES, "Get", "ss", MANAGER, "Connections")).value


def play(room: Room, scene: Callable[[Stage], Awaitable[None]], *there: dict[str, Any]) -> None:
    async def work() -> None:
        bus, listener, daemon = await room.bus.Bus.connect(), await room.bus.Bus.connect(), Daemon()
        daemon.there = list(there)
        objects = await room.service.offer(bus, daemon)
        await listener.follow(names.BUS_NAME)
        try:
            await scene(Stage(room, daemon, objects, listener))
        finally:
            bus.close()
            listener.close()

    run(work())


def path(number: int) -> str:
    return f"{names.CONNECTION_PATH}/{number}"


def test_what_is_there_at_first_is_there_with_the_name(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.listed() == [path(1), path(2)]
        managed = await stage.call(names.OBJECT_PATH, names.OBJECT_MANAGER, "GetManagedObjects")
        assert {each: set(found) for each, found in managed.items()} == {path(1): {CONNECTION}, path(2): {CONNECTION}}
        kept = managed[path(2)][CONNECTION]
        assert {name: kept[name].signature for name in kept} == {row.name: row.signature for row in PROPERTIES}
        assert room.bus.unwrap(kept) == values(told("eth0")) == await stage.properties(path(2))
        assert await stage.properties(path(1)) == values(told())

    play(room, scene, told(), told("eth0"))


def test_connection_that_comes_is_announced_with_all_it_has(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish(told(), told("eth0"))
        assert await stage.heard() == [
            (names.OBJECT_PATH, "InterfacesAdded", path(2), {CONNECTION: values(told("eth0"))}),
            (names.OBJECT_PATH, "ConnectionAdded", path(2)),
            (names.OBJECT_PATH, "PropertiesChanged", MANAGER, {"Connections": [path(1), path(2)]}, []),
        ]

    play(room, scene, told())


def test_change_is_told_as_what_has_changed_and_no_more(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish(told(on=True))
        ((where, what, interface, changed, invalidated),) = await stage.heard()
        assert (where, what, interface, invalidated) == (path(1), "PropertiesChanged", CONNECTION, [])
        before, after = values(told(on=False)), values(told(on=True))
        assert changed == {name: value for name, value in after.items() if before[name] != value}
        assert {"State", "Device", "ClatV4", "ClatV6", "Backend"} <= changed.keys()
        assert "Interface" not in changed
        assert await stage.properties(path(1)) == after

    play(room, scene, told(on=False))


def test_nothing_is_said_when_nothing_has_changed(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(5):
            await stage.publish(told())
        assert await stage.heard() == []

    play(room, scene, told())


def test_connection_that_goes_takes_its_object_along(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish(told("eth0"))
        assert await stage.heard() == [
            (names.OBJECT_PATH, "InterfacesRemoved", path(1), [CONNECTION]),
            (names.OBJECT_PATH, "ConnectionRemoved", path(1)),
            (names.OBJECT_PATH, "PropertiesChanged", MANAGER, {"Connections": [path(2)]}, []),
        ]
        with pytest.raises(BusError):
            await stage.properties(path(1))
        assert await stage.listed() == [path(2)]
        await stage.publish(told("eth0"), told())
        assert await stage.listed() == [path(2), path(3)], "numbers are not used twice"

    play(room, scene, told(), told("eth0"))


def test_another_connection_on_the_same_interface_is_another_object(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish(told(uuid="of the other"))
        assert [each[1] for each in await stage.heard()] == [
            "InterfacesRemoved",
            "ConnectionRemoved",
            "InterfacesAdded",
            "ConnectionAdded",
            "PropertiesChanged",
        ]
        assert (await stage.properties(path(2)))["Uuid"] == "of the other"

    play(room, scene, told())


def test_decisions_are_told_in_order_and_after_what_they_are_about(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        await stage.publish(told(on=True), decisions=("wlan0: CLAT up", "eth0: CLAT down"))
        heard = [(each[1], each[2]) for each in await stage.heard()]
        assert heard == [
            ("PropertiesChanged", CONNECTION),
            ("Decision", "wlan0: CLAT up"),
            ("Decision", "eth0: CLAT down"),
        ]

    play(room, scene, told(on=False))


def test_object_explains_itself(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        uuid = "uuid-of-wlan0"
        # One profile can be active on several interfaces.
        stage.daemon.reasons = [
            {"interface": name, "uuid": uuid, "reason": f"because of {name}"} for name in ("eth0", "wlan0")
        ]
        assert json.loads(await stage.call(path(1), CONNECTION, "Explain"))["reason"] == "because of wlan0"
        stage.daemon.reasons = []
        with pytest.raises(BusError) as caught:
            await stage.call(path(1), CONNECTION, "Explain")
        assert caught.value.name == names.ERROR_GONE

    play(room, scene, told())


def test_nothing_can_be_set(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        with pytest.raises(BusError):
            await stage.call(
                path(1), names.PROPERTIES, "Set", "ssv", CONNECTION, "Mode", room.bus.Variant("s", "force")
            )
        assert await stage.properties(path(1)) == values(told())

    play(room, scene, told())


def test_many_at_once_are_more_than_the_bus_takes_at_once(room: Room) -> None:
    many = [told(f"eth{number}") for number in range(MANY)]

    async def scene(stage: Stage) -> None:
        assert len(await stage.listed()) == MANY
        await stage.publish(*(told(f"eth{number}", on=False) for number in range(MANY)))
        assert [each[1] for each in await stage.heard()] == ["PropertiesChanged"] * MANY
        await stage.publish()
        assert len(await stage.heard()) == 2 * MANY + 1
        assert await stage.listed() == []

    play(room, scene, *many)


def test_what_is_wanted_while_it_tells_comes_too(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        stage.objects.publish([told("eth0")])
        stage.objects.publish([told("eth1")])
        await stage.publish(told("eth2"), told("eth1", on=False))
        found = {(await stage.properties(each))["Interface"] for each in await stage.listed()}
        assert found == {"eth1", "eth2"}

    play(room, scene, told())


def test_dead_bus_costs_nothing(room: Room, private_bus: PrivateBus, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        bus = await room.bus.Bus.connect()
        objects = await room.service.offer(bus, Daemon())
        private_bus.kill()
        await bus.closed()
        for number in range(50):
            objects.publish([told(f"eth{number}")], ["eth0: CLAT up"])
            await objects.settled()
        bus.close()

    run(work())
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_introspection_has_every_property_and_its_type(room: Room) -> None:
    async def scene(stage: Stage) -> None:
        xml = ElementTree.fromstring(await stage.call(path(1), "org.freedesktop.DBus.Introspectable", "Introspect"))
        (ours,) = (each for each in xml if each.get("name") == CONNECTION)
        found = {each.get("name"): (each.get("type"), each.get("access")) for each in ours.iter("property")}
        assert found == {row.name: (row.signature, "read") for row in PROPERTIES}
        assert [each.get("name") for each in ours.iter("method")] == ["Explain"]
        above = ElementTree.fromstring(
            await stage.call(names.CONNECTION_PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
        )
        assert [node.get("name") for node in above.iter("node")][1:] == ["1"]

    play(room, scene, told())


def test_busctl_shows_the_tree(room: Room, private_bus: PrivateBus) -> None:
    busctl = shutil.which("busctl")
    if busctl is None:
        pytest.skip("needs busctl")
    address = f"--address={private_bus.address}"

    async def scene(stage: Stage) -> None:
        tree = await output(busctl, address, "--list", "tree", names.BUS_NAME)
        assert path(1) in tree.split()
        shown = await output(busctl, address, "get-property", names.BUS_NAME, path(1), CONNECTION, "State", "Ipv4Mtu")
        assert shown.splitlines() == ['s "on"', "u 1472"]

    play(room, scene, told())
