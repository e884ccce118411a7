# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own object on the bus: `org.clatnm1.Manager` at `/org/clatnm1`, and those of the connections below it."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from clatnm import __version__
from clatnm.dbus import names
from clatnm.dbus.authority import DENIED, Authority, Guarded
from clatnm.dbus.bus import Bus, LibraryError, library_service
from clatnm.dbus.objects import Objects, answering
from clatnm.dbus.properties import Told
from clatnm.errors import BusError, NoDaemonError
from clatnm.log import Message, about

log = logging.getLogger(__name__)


class Answers(Protocol):
    """Who answers for the daemon; all texts but those of `poke` and `reload` are JSON."""

    async def status(self) -> str:
        """What `clatnm status --json` prints."""

    def explain(self, connection: str) -> str:
        """What `clatnm explain --json` prints about the connections of this name, UUID or interface: a list."""

    def world(self) -> str:
        """The world as one line of a trace, with the translators that run."""

    def poke(self, why: str) -> None:
        """Look again."""

    def reload(self) -> str:
        """Read the configuration again; what is wrong with it, or nothing."""

    def connections(self) -> Iterable[Told]:
        """Every connection and static translator, as `status` has it; counters are not looked at."""


# The library reads D-Bus signatures from annotations (no annotation: no result), which is not what a type checker
# takes them for, and not in the form that `from __future__ import annotations` would give them.
class _Manager(library_service.ServiceInterface):  # type: ignore[misc]
    def __init__(self, answers: Answers, objects: Objects) -> None:
        super().__init__(names.MANAGER_INTERFACE)
        self._answers = answers
        self._objects = objects
        self._turn = asyncio.Lock()
        self._next_status: asyncio.Future[str] | None = None

    @library_service.method()  # type: ignore[untyped-decorator]
    async def Status(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        # However many ask while one answer is worked out, all of them get the next one.
        if self._next_status is None:
            self._next_status = asyncio.ensure_future(self._status())
        return await asyncio.shield(self._next_status)

    async def _status(self) -> str:
        async with self._turn:
            self._next_status = None
            with answering("Status"):
                return await self._answers.status()

    @library_service.method()  # type: ignore[untyped-decorator]
    def Explain(self, connection: "s") -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        with answering("Explain"):
            return self._answers.explain(connection)

    @library_service.method()  # type: ignore[untyped-decorator]
    def World(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        with answering("World"):
            return self._answers.world()

    @library_service.method()  # type: ignore[untyped-decorator]
    def Poke(self, why: "s"):  # type: ignore[name-defined, no-untyped-def]  # noqa: F821, N802
        raise _unasked()

    @library_service.method()  # type: ignore[untyped-decorator]
    def Reload(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        raise _unasked()

    @library_service.dbus_property(access=library_service.PropertyAccess.READ)  # type: ignore[untyped-decorator]
    def Version(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        return __version__

    @library_service.dbus_property(access=library_service.PropertyAccess.READ)  # type: ignore[untyped-decorator]
    def ApiVersion(self) -> "u":  # type: ignore[name-defined]  # noqa: F821, N802
        return names.API_VERSION

    @library_service.dbus_property(access=library_service.PropertyAccess.READ)  # type: ignore[untyped-decorator]
    def Connections(self) -> "ao":  # type: ignore[name-defined]  # noqa: F821, N802
        return self._objects.paths()

    @library_service.signal()  # type: ignore[untyped-decorator]
    def ConnectionAdded(self, path: Any) -> "o":  # type: ignore[name-defined]  # noqa: F821, N802
        return path

    @library_service.signal()  # type: ignore[untyped-decorator]
    def ConnectionRemoved(self, path: Any) -> "o":  # type: ignore[name-defined]  # noqa: F821, N802
        return path

    @library_service.signal()  # type: ignore[untyped-decorator]
    def Decision(self, text: Any) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        return text


def _unasked() -> Exception:
    """Calls of these methods do not come here, see `_guarded`; one that did would not have been checked."""
    return LibraryError(DENIED, "name the interface")  # type: ignore[no-any-return]


def _guarded(answers: Answers) -> tuple[Guarded, ...]:
    """What makes the daemon do something."""

    def poke(arguments: Sequence[Any]) -> Sequence[Any]:
        answers.poke(arguments[0])
        return ()

    def reload(arguments: Sequence[Any]) -> Sequence[Any]:
        return (answers.reload(),)

    return (
        Guarded(member="Poke", takes="s", gives="", action="org.clatnm1.poke", answer=poke),
        Guarded(member="Reload", takes="", gives="s", action="org.clatnm1.reload", answer=reload),
    )


async def offer(bus: Bus, answers: Answers) -> Objects:
    """Export our objects on `bus` and take our name. AlreadyRunningError when another daemon has it.

    Where the bus does not let us have the name, translating goes on; only nobody can ask about it.
    """
    objects = Objects(bus, explain=answers.explain)
    objects.announcer = manager = _Manager(answers, objects)
    Authority(bus, path=names.OBJECT_PATH, interface=names.MANAGER_INTERFACE, methods=_guarded(answers))
    bus.export(names.OBJECT_PATH, manager)
    # Whoever sees our name come finds everything there.
    objects.publish(answers.connections())
    await objects.settled()
    try:
        await bus.own_name(names.BUS_NAME)
    except BusError as error:
        hint = "`clatnm status` will not work (install org.clatnm1.conf into dbus-1/system.d)"
        log.warning("%s; %s", error.what, hint, extra=about(Message.NAME_REFUSED))
    return objects


async def ask(member: str, *arguments: str) -> str:
    """What the running daemon answers to a method that takes and gives texts. BusError: no bus or no daemon."""
    bus = await Bus.connect()
    try:
        return str(await call(bus, member, *arguments))
    except BusError as error:
        if error.name in names.NO_DAEMON:
            raise NoDaemonError("the clatnm daemon does not run", hint="systemctl start clatnm") from error
        raise
    finally:
        bus.close()


async def call(bus: Bus, member: str, *arguments: str) -> Any:
    """The value that the daemon on `bus` answers to a method that takes texts. BusError, also when it is not one."""
    reply = await bus.call(
        destination=names.BUS_NAME,
        path=names.OBJECT_PATH,
        interface=names.MANAGER_INTERFACE,
        member=member,
        signature="s" * len(arguments),
        body=arguments,
    )
    if len(reply) != 1:
        raise BusError("the clatnm daemon's answer makes no sense", hint="is it of another version?")
    return reply[0]
