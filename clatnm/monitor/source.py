# SPDX-License-Identifier: GPL-2.0-or-later
"""Following the daemon: `Status` again whenever it says that something has changed, and every so often for the rates.

The daemon, the bus, or both may go and come back meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from clatnm import status
from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.dbus.service import call
from clatnm.errors import BusError
from clatnm.monitor.rates import Sample, sample

_RECONNECT_S = 1.0
_NO_DAEMON = "the clatnm daemon does not run (systemctl start clatnm)"


class View(Protocol):
    """Who is told."""

    def sampled(self, now: Sample) -> None:
        """What there is."""

    def decided(self, text: str) -> None:
        """A line of the daemon's log, on one line and without terminal controls."""

    def absent(self, why: str) -> None:
        """Nobody answers, until the next sample; said once."""


class Source:
    """`interval_s`: ask so often although nothing has changed; None: never. `clock` in seconds."""

    def __init__(self, view: View, *, interval_s: float | None, clock: Callable[[], float]) -> None:
        self._view = view
        self._interval_s = interval_s
        self._clock = clock
        self._changed = asyncio.Event()
        self._why = ""
        self._reached = False

    async def run(self) -> None:
        """Until cancelled. BusError when there is no bus to begin with."""
        while True:
            try:
                bus = await Bus.connect()
            except BusError as error:
                if not self._reached:
                    raise
                self._absent(str(error))
            else:
                self._reached = True
                try:
                    await self._follow(bus)
                except BusError as error:
                    self._absent(str(error))
                finally:
                    bus.close()
            await asyncio.sleep(_RECONNECT_S)

    async def _follow(self, bus: Bus) -> None:
        """Until the bus is dead."""
        bus.on_signal(self._heard)
        await bus.follow(names.BUS_NAME)
        closed = asyncio.ensure_future(bus.closed())
        try:
            while not closed.done():
                self._changed.clear()
                await self._ask(bus)
                changed = asyncio.ensure_future(self._changed.wait())
                try:
                    either: set[asyncio.Future[Any]] = {closed, changed}
                    await asyncio.wait(either, timeout=self._interval_s, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
        finally:
            closed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await closed
        self._absent("the system bus went away")

    async def _ask(self, bus: Bus) -> None:
        try:
            now = sample(await call(bus, "Status"), at=self._clock())
        except BusError as error:
            # Its name comes back in a signal.
            self._absent(_NO_DAEMON if error.name in names.NO_DAEMON else str(error))
            return
        except ValueError:
            self._absent("the daemon's answer makes no sense")
            return
        self._why = ""
        self._view.sampled(now)

    def _absent(self, why: str) -> None:
        if why != self._why:
            self._why = why
            self._view.absent(status.printable(why))

    def _heard(self, signal: Signal) -> None:
        # What else is heard means only: look again.
        if (signal.interface, signal.member) == (names.MANAGER_INTERFACE, "Decision"):
            for text in signal.body:
                self._view.decided(status.printable(str(text)))
        self._changed.set()
