# SPDX-License-Identifier: GPL-2.0-or-later
"""One object a connection, `org.clatnm1.Connection` below `/org/clatnm1`, and the signals that tell what changes.

What is wanted is compared with what the bus has been told, and the difference is told: nothing where nothing changed.
"""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, LibraryError, Variant, library_service
from clatnm.dbus.properties import PROPERTIES, Told, values
from clatnm.errors import BusError

log = logging.getLogger(__name__)

# The bus takes so many of our messages before we wait for it: both libraries end the connection when it is full.
_AT_ONCE = 8
_MAX_DECISIONS = 100
# One change seldom comes alone, and a translator that is to start comes before those who only watch.
_LATER_S = 0.02

_Key = tuple[str, str]
"""Interface and UUID: another connection on the same interface is another object."""


class Announcer(Protocol):
    """The manager object, which has the signals and the list."""

    def ConnectionAdded(self, path: str) -> Any:  # noqa: N802
        """There is one more."""

    def ConnectionRemoved(self, path: str) -> Any:  # noqa: N802
        """It is gone."""

    def Decision(self, text: str) -> Any:  # noqa: N802
        """A line of the log."""

    def emit_properties_changed(self, changed: dict[str, Any]) -> None:
        """The library's."""


@contextlib.contextmanager
def answering(member: str) -> Iterator[None]:
    """Around what works an answer out: a bug in it is told in the log, and whoever asked hears only that there is one.

    Both libraries would send him a traceback.
    """
    try:
        yield
    except Exception as error:
        log.exception("answering %s", member)
        raise LibraryError(names.ERROR_FAILED, "it failed; the daemon's log says how") from error


# The library reads D-Bus signatures from annotations, see service.py.
class _Connection(library_service.ServiceInterface):  # type: ignore[misc]
    def __init__(self, path: str, shown: Mapping[str, Any], explain: Callable[[str], str]) -> None:
        super().__init__(names.CONNECTION_INTERFACE)
        self.path = path
        self.shown = shown
        self._explain = explain

    @library_service.method()  # type: ignore[untyped-decorator]
    def Explain(self) -> "s":  # type: ignore[name-defined]  # noqa: F821, N802
        with answering("Explain"):
            found = json.loads(self._explain(self.shown["Uuid"]))
        for told in found:
            if told["interface"] == self.shown["Interface"]:
                return json.dumps(told)
        raise LibraryError(names.ERROR_GONE, "the connection is gone")

    def change(self, shown: Mapping[str, Any]) -> None:
        """Have these values, and tell which of them are new."""
        changed = {name: value for name, value in shown.items() if value != self.shown[name]}
        self.shown = shown
        self.emit_properties_changed(changed)


def _getter(name: str, signature: str) -> Any:
    """A property of `_Connection` as the library wants it: named and annotated."""

    def value(self: _Connection) -> Any:
        return self.shown[name]

    value.__name__ = name
    value.__annotations__ = {"return": signature}
    return library_service.dbus_property(access=library_service.PropertyAccess.READ)(value)


for _property in PROPERTIES:
    setattr(_Connection, _property.name, _getter(_property.name, _property.signature))


class Objects:
    """`publish` says what there is; the bus hears of it in a task, without anybody waiting for it.

    `explain`: what `clatnm explain --json` prints about a UUID.
    """

    def __init__(self, bus: Bus, *, explain: Callable[[str], str]) -> None:
        self._bus = bus
        self._explain = explain
        self._wanted: dict[_Key, dict[str, Any]] = {}
        self._objects: dict[_Key, _Connection] = {}
        self._listed: list[str] = []
        self._decisions: deque[str] = deque(maxlen=_MAX_DECISIONS)
        self._count = 0
        self._telling: asyncio.Task[None] | None = None
        self.announcer: Announcer | None = None

    def paths(self) -> list[str]:
        """The objects that there are, oldest first."""
        return [connection.path for connection in self._objects.values()]

    def publish(self, told: Iterable[Told], decisions: Iterable[str] = ()) -> None:
        """These connections, and no others, are there now; and this has just been decided."""
        shown = map(values, told)
        self._wanted = {(each["Interface"], each["Uuid"]): each for each in shown}
        self._decisions.extend(decisions)
        if (self._telling is None or self._telling.done()) and self._difference() is not None:
            self._telling = asyncio.ensure_future(self._tell())

    async def settled(self) -> None:
        """Return when the bus has heard all of it, or is dead."""
        if self._telling is not None:
            await self._telling

    async def _tell(self) -> None:
        try:
            await asyncio.sleep(_LATER_S)
            while (step := self._difference()) is not None:
                for _ in range(_AT_ONCE):
                    if step is not None:
                        step()
                        step = self._difference()
                # Other things may be wanted afterwards.
                await self._bus.drain()
        except BusError as error:
            log.debug("nobody could be told: %s", error)
        except Exception:  # a bug in here costs what others see, never the translators
            log.exception("telling the bus what has changed")

    def _difference(self) -> Callable[[], None] | None:
        """What takes away the first difference between what is wanted and what the bus has been told; None: no more."""
        for key in self._objects:
            if key not in self._wanted:
                return partial(self._remove, key)
        for key, shown in self._wanted.items():
            there = self._objects.get(key)
            if there is None:
                return partial(self._add, key, shown)
            if there.shown != shown:
                return partial(there.change, shown)
        if self._listed != self.paths():
            return self._list
        return self._decide if self._decisions else None

    def _add(self, key: _Key, shown: Mapping[str, Any]) -> None:
        self._count += 1
        path = f"{names.CONNECTION_PATH}/{self._count}"
        self._objects[key] = connection = _Connection(path, shown, self._explain)
        self._bus.export(path, connection)
        held = {row.name: Variant(row.signature, shown[row.name]) for row in PROPERTIES}
        # Where the specification wants it, at the object manager; the libraries send one from the object itself.
        self._emit("InterfacesAdded", "oa{sa{sv}}", path, {names.CONNECTION_INTERFACE: held})
        if self.announcer is not None:
            self.announcer.ConnectionAdded(path)

    def _remove(self, key: _Key) -> None:
        path = self._objects.pop(key).path
        self._bus.unexport(path)
        self._emit("InterfacesRemoved", "oas", path, [names.CONNECTION_INTERFACE])
        if self.announcer is not None:
            self.announcer.ConnectionRemoved(path)

    def _list(self) -> None:
        self._listed = self.paths()
        if self.announcer is not None:
            self.announcer.emit_properties_changed({"Connections": self._listed})

    def _decide(self) -> None:
        text = self._decisions.popleft()
        if self.announcer is not None:
            self.announcer.Decision(text)

    def _emit(self, member: str, signature: str, *body: Any) -> None:
        self._bus.emit(
            path=names.OBJECT_PATH, interface=names.OBJECT_MANAGER, member=member, signature=signature, body=body
        )
