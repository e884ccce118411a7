# SPDX-License-Identifier: GPL-2.0-or-later
"""A desktop for tests: a daemon that says what it is told to, and a notification service that takes the specification
at its word, on buses of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from clatnm.dbus import names
from clatnm.desktop.memory import MemoryFile
from tests.unit.dbus.rooms import MODULES
from tests.unit.desktop import desktop_told
from tests.unit.private_bus import PrivateBus

SPEAKING = (
    *(f"clatnm.dbus.{name}" for name in MODULES),
    "clatnm.desktop.notifications",
    "clatnm.desktop.notifier",
    "clatnm.desktop.follow",
)
"""The modules that know a D-Bus library, in the order in which they import each other."""
SERVICE = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"
POLL_S = 0.05


@dataclass(frozen=True)
class Desk:
    """Both buses, and the modules imported anew with one library."""

    system: PrivateBus
    session: PrivateBus
    directory: Path
    modules: Mapping[str, ModuleType]

    @property
    def bus(self) -> Any:
        return self.modules["clatnm.dbus.bus"]

    @property
    def following(self) -> Any:
        return self.modules["clatnm.dbus.following"]

    @property
    def notifier(self) -> Any:
        return self.modules["clatnm.desktop.notifier"]

    @property
    def follow(self) -> Any:
        return self.modules["clatnm.desktop.follow"]

    @property
    def told(self) -> Path:
        """What the notifier remembers, written once the notification service has answered."""
        return self.directory / "notify" / "told.json"

    @property
    def quick_watch(self) -> Any:
        return functools.partial(self.following.watch, every_s=POLL_S, reconnect_s=POLL_S)

    @contextlib.asynccontextmanager
    async def daemon(self, *said: dict[str, Any]) -> AsyncIterator[Daemon]:
        """A daemon that says this of its connections."""
        connection = await self.bus.Bus.connect()
        found = Daemon(self.bus, connection, desktop_told.status(*said))
        connection._connection.add_message_handler(found.handle)
        await connection.own_name(names.BUS_NAME)
        try:
            yield found
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def server(self, **choices: Any) -> AsyncIterator[Server]:
        """A notification service."""
        connection = await self.bus.Bus.connect_session()
        found = Server(self.bus, **choices)
        connection._connection.add_message_handler(found.handle)
        await connection.own_name(SERVICE)
        try:
            yield found
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def notifying(self) -> AsyncIterator[None]:
        """`clatnm notify`, with its memory in a file of this desk, and ended by SIGTERM's way."""
        session = await self.bus.Bus.connect_session()
        file = MemoryFile(self.told)
        memory = file.read(bus=await self.notifier._identity(session))
        notifier = self.notifier.Notifier(session, memory, keep=file.write, watch=self.quick_watch)
        work = asyncio.ensure_future(notifier.run())
        try:
            yield
            assert not work.done(), work
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            session.close()


class Daemon:
    """`org.clatnm1` as it is seen from outside."""

    def __init__(self, room: Any, connection: Any, said: Any) -> None:
        self._room = room
        self._connection = connection
        self.said = said
        self.asked = 0

    def says(self, *said: dict[str, Any]) -> None:
        self.said = desktop_told.status(*said)

    def handle(self, message: Any) -> Any:
        if message.member != "Status" or message.path != names.OBJECT_PATH:
            return None
        self.asked += 1
        answer = self.said if isinstance(self.said, str) else json.dumps(self.said)
        return self._room.Message.new_method_return(message, "s", [answer])

    async def signal(self) -> None:
        """Tell that something has changed."""
        path, interface = f"{names.OBJECT_PATH}/connection/1", names.PROPERTIES
        body = ["org.clatnm1.Connection", {}, []]
        message = self._room.Message.new_signal(path, interface, "PropertiesChanged", "sa{sv}as", body)
        await self._connection._connection.send(message)


@dataclass
class Note:
    """A notification as it was asked for."""

    number: int
    title: str
    body: str
    icon: str
    hints: dict[str, Any]


@dataclass
class Server:
    """A notification service that complains (`faults`) of whatever the specification does not have."""

    room: Any
    markup: bool = True
    first: int = 1
    refuse: bool = False
    nonsense: bool = False
    made: list[Note] = field(default_factory=list)
    """All that were ever shown, in order; one that took another's place has its number."""
    seen: dict[int, Note] = field(default_factory=dict)
    """What can be seen now."""
    faults: list[str] = field(default_factory=list)

    def handle(self, message: Any) -> Any:
        if message.interface != SERVICE or message.path != PATH:
            return None
        if self.refuse:
            return self.room.Message.new_error(message, f"{SERVICE}.Error", "not now")
        if self.nonsense:
            return self.room.Message.new_method_return(message, "s", ["?"])
        reply: tuple[str, list[Any]]
        if message.member == "GetCapabilities":
            reply = ("as", [["body", "body-markup"] if self.markup else ["body"]])
        elif message.member == "Notify":
            reply = ("u", [self._notify(message)])
        elif message.member == "CloseNotification":
            if message.body[0] not in self.seen:
                return self.room.Message.new_error(message, f"{SERVICE}.Error.InvalidId", "")
            del self.seen[message.body[0]]
            reply = ("", [])
        else:
            self.faults.append(f"no method {message.member}")
            return None
        return self.room.Message.new_method_return(message, *reply)

    def _notify(self, message: Any) -> int:
        program, replaces, icon, title, body, actions, hints, timeout = self.room.unwrap(message.body)
        known = {note.number for note in self.made}
        self._check(message.signature == "susssasa{sv}i", f"signature {message.signature}")
        self._check(program == "clatnm" and actions == [] and timeout == -1, f"{program} {actions} {timeout}")
        self._check(replaces == 0 or replaces in known, f"{replaces} is none of yours")
        kinds = {key: value.signature for key, value in message.body[6].items()}
        self._check(kinds == {"urgency": "y", "category": "s"}, f"hints {kinds}")
        self._check(title.isprintable() and body.isprintable(), "control characters")
        if self.markup:
            self._check(len(ElementTree.fromstring(f"<body>{body}</body>")) == 0, f"markup in {body}")
        number = replaces or self.first + len(known)
        self.seen[number] = Note(number, title, body, icon, hints)
        self.made.append(self.seen[number])
        return int(number)

    def _check(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    @property
    def titles(self) -> list[str]:
        return [note.title for note in self.made]
