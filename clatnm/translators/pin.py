# SPDX-License-Identifier: GPL-2.0-or-later
"""The rule that leads old connections into a device without a default route, kept for as long as it is needed.

systemd-networkd takes every rule that it finds for its own: when it starts, or configures a link anew, all go that
stand in none of its files (`ManageForeignRoutingPolicyRules=`, on by default). Ours is put back then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from ipaddress import IPv4Address

from clatnm.errors import HostError
from clatnm.kernel.changes import Monitor
from clatnm.kernel.host import Host

log = logging.getLogger(__name__)

# Whoever removes it each time shall not keep two programs busy.
_PAUSE_S = 0.2


class Pin:
    """Watches over the pin of `source` into the device `index`, from `hold` to `let_off`."""

    def __init__(self, host: Host, index: int, source: IPv4Address) -> None:
        self._host = host
        self._index = index
        self._source = source
        self._held = False
        self._monitor: Monitor | None = None
        self._changed = False
        self._keeping: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """It is there now (`Netlink.pin`), and is to stay. Again is fine."""
        self._held = True
        if self._monitor is None:
            try:
                self._monitor = self._host.watch_rules(self._on_change)
            except HostError as error:
                log.debug("%s; if somebody removes the rule for %s, it stays away", error, self._source)

    async def let_off(self) -> None:
        """It is not needed any more. HostError: it is still there. Nothing when it was not held."""
        if not self._held:
            return
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._keeping is not None:
            self._changed = False
            await asyncio.wait({self._keeping})
        await self._host.do(lambda kernel: kernel.unpin(self._index, self._source))
        self._held = False

    def _on_change(self) -> None:
        self._changed = True
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        while self._changed:
            self._changed = False
            with contextlib.suppress(HostError):
                if await self._host.do(lambda kernel: kernel.pin_again(self._index, self._source)):
                    log.debug("the rule for %s was removed by somebody, and is back", self._source)
                    await asyncio.sleep(_PAUSE_S)
