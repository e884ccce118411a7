# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own object on the bus: `org.clatnm1.Manager` at `/org/clatnm1`."""

import logging
from collections.abc import Awaitable, Callable

from clatnm import __version__
from clatnm.dbus import names
from clatnm.dbus.bus import Bus, library_service
from clatnm.errors import BusError

log = logging.getLogger(__name__)

_NO_DAEMON = ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner")


# The library reads D-Bus signatures from annotations (no annotation: no result), which is not what a type checker
# takes them for, and not in the form that `from __future__ import annotations` would give them.
class _Manager(library_service.ServiceInterface):  # type: ignore[misc]
    def __init__(self, status: Callable[[], Awaitable[str]], poke: Callable[[str], None]) -> None:
        super().__init__(names.MANAGER_INTERFACE)
        self._status = status
        self._poke = poke

    @library_service.method()  # type: ignore[untyped-decorator]
    async def Status(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        return await self._status()

    @library_service.method()  # type: ignore[untyped-decorator]
    def Poke(self, why: "s"):  # type: ignore[name-defined, no-untyped-def]  # noqa: F821, N802
        self._poke(why)

    @library_service.dbus_property(access=library_service.PropertyAccess.READ)  # type: ignore[untyped-decorator]
    def Version(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        return __version__


async def offer(bus: Bus, *, status: Callable[[], Awaitable[str]], poke: Callable[[str], None]) -> None:
    """Export the manager object on `bus` and take our name. AlreadyRunningError when another daemon has it.

    `status` gives the JSON text of `clatnm status --json`; `poke` asks the daemon to look again. Where the bus does
    not let us have the name, translating goes on; only nobody can ask about it.
    """
    bus.export(names.OBJECT_PATH, _Manager(status, poke))
    try:
        await bus.own_name(names.BUS_NAME)
    except BusError as error:
        log.warning("%s; `clatnm status` will not work (install org.clatnm1.conf into dbus-1/system.d)", error.what)


async def ask_status() -> str:
    """The running daemon's status as JSON text. BusError when there is no bus or no daemon."""
    bus = await Bus.connect()
    try:
        reply = await bus.call(
            destination=names.BUS_NAME, path=names.OBJECT_PATH, interface=names.MANAGER_INTERFACE, member="Status"
        )
    except BusError as error:
        if error.name in _NO_DAEMON:
            raise BusError("the clatnm daemon does not run", hint="systemctl start clatnm", name=error.name) from error
        raise
    finally:
        bus.close()
    return str(reply[0])
