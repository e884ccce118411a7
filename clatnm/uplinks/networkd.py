# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd-networkd as a source of uplinks, and of the NAT64 prefixes it has heard.

Its signals tell little, and nothing about most of what is in its description of the links. So each only means that the
description is to be read again: one call, whatever the number of links.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.errors import BusError, HostError
from clatnm.kernel.inotify import DirectoryWatch
from clatnm.log import Message, about
from clatnm.model import PrefixCandidate, Uplink
from clatnm.uplinks.networkd_files import DIRECTORIES, NetworkFiles
from clatnm.uplinks.networkd_objects import (
    MANAGER,
    NAME,
    NETWORKD,
    NETWORKD_PATH,
    NetworkdLink,
    links_from,
    merge,
    uplink,
)

log = logging.getLogger(__name__)

_RETRY_S = 1.0
# One change of a link comes in several signals: those in between cost one more reading.
_PAUSE_S = 0.05
_CANNOT = "org.freedesktop.DBus.Error.UnknownMethod"


class Networkd:
    """A `uplinks.Manager`, and a `discovery.manager.Teller`."""

    name = NAME

    def __init__(self, *, directories: Sequence[Path] = DIRECTORIES, backends: tuple[str, ...] = ()) -> None:
        self._bus: Bus | None = None
        self._changed: Callable[[], None] = lambda: None
        self._owner = ""
        self._links: tuple[NetworkdLink, ...] = ()
        self._files = NetworkFiles(directories, backends=backends)
        self._undecided: frozenset[str] = frozenset()
        self._known = False
        self._stale = False
        self._reader: asyncio.Task[None] | None = None
        self._watch: DirectoryWatch | None = None
        self._told: tuple[Uplink, ...] = ()
        self._ours: Collection[str] | None = None

    def uplinks(self) -> tuple[Uplink, ...]:
        """The links that networkd manages; while it is away or starting, those it managed last still count."""
        return tuple(uplink(link, self._files.settings(link.network_file)) for link in self._links)

    def managed(self) -> Collection[str] | None:
        """The interfaces that it manages, or may be about to; None until that has been read, where networkd runs."""
        return {link.interface for link in self._links} | self._undecided if self._known else None

    def prefixes(self, interface: str) -> tuple[PrefixCandidate, ...] | None:
        """The NAT64 prefixes that networkd knew on a link when it was read last; None when it does not manage it."""
        return next((link.prefixes for link in self._links if link.interface == interface), None)

    def look_again(self) -> None:
        """Read the description again, soon: not everything that changes in it comes with a signal."""
        self._stale = True
        if self._owner and (self._reader is None or self._reader.done()):
            self._reader = asyncio.ensure_future(self._read())

    async def attach(self, bus: Bus, changed: Callable[[], None]) -> None:
        """Follow networkd over `bus`, whether it runs already or appears later."""
        self._rest()
        self._bus, self._changed, self._owner = bus, changed, ""
        self._watch_files()
        bus.on_signal(lambda signal: self._on_signal(bus, signal))
        self._owner = await bus.follow(NETWORKD)
        if not self._owner:
            log.debug("systemd-networkd is not running")
            self._know()
            return
        self.look_again()

    def close(self) -> None:
        """Stop following."""
        self._rest()
        self._bus = None
        self._owner = ""
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def _rest(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def _on_signal(self, bus: Bus, signal: Signal) -> None:
        if bus is not self._bus:
            return
        # Anybody on the bus can send a signal that looks like this one, or like networkd's.
        if signal.sender == names.DBUS and signal.member == "NameOwnerChanged" and signal.body[0] == NETWORKD:
            self._rest()
            self._owner = str(signal.body[2])
            what = "is back" if self._owner else "went away; its links stay as they are"
            log.info("systemd-networkd %s", what, extra=about(Message.MANAGER_CHANGED, manager=NAME))
            self.look_again()
        elif signal.sender == self._owner:
            self.look_again()

    async def _read(self) -> None:
        """Read the description until it is not older than the last signal."""
        bus, owner = self._bus, self._owner
        assert bus is not None
        while self._stale:
            self._stale = False
            try:
                # Not by its well-known name: that would start it, where it has just been stopped.
                reply = await bus.call(destination=owner, path=NETWORKD_PATH, interface=MANAGER, member="Describe")
                fresh = links_from(str(reply[0]) if reply else "")
            except (BusError, ValueError) as error:
                if isinstance(error, BusError) and error.name == _CANNOT:
                    told = about(Message.MANAGER_NOT_UNDERSTOOD, manager=NAME)
                    log.warning("this systemd-networkd does not describe its links (systemd 251 does)", extra=told)
                    self._know()
                    return
                log.debug("systemd-networkd does not tell its links: %s", error)
                self._stale = True
                closed = asyncio.ensure_future(bus.closed())
                await asyncio.wait({closed}, timeout=_RETRY_S)
                if closed.done():
                    return
                closed.cancel()
                continue
            self._undecided = frozenset(link.interface for link in fresh if not link.decided)
            self._take(merge(fresh, self._links))
            await asyncio.sleep(_PAUSE_S)

    def _know(self) -> None:
        """What is known of its links is all there is to know now."""
        if not self._known:
            self._known = True
            self._changed()

    def _take(self, links: tuple[NetworkdLink, ...]) -> None:
        before, self._links = (self._links, self._ours), links
        first, self._known = not self._known, True
        self._files.keep(link.network_file for link in links)
        self._watch_places()
        self._ours = self.managed()
        if self._is_news() or (links, self._ours) != before or first:
            self._changed()

    def _is_news(self) -> bool:
        before, self._told = self._told, self.uplinks()
        return self._told != before

    # The files

    def _watch_files(self) -> None:
        if self._watch is None:
            try:
                self._watch = DirectoryWatch()
            except HostError as error:
                log.debug("%s; changes to .network files are noticed with the next other change", error)
                return
            asyncio.get_running_loop().add_reader(self._watch.fileno(), self._on_files)
        self._watch_places()

    def _watch_places(self) -> None:
        if self._watch is not None:
            try:
                self._watch.add(self._files.places(link.network_file for link in self._links))
            except HostError as error:
                log.debug("%s", error)

    def _on_files(self) -> None:
        assert self._watch is not None
        self._watch.drain()
        # A new directory of drop-ins is watched before it is looked into, so nothing is missed in between.
        self._watch_places()
        if self._is_news():
            self._changed()
