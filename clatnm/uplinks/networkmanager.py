# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager as a source of uplinks: subscribe first, then read everything, then keep up by signals.

Works on messages and a map of objects, not on a proxy an object: active connections come and go faster than they
could be introspected, and a signal lost in between would be lost for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal, unwrap
from clatnm.errors import BusError
from clatnm.log import Message, about
from clatnm.model import ToldMode, Uplink
from clatnm.uplinks import nm_objects, nm_vpns
from clatnm.uplinks.nm_modes import Profile
from clatnm.uplinks.nm_objects import NM, ROOT_PATH, SETTINGS_CONNECTION, Objects
from clatnm.uplinks.nm_types import objects_from, profile_from
from clatnm.uplinks.nm_vpns import VpnGateways

log = logging.getLogger(__name__)

_RETRY_S = 1.0
# How long NetworkManager may take to stop, once it has begun to (it waits for dispatcher scripts).
_LEAVING_S = 10.0
_CHANGED = about(Message.MANAGER_CHANGED, manager="NetworkManager")


class NetworkManager:
    """A `uplinks.Manager`."""

    name = "NetworkManager"

    def __init__(self) -> None:
        self._bus: Bus | None = None
        self._changed: Callable[[], None] = lambda: None
        self._owner = ""
        self._objects: Objects = {}
        self._profiles: dict[str, Profile] = {}
        self._backlog: list[Signal] | None = None
        self._last: tuple[Uplink, ...] = ()
        self._present = False
        self._managed: Collection[str] | None = None
        self._gateways = VpnGateways()
        self._faults: dict[str, frozenset[ToldMode]] = {}
        self._fetching: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def uplinks(self) -> tuple[Uplink, ...]:
        """The active connections; while NetworkManager is away or starting, what it said last still counts."""
        if not self._present:
            return self._last
        fresh = nm_objects.uplinks_from(self._objects, self._profiles, self._gateways.known)
        fresh = nm_objects.merge_waiting(fresh, nm_objects.reading_again(self._objects, self._profiles, self._last))
        if nm_objects.is_starting(self._objects):
            fresh = nm_objects.merge_waiting(fresh, self._last)
        self._last = fresh
        self._complain(fresh)
        return fresh

    def managed(self) -> Collection[str] | None:
        """The interfaces that it manages, with those that it managed last while it is away or starting; None until it
        has said so, where it runs."""
        if self._present:
            found = nm_objects.managed(self._objects)
            starting = nm_objects.is_starting(self._objects)
            self._managed = found.union(self._managed or ()) if starting else found
        return self._managed

    def _complain(self, uplinks: tuple[Uplink, ...]) -> None:
        """Log modes that do not count: once, for as long as they stand there, however often the connection goes."""
        for uplink in uplinks:
            faults = frozenset(told for told in uplink.told_modes if told.mode is None)
            for told in faults - self._faults.get(uplink.uuid, frozenset()):
                extra = about(Message.MODE_IGNORED, connection=uplink.uuid, uplink=uplink.interface, place=told.source)
                words = (uplink.name, told.text, told.source, told.fault)
                log.warning("connection %r: %r in %s is ignored (%s)", *words, extra=extra)
            if faults:
                self._faults[uplink.uuid] = faults
            else:
                self._faults.pop(uplink.uuid, None)

    async def attach(self, bus: Bus, changed: Callable[[], None]) -> None:
        """Follow NetworkManager over `bus`, whether it runs already or appears later."""
        self._away()
        self._bus, self._changed, self._owner = bus, changed, ""
        bus.on_signal(lambda signal: self._on_signal(bus, signal))
        await self._gateways.attach(bus)
        self._owner = await bus.follow(NM)
        if not self._owner:
            log.info("NetworkManager is not running; waiting for it", extra=_CHANGED)
            self._managed = self._managed or frozenset()
            return
        await self._load(bus)

    def _on_signal(self, bus: Bus, signal: Signal) -> None:
        if bus is not self._bus:
            return
        # Anybody on the bus can send a signal that looks like this one, or like NetworkManager's.
        if signal.sender == names.DBUS and signal.member == "NameOwnerChanged" and signal.body[0] == NM:
            self._on_owner(bus, str(signal.body[2]))
        elif nm_vpns.is_news(signal):
            self._spawn(self._gateways.take(bus, signal, self._changed))
        elif signal.sender != self._owner:
            return
        elif signal.interface == SETTINGS_CONNECTION and signal.member == "Updated":
            if signal.path in self._profiles or signal.path in self._fetching:
                self._spawn(self._fetch_profile(bus, signal.path))
        elif self._backlog is not None:
            self._backlog.append(signal)
        else:
            if self._present and nm_objects.is_leaving(self._objects, signal):
                self._away()
                self._spawn(self._load_unless_gone(bus))
            if nm_objects.apply(self._objects, signal):
                self._after_change(bus)

    def _on_owner(self, bus: Bus, owner: str) -> None:
        """NetworkManager came or went. Object numbers start over, so nothing of the old map is kept."""
        self._away()
        self._owner = owner
        what = "is back" if owner else "went away; its connections stay as they are"
        log.info("NetworkManager %s", what, extra=_CHANGED)
        if owner:
            self._spawn(self._load(bus))

    def _away(self) -> None:
        """From here on, and until all is known again, what is known now counts."""
        self._last, self._managed = self.uplinks(), self.managed()
        self._present = False

    async def _load_unless_gone(self, bus: Bus) -> None:
        if await self._worth_another_try(bus, self._owner, after_s=_LEAVING_S):
            await self._load(bus)

    async def _load(self, bus: Bus) -> None:
        """Read everything. Signals that arrive meanwhile are applied afterwards, in order.

        Until the profiles are known too, the last known connections stand: none may seem gone for a moment.
        """
        owner = self._owner
        while True:
            self._profiles.clear()
            self._backlog = []
            try:
                reply = await bus.call(
                    destination=NM, path=ROOT_PATH, interface=names.OBJECT_MANAGER, member="GetManagedObjects"
                )
                if not reply or not isinstance(reply[0], dict):
                    raise BusError("its objects are no map")
                break
            except BusError as error:
                log.debug("NetworkManager does not tell its objects yet: %s", error)
                if not await self._worth_another_try(bus, owner, after_s=_RETRY_S):
                    return
        if not self._is_current(bus, owner):
            return
        self._objects = objects_from(unwrap(reply[0]))
        backlog, self._backlog = self._backlog, None
        for signal in backlog or ():
            nm_objects.apply(self._objects, signal)
        await asyncio.gather(*(self._fetch_profile(bus, path) for path in nm_objects.active_profiles(self._objects)))
        if self._is_current(bus, owner):
            self._present = True
            self._after_change(bus)

    def _is_current(self, bus: Bus, owner: str) -> bool:
        return bus is self._bus and owner == self._owner

    async def _worth_another_try(self, bus: Bus, owner: str, *, after_s: float) -> bool:
        """Wait. False when the bus or NetworkManager is another one by then."""
        closed = asyncio.ensure_future(bus.closed())
        await asyncio.wait({closed}, timeout=after_s)
        alive = not closed.done()
        closed.cancel()
        return alive and self._is_current(bus, owner)

    def _after_change(self, bus: Bus) -> None:
        wanted = nm_objects.active_profiles(self._objects)
        for path in [path for path in self._profiles if path not in wanted]:
            del self._profiles[path]
        for path in wanted - self._profiles.keys() - self._fetching:
            self._spawn(self._fetch_profile(bus, path))
        self._changed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch_profile(self, bus: Bus, path: str) -> None:
        owner = self._owner
        profile: Profile | None = None
        self._fetching.add(path)
        try:
            while profile is None:
                try:
                    reply = await bus.call(
                        destination=NM, path=path, interface=SETTINGS_CONNECTION, member="GetSettings"
                    )
                    profile = profile_from(unwrap(reply[0]) if reply else {})
                except BusError as error:
                    log.debug("profile %s cannot be read: %s", path, error)
                    if error.name:
                        # Deleted meanwhile, or private to another user: then nobody can have opted out in it.
                        profile = {}
                    elif not await self._worth_another_try(bus, owner, after_s=_RETRY_S):
                        return
        finally:
            self._fetching.discard(path)
        if self._is_current(bus, owner):
            self._profiles[path] = profile
            self._changed()
