# SPDX-License-Identifier: GPL-2.0-or-later
"""The freedesktop notification service, on the session bus: whoever it is just now, if there is anybody.

Desktop Notifications Specification 1.2.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal, Variant
from clatnm.desktop.words import Notice
from clatnm.errors import BusError

log = logging.getLogger(__name__)

_T = TypeVar("_T")
SERVICE = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"
PROGRAM = "clatnm"
_LOW, _NORMAL = 0, 1
_AS_THE_SERVER_LIKES = -1
_NO_OWNER = "org.freedesktop.DBus.Error.NameHasNoOwner"


class Notifications:
    """`changed` is called when another server has come, or the one there was has gone."""

    def __init__(self, bus: Bus, *, changed: Callable[[], None]) -> None:
        self._bus = bus
        self._changed = changed
        self._markup_of: tuple[str, bool] | None = None
        self.server = ""
        """Unique name of who shows notifications; "" while nobody does."""

    async def attach(self) -> None:
        """Follow who the server is. BusError when the bus dies."""
        self._bus.on_signal(self._hear)
        self.server = await self._bus.follow(SERVICE)

    def _hear(self, signal: Signal) -> None:
        if signal.sender == names.DBUS and signal.member == "NameOwnerChanged" and signal.body[0] == SERVICE:
            self.server = str(signal.body[2])
            self._changed()

    async def markup(self) -> bool:
        """Whether the server reads markup in a body; else it would show it. One that can be started is. BusError."""
        if self._markup_of is None or self._markup_of[0] != self.server or not self.server:
            reply = await self._bus.call(destination=SERVICE, path=PATH, interface=SERVICE, member="GetCapabilities")
            self._markup_of = (await self._owner(), "body-markup" in _only(reply, list))
        return self._markup_of[1]

    async def show(self, notice: Notice, *, replaces: int) -> tuple[int, str]:
        """Show it, in the place of `replaces` if that is not 0: its number, and the server that knows it. BusError."""
        hints = {
            "urgency": Variant("y", _NORMAL if notice.urgent else _LOW),
            "category": Variant("s", notice.category),
        }
        before = self.server
        reply = await self._bus.call(
            destination=SERVICE,
            path=PATH,
            interface=SERVICE,
            member="Notify",
            signature="susssasa{sv}i",
            body=[PROGRAM, replaces, notice.icon, notice.title, notice.body, [], hints, _AS_THE_SERVER_LIKES],
        )
        after = await self._owner()
        # While two took turns nobody knows whose number it is, and it may be another program's with the other one.
        return _only(reply, int), after if before in ("", after) else ""

    async def withdraw(self, number: int) -> None:
        """Take it away; nothing where the user or the server has done so. BusError when there is no answer."""
        try:
            await self._bus.call(
                destination=SERVICE,
                path=PATH,
                interface=SERVICE,
                member="CloseNotification",
                signature="u",
                body=[number],
            )
        except BusError as error:
            if not error.name:
                raise
            log.debug("it is not to be seen any more: %s", error)

    async def _owner(self) -> str:
        """Who has just answered. A server that is started by a call is known before the bus tells of it."""
        try:
            reply = await self._bus.call(
                destination=names.DBUS,
                path=names.DBUS_PATH,
                interface=names.DBUS,
                member="GetNameOwner",
                signature="s",
                body=[SERVICE],
            )
        except BusError as error:
            if error.name == _NO_OWNER:
                return ""
            raise
        self.server = _only(reply, str)
        return self.server


def _only(reply: list[Any], kind: type[_T]) -> _T:
    """The one value of an answer. BusError when it is not of this kind."""
    if len(reply) != 1 or not isinstance(reply[0], kind):
        raise BusError(f"{SERVICE} answers what makes no sense")
    return reply[0]
