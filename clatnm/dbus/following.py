# SPDX-License-Identifier: GPL-2.0-or-later
"""Following the daemon as its clients do: `Status` again whenever it says that something has changed.

The daemon, the bus, or both may go and come back meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.dbus.service import call
from clatnm.errors import BusError
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

SELDOM_S = 30.0
"""So often it is asked although it has said nothing: a signal that is lost delays, and no more."""
_RECONNECT_S = 1.0
_PAUSE_S = 0.2
_NO_DAEMON = "the clatnm daemon does not run (systemctl start clatnm)"

Tell = Callable[[Any], None]
"""Called with a parsed `status --json`, or with None when nobody answers any more."""


def parsed(answer: Any) -> Any:
    """What the daemon answered to Status. BusError when it is no JSON."""
    try:
        return json.loads(answer)
    except (ValueError, TypeError, RecursionError) as error:
        raise BusError("the clatnm daemon's answer makes no sense", hint="is it of another version?") from error


class Following:
    """`told` gets each answer, and raises BusError for one that makes no sense; `absent` why there is none, once, until
    the next one; `decided` each line that the daemon's log has meanwhile.

    `patient`: no bus to begin with is waited for, too.
    """

    def __init__(
        self,
        *,
        told: Callable[[str], None],
        absent: Callable[[str], None],
        decided: Callable[[str], None] = lambda _: None,
        every_s: float = SELDOM_S,
        reconnect_s: float = _RECONNECT_S,
        patient: bool = False,
    ) -> None:
        self._told = told
        self._absent = absent
        self._decided = decided
        self._every_s = every_s
        self._reconnect_s = reconnect_s
        self._patient = patient
        self._changed = asyncio.Event()
        self._why = ""

    async def run(self) -> None:
        """Until cancelled. BusError when there is no bus to begin with, and nobody is patient."""
        while True:
            try:
                bus = await Bus.connect()
            except BusError as error:
                if not self._patient:
                    raise
                self._missed(error)
            else:
                self._patient = True
                try:
                    await self._follow(bus)
                except BusError as error:
                    self._missed(error)
                finally:
                    bus.close()
            await asyncio.sleep(self._reconnect_s)

    async def _follow(self, bus: Bus) -> None:
        """Until the bus is dead, which is a BusError."""
        bus.on_signal(self._hear)
        await bus.follow(names.BUS_NAME)
        closed = asyncio.ensure_future(bus.closed())
        closed.add_done_callback(lambda _: self._changed.set())
        try:
            while not closed.done():
                self._changed.clear()
                await self._ask(bus)
                pause_s = min(_PAUSE_S, self._every_s)
                await asyncio.sleep(pause_s)  # changes come in company
                with contextlib.suppress(asyncio.TimeoutError):
                    await wait_for(self._changed.wait(), self._every_s - pause_s)
        finally:
            closed.cancel()
        raise BusError("the system bus went away")

    async def _ask(self, bus: Bus) -> None:
        try:
            self._told(await call(bus, "Status"))
            self._why = ""
        except BusError as error:
            self._missed(error)

    def _missed(self, error: BusError) -> None:
        # The daemon's name comes back in a signal.
        why = _NO_DAEMON if error.name in names.NO_DAEMON else str(error)
        if why != self._why:
            self._why = why
            log.debug("%s", why)
            self._absent(why)

    def _hear(self, signal: Signal) -> None:
        # What else is heard means only: look again.
        if (signal.interface, signal.member) == (names.MANAGER_INTERFACE, "Decision"):
            for text in signal.body:
                self._decided(str(text))
        self._changed.set()


def watch(tell: Tell, *, every_s: float = SELDOM_S, reconnect_s: float = _RECONNECT_S) -> Following:
    """Following for those who want to know how things are, and not why they do not know it. It ends never."""
    return Following(
        told=lambda answer: tell(parsed(answer)),
        absent=lambda _: tell(None),
        every_s=every_s,
        reconnect_s=reconnect_s,
        patient=True,
    )
