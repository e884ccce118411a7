# SPDX-License-Identifier: GPL-2.0-or-later
"""A firewalld without a firewall: zones and their interfaces on a real bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clatnm.dbus import bus as library
from clatnm.dbus import names
from clatnm.dbus.bus import Bus
from clatnm.firewall.firewalld import CONFIG, NAME, PATH, ZONE

# The library that clatnm uses here, whichever that is
Message: Any = vars(library)["Message"]
MessageType: Any = vars(library)["MessageType"]


class FakeFirewalld:
    """`zones` are those at run time, `stored` those it begins with; `refuse` maps a member to a D-Bus error."""

    def __init__(self, **stored: str) -> None:
        self.stored = {interface.replace("_", "-"): zone for interface, zone in stored.items()}
        self.zones = dict(self.stored)
        self.refuse: dict[str, str] = {}
        self.on_call: Callable[[], None] | None = None
        self.changes: list[tuple[str, ...]] = []
        self._bus: Bus | None = None

    async def start(self) -> None:
        """Also again, after `stop`."""
        self.zones = dict(self.stored)
        self._bus = await Bus.connect()
        self._bus._connection.add_message_handler(self._handle)
        await self._bus.own_name(NAME)

    def stop(self) -> None:
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    async def reload(self) -> None:
        """What is in a zone at run time stays there."""
        self.zones = {**self.stored, **self.zones}
        await self._tell(NAME, "Reloaded")

    async def move(self, interface: str, zone: str) -> None:
        """What an administrator does at run time."""
        self.zones[interface] = zone
        await self._tell(ZONE, "ZoneOfInterfaceChanged", zone, interface)

    async def flush(self) -> None:
        """Return when the bus has all that was said."""
        assert self._bus is not None
        await self._bus.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")

    async def _tell(self, interface: str, member: str, *words: str) -> None:
        assert self._bus is not None
        signal = Message.new_signal(PATH, interface, member, "s" * len(words), list(words))
        await self._bus._connection.send(signal)

    def _handle(self, message: Any) -> Any:
        if message.message_type is not MessageType.METHOD_CALL or message.interface not in (ZONE, CONFIG):
            return None
        if self.on_call is not None:
            self.on_call()
        if message.member in self.refuse:
            return Message.new_error(message, self.refuse[message.member], "no")
        where = self.zones if message.interface == ZONE else self.stored
        match message.member, message.body:
            case "getZoneOfInterface", [interface]:
                answer = where.get(interface, "")
            case "changeZoneOfInterface", [zone, interface]:
                self.changes.append((zone, interface))
                answer = self.zones[interface] = zone
            case "removeInterface", [zone, interface]:
                self.changes.append(("", interface))
                answer = self.zones.pop(interface)
            case _:
                return None
        return Message.new_method_return(message, "s", [answer])
