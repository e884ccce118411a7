# SPDX-License-Identifier: GPL-2.0-or-later
"""Listens for Wi-Fi stations that turn to an access point, as long as there are any."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from clatnm.errors import HostError
from clatnm.kernel.wifi import WifiEvents

log = logging.getLogger(__name__)


class Turns:
    """`turned` is called with the ifindex of a station and the BSSID of its access point."""

    def __init__(self, turned: Callable[[int, str], None]) -> None:
        self._turned = turned
        self._events: WifiEvents | None = None

    def listen(self) -> None:
        """From now on, where the kernel knows Wi-Fi; otherwise its network manager's word has to do."""
        if self._events is not None:
            return
        try:
            self._events = WifiEvents()
        except HostError as error:
            log.debug("%s", error)
            return
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._read, self._events)

    def close(self) -> None:
        """Listen no more."""
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
            self._events = None

    def _read(self, events: WifiEvents) -> None:
        for turn in events.heard():
            self._turned(turn.ifindex, turn.bssid)
