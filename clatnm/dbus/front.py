# SPDX-License-Identifier: GPL-2.0-or-later
"""Our objects on a connection of their own.

Anybody may ask us as often as he likes, and read no answer. On the connection by which the daemon hears of networks,
what its managers say would wait behind all that, and it could be the end of both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from clatnm.dbus import service
from clatnm.dbus.bus import Bus
from clatnm.dbus.objects import Objects
from clatnm.log import Message, about

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


class Front:
    """`objects` are there from `open` to `close`, but for the moments in between when the connection had to be made
    anew; `changed` is called when there are other ones.
    """

    def __init__(self, answers: service.Answers, *, changed: Callable[[], None]) -> None:
        self._answers = answers
        self._changed = changed
        self._bus: Bus | None = None
        self.objects: Objects | None = None

    async def open(self) -> None:
        """Offer them. BusError; AlreadyRunningError when another daemon does."""
        self._bus = await Bus.connect()
        self.objects = await service.offer(self._bus, self._answers)
        self._changed()  # what is new since then is to be told

    async def stay(self, bus: Bus) -> None:
        """Offer them until `bus` is dead, the daemon's own connection. BusError and AlreadyRunningError as `open`."""
        dead = asyncio.ensure_future(bus.closed())
        try:
            while self._bus is not None:
                ended = asyncio.ensure_future(self._bus.closed())
                try:
                    await asyncio.wait({dead, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    ended.cancel()
                self.close()
                # When the bus ends, so do both, in any order.
                await asyncio.wait({dead}, timeout=_AGAIN_S)
                if dead.done():
                    return
                what = "those who ask were too much for the bus; offering our objects again"
                log.warning(what, extra=about(Message.BUS_LOST))
                await self.open()
        finally:
            dead.cancel()

    def close(self) -> None:
        """Nobody can ask any more."""
        self.objects = None
        if self._bus is not None:
            self._bus.close()
