# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may make the daemon do something: root, and whom polkit lets, where there is polkit.

The libraries do not tell a method who has called it. So these calls are taken before they get that far.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Message, MessageFlag, MessageType, Variant
from clatnm.errors import BusError

log = logging.getLogger(__name__)

DENIED = "org.freedesktop.DBus.Error.AccessDenied"
_BUSY = "org.freedesktop.DBus.Error.LimitsExceeded"
_ALLOW_INTERACTION = 1
# Time to type a password. Each question takes one of the few calls that can be under way at once: anybody may ask, and
# nobody may ask so often that the daemon has none left for its own.
_INTERACTIVE_S = 60.0
_SILENT_S = 5.0
_AT_ONCE = 2
# To find out who calls takes one of them, too. Nobody may have more under way than these, nor may all together.
_MOST_OF_ONE, _MOST = 8, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A method that not everybody may call. `answer` takes its arguments and gives its results."""

    member: str
    takes: str
    gives: str
    action: str
    """Of polkit, as packaging/polkit has it."""
    answer: Callable[[Sequence[Any]], Sequence[Any]]


class Authority:
    """Answers the calls of `methods` on one object in place of what is exported there, when the caller may."""

    def __init__(self, bus: Bus, *, path: str, interface: str, methods: Sequence[Guarded]) -> None:
        self._bus = bus
        self._methods = {(path, interface, method.member): method for method in methods}
        self._tasks: dict[asyncio.Task[None], str] = {}
        """Who is being answered."""
        self._asking = 0
        bus.on_message(self._taken)

    def _taken(self, message: Any) -> bool:
        """Whether this call is ours to answer."""
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        method = self._methods.get((message.path, message.interface, message.member))
        if method is None or message.signature != method.takes:
            return False  # what is no such method, the library says
        sender = str(message.sender)
        if len(self._tasks) >= _MOST or list(self._tasks.values()).count(sender) >= _MOST_OF_ONE:
            self._reply(message, Message.new_error(message, _BUSY, "too many calls are under way; try again"))
            return True
        task = asyncio.ensure_future(self._answer(method, message))
        self._tasks[task] = sender
        task.add_done_callback(self._tasks.pop)
        return True

    def _reply(self, message: Any, reply: Any) -> None:
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._bus.send(reply)

    async def _answer(self, method: Guarded, message: Any) -> None:
        try:
            await self._check(method.action, message)
            reply = Message.new_method_return(message, method.gives, list(method.answer(message.body)))
        except BusError as error:
            reply = Message.new_error(message, error.name or names.ERROR_FAILED, error.what)
        except Exception:  # a bug of ours: its caller must not wait for ever
            log.exception("answering %s", method.member)
            reply = Message.new_error(message, names.ERROR_FAILED, "it failed; the daemon's log says how")
        self._reply(message, reply)

    async def _check(self, action: str, message: Any) -> None:
        """BusError unless the caller may."""
        sender = str(message.sender)
        (user,) = await self._bus.call(
            destination=names.DBUS,
            path=names.DBUS_PATH,
            interface=names.DBUS,
            member="GetConnectionUnixUser",
            signature="s",
            body=[sender],
        )
        if user in (0, os.geteuid()):
            return
        if self._asking >= _AT_ONCE:
            raise BusError("others are being asked for a password; try again", name=_BUSY)
        self._asking += 1
        try:
            allowed = await self._polkit_allows(
                action, sender, bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
            )
        finally:
            self._asking -= 1
        if not allowed:
            raise BusError(f"only root may do this, and whom polkit lets do {action}", name=DENIED)

    async def _polkit_allows(self, action: str, sender: str, interactive: bool) -> bool:
        """False also where there is no polkit, or it does not know the action."""
        try:
            (answer,) = await self._bus.call(
                destination=names.POLKIT,
                path=names.POLKIT_PATH,
                interface=names.POLKIT_AUTHORITY,
                member="CheckAuthorization",
                signature="(sa{sv})sa{ss}us",
                body=[
                    ["system-bus-name", {"name": Variant("s", sender)}],
                    action,
                    {},
                    _ALLOW_INTERACTION if interactive else 0,
                    "",
                ],
                timeout_s=_INTERACTIVE_S if interactive else _SILENT_S,
            )
        except BusError as error:
            log.debug("%s for %s: %s", action, sender, error)
            return False
        return answer[0] is True
