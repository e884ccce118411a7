# SPDX-License-Identifier: GPL-2.0-or-later
"""Suspend and resume as logind tells them. A suspend waits, for a moment, until we are ready for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable

from clatnm.dbus.bus import Bus, Signal
from clatnm.dbus.names import LOGIN1, LOGIN1_MANAGER, LOGIN1_PATH
from clatnm.errors import BusError

log = logging.getLogger(__name__)

_FOREVER_S = 60.0


class Suspend:
    """`asleep` from the moment logind prepares to suspend until the machine has woken up again.

    `changed` is called when it begins, `resumed` with the reason when it ends.
    """

    def __init__(self, *, changed: Callable[[], None], resumed: Callable[[str], None]) -> None:
        self._changed = changed
        self._resumed = resumed
        self.asleep = False
        self._announced = False
        self._delay: int | None = None
        self._holding: asyncio.Task[None] | None = None
        self._guard: asyncio.TimerHandle | None = None

    async def attach(self, bus: Bus) -> None:
        """Follow logind, if it is there, over `bus`. BusError."""
        bus.on_signal(self._hear)
        await bus.add_match(f"type='signal',sender='{LOGIN1}',member='PrepareForSleep'")
        self._hold()

    def ready(self) -> None:
        """Everything is put away: the machine may sleep."""
        if self.asleep:
            self._let_go()

    def woken(self, why: str) -> None:
        """It has been asleep, or may have been."""
        self._stop_guarding()
        self.asleep = False
        self._hold()
        self._resumed(why)

    def close(self) -> None:
        """Hold nothing up any more."""
        self._stop_guarding()
        if self._holding is not None:
            self._holding.cancel()
        self._let_go()

    def _hear(self, message: Signal) -> None:
        if message.interface != LOGIN1_MANAGER or message.member != "PrepareForSleep":
            return
        if message.body == (True,):
            self.asleep = self._announced = True
            self._stop_guarding()
            # CLOCK_MONOTONIC stands still while the machine sleeps, so this is long even for the longest one.
            self._guard = asyncio.get_running_loop().call_later(_FOREVER_S, self.woken, "logind says nothing more")
            self._changed()
        elif message.body == (False,):
            # The clock may have told already, and what was learnt since then is to stay.
            known = self._announced and not self.asleep
            self._announced = False
            if not known:
                self.woken("logind says so")

    def _stop_guarding(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def _hold(self) -> None:
        if self._delay is None and (self._holding is None or self._holding.done()):
            self._holding = asyncio.ensure_future(self._take_delay())

    async def _take_delay(self) -> None:
        try:
            self._delay = await _delay()
        except BusError as error:
            log.debug("a suspend will not wait for us: %s", error)

    def _let_go(self) -> None:
        if self._delay is not None:
            os.close(self._delay)
            self._delay = None


async def _delay() -> int:
    """A descriptor: until it is closed, logind waits with each suspend (for 5 s, where nobody has changed that)."""
    # A connection for that alone, as the others never carry descriptors.
    bus = await Bus.connect(descriptors=True)
    try:
        return await bus.call_for_descriptor(
            destination=LOGIN1,
            path=LOGIN1_PATH,
            interface=LOGIN1_MANAGER,
            member="Inhibit",
            signature="ssss",
            body=["sleep", "clatnm", "stops translating before the network changes", "delay"],
        )
    finally:
        with contextlib.suppress(Exception):
            bus.close()
