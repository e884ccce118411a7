# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm notify`: what the daemon says becomes notifications of this session, each once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.bus import Bus
from clatnm.dbus.following import Following, Tell
from clatnm.dbus.following import watch as watch_daemon
from clatnm.desktop import state
from clatnm.desktop.memory import Memory, MemoryFile, Shown
from clatnm.desktop.notifications import Notifications
from clatnm.desktop.state import Network
from clatnm.desktop.teller import Act, Patience, Show, Withdraw, acts
from clatnm.desktop.words import notice, pango, plain
from clatnm.errors import AlreadyRunningError, BusError
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

NAME = "org.clatnm1.Notify"
"""On the session bus: a second one in the same session would say everything twice."""

_AGAIN_S = 60.0


class Notifier:
    """`run` returns when the session's bus has gone. Every event only has it look again."""

    def __init__(
        self, session: Bus, memory: Memory, *, keep: Callable[[Memory], None], watch: Callable[[Tell], Following]
    ) -> None:
        self._memory = memory
        self._keep = keep
        self._wake = asyncio.Event()
        self._session = session
        self._notifications = Notifications(session, changed=self._server_changed)
        self._watch = watch(self._tell)
        self._patience = Patience()
        self._networks: tuple[Network, ...] | None = None
        self._mute_until = 0.0
        self._changed = False
        self._complained = False

    async def run(self) -> None:
        """BusError when the session's bus goes away before anything can be done."""
        await self._notifications.attach()
        watching = asyncio.ensure_future(self._watch.run())
        closed = asyncio.ensure_future(self._session.closed())
        for task in (watching, closed):
            task.add_done_callback(lambda _: self._wake.set())
        try:
            while not closed.done():
                self._wake.clear()
                next_at = await self._look()
                with contextlib.suppress(asyncio.TimeoutError):
                    await wait_for(self._wake.wait(), None if next_at is None else max(0.0, next_at - _now()))
                if watching.done():
                    watching.result()  # raises what ended it
        finally:
            closed.cancel()
            watching.cancel()
            await asyncio.wait({closed, watching})

    def _tell(self, told: Any) -> None:
        networks = None if told is None else state.networks(told)
        if networks != self._networks:
            self._networks = networks
            self._wake.set()

    def _server_changed(self) -> None:
        self._changed = True
        self._mute_until = 0.0
        self._wake.set()

    async def _look(self) -> float | None:
        """Do what is to be done now; when to look again by time alone."""
        # Without the daemon nobody knows how IPv4 is: what can be seen stays.
        if self._networks is None:
            return None
        now = _now()
        settled = self._patience.settled(self._networks, tuple(self._memory.shown), now)
        times = [self._patience.next_at(now)]
        has_ipv4 = state.has_ipv4(self._networks)
        todo = acts(settled, self._memory, has_ipv4=has_ipv4)
        if todo and now >= self._mute_until:
            self._changed = False
            try:
                for act in todo:
                    await self._do(act)
            except BusError as error:
                self._complain(error)
                # Another server that has come meanwhile has had no chance yet.
                self._mute_until = 0.0 if self._changed else now + _AGAIN_S
        if acts(settled, self._memory, has_ipv4=has_ipv4):
            times.append(max(self._mute_until, now))
        return min((at for at in times if at is not None), default=None)

    async def _do(self, act: Act) -> None:
        if isinstance(act, Withdraw):
            await self._withdraw(act.uuid)
        else:
            await self._show(act)
        self._keep(self._memory)

    async def _show(self, act: Show) -> None:
        escape = pango if await self._notifications.markup() else plain
        text = notice(act.network, escape)
        number, server = await self._notifications.show(text, replaces=self._number(act.key.uuid))
        self._complained = False
        self._memory = self._memory.with_shown(Shown(key=act.key, number=number, server=server))
        log.info("%s “%s”: told: %s", act.network.interface, plain(act.network.name), text.title)

    async def _withdraw(self, uuid: str) -> None:
        number = self._number(uuid)
        if number:
            await self._notifications.withdraw(number)
        self._memory = self._memory.without(uuid)

    def _number(self, uuid: str) -> int:
        """Of the notification that this connection has; 0 when the server there is does not know it."""
        shown = self._memory.shown.get(uuid)
        return shown.number if shown and shown.server and shown.server == self._notifications.server else 0

    def _complain(self, error: BusError) -> None:
        if not self._complained:
            log.warning("no notification can be shown: %s; it will be when there is a notification service", error)
        self._complained = True


async def serve(file: MemoryFile) -> None:
    """Until SIGTERM or SIGINT. BusError when there is no session bus or it goes away; AlreadyRunningError."""
    work = asyncio.ensure_future(_serve(file))
    # Before anybody can see by our name that we are there.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _serve(file: MemoryFile) -> None:
    session = await Bus.connect_session()
    try:
        try:
            await session.own_name(NAME)
        except AlreadyRunningError as error:
            raise AlreadyRunningError("notifications of clatnm are made in this session already") from error
        try:
            memory = file.read(bus=await _identity(session))
            await Notifier(session, memory, keep=file.write, watch=watch_daemon).run()
        except BusError as error:
            if error.name:  # the bus itself has said no
                raise
            log.debug("%s", error)
    finally:
        session.close()
    raise BusError("the session bus went away", hint="the session has ended?")


async def _identity(bus: Bus) -> str:
    """The GUID of the bus, another one for each that is ever started."""
    reply = await bus.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")
    return str(reply[0]) if reply else ""


def _now() -> float:
    return asyncio.get_running_loop().time()
