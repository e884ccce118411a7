# SPDX-License-Identifier: GPL-2.0-or-later
"""A systemd-networkd without a network: describes the links it is given, and says what a test says on a real bus."""

from __future__ import annotations

import json
from typing import Any

from clatnm.dbus import bus as library
from clatnm.dbus import names
from clatnm.dbus.bus import Bus
from clatnm.uplinks.networkd_objects import MANAGER, NETWORKD, NETWORKD_PATH

# The library that clatnm uses here, whichever that is
Message: Any = vars(library)["Message"]
MessageType: Any = vars(library)["MessageType"]
Variant: Any = vars(library)["Variant"]

LINK = f"{NETWORKD}.Link"


class FakeNetworkd:
    """`links` by name; `refuse` is the D-Bus error that Describe gets; `mute`: it gets no answer."""

    def __init__(self) -> None:
        self.links: dict[str, dict[str, Any]] = {}
        self.refuse = ""
        self.mute = False
        self.text: str | None = None
        """What to say instead of a description."""
        self.described = 0
        self._held: list[Any] | None = None
        self._bus: Bus | None = None

    async def start(self) -> None:
        self._bus = await Bus.connect()
        self._bus._connection.add_message_handler(self._handle)
        await self._bus.own_name(NETWORKD)

    def stop(self) -> None:
        assert self._bus is not None
        self._held = None
        self._bus.close()

    @property
    def unique_name(self) -> str:
        assert self._bus is not None
        return str(self._bus._connection.unique_name)

    async def set(self, name: str, *, say: bool = True, **changes: Any) -> None:
        """Change a link, and say that something about it has changed."""
        plain = {"Name": name, "Index": int(name[-1]) + 2, "Type": "ether", "AdministrativeState": "configured"}
        self.links[name] = {**plain, "NetworkFile": f"/absent/{name}.network", **self.links.get(name, {}), **changes}
        if say:
            await self.say()

    async def remove(self, name: str) -> None:
        del self.links[name]
        await self.say()

    async def say(self, times: int = 1) -> None:
        """Say that some state of some link has changed."""
        assert self._bus is not None
        body = [LINK, {"OperationalState": Variant("s", "routable")}, []]
        for _ in range(times):
            await self._bus._connection.send(
                Message.new_signal(f"{NETWORKD_PATH}/link/_32", names.PROPERTIES, "PropertiesChanged", "sa{sv}as", body)
            )

    def hold(self) -> None:
        """Answer with what is true when it is asked, but only after `release`."""
        self._held = []

    @property
    def holding(self) -> bool:
        return bool(self._held)

    async def release(self) -> None:
        assert self._bus is not None
        held, self._held = self._held, None
        for reply in held or ():
            await self._bus._connection.send(reply)

    def _handle(self, message: Any) -> Any:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != MANAGER:
            return None
        assert (message.path, message.member) == (NETWORKD_PATH, "Describe"), "nothing else is asked of networkd"
        self.described += 1
        if self.mute:
            return True
        if self.refuse:
            return Message.new_error(message, self.refuse, "refused by the test")
        text = json.dumps({"Interfaces": list(self.links.values())}) if self.text is None else self.text
        reply = Message.new_method_return(message, "s", [text])
        if self._held is None:
            return reply
        self._held.append(reply)
        return True
