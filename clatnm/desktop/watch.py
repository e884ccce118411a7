# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon says of its connections, again and again, while it and the system bus come and go."""

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

log = logging.getLogger(__name__)

_POLL_S = 5.0
_SELDOM_S = 30.0
_RECONNECT_S = 2.0
_PAUSE_S = 0.2

Tell = Callable[[Any], None]
"""Called with a parsed `status --json`, or with None while nobody answers."""


def parsed(answer: Any) -> Any:
    """What the daemon answered to Status. BusError when it is no JSON."""
    try:
        return json.loads(answer)
    except (ValueError, TypeError, RecursionError) as error:
        raise BusError("the clatnm daemon's answer makes no sense", hint="is it of another version?") from error


class Watch:
    """`run` tells, for ever. A daemon that says when something changes is asked at once, and seldom besides."""

    def __init__(self, tell: Tell, *, poll_s: float = _POLL_S, reconnect_s: float = _RECONNECT_S) -> None:
        self._tell = tell
        self._poll_s = poll_s
        self._reconnect_s = reconnect_s
        self._look = asyncio.Event()
        self._speaks = False

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._use_bus()
            except BusError as error:
                log.debug("%s; trying again", error)
            self._tell(None)
            await asyncio.sleep(self._reconnect_s)

    async def _use_bus(self) -> None:
        bus = await Bus.connect()
        try:
            self._speaks = False
            bus.on_signal(self._hear)
            await bus.follow(names.BUS_NAME)
            closed = asyncio.ensure_future(bus.closed())
            closed.add_done_callback(lambda _: self._look.set())
            try:
                while not closed.done():
                    self._look.clear()
                    self._tell(await _status(bus))
                    await asyncio.sleep(_PAUSE_S)  # changes come in company
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._look.wait(), _SELDOM_S if self._speaks else self._poll_s)
            finally:
                closed.cancel()
        finally:
            bus.close()

    def _hear(self, signal: Signal) -> None:
        if signal.sender == names.DBUS:
            if signal.member == "NameOwnerChanged" and signal.body[0] == names.BUS_NAME:
                self._speaks = False
                self._look.set()
        elif signal.path.startswith(names.OBJECT_PATH):
            self._speaks = True
            self._look.set()


async def _status(bus: Bus) -> Any:
    """None when there is no daemon, or none that answers with sense."""
    try:
        return parsed(await call(bus, "Status"))
    except BusError as error:
        log.debug("how the connections are is not known: %s", error)
        return None
