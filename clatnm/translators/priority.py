# SPDX-License-Identifier: GPL-2.0-or-later
"""One translator a link, and ours is the one that gives way."""

from __future__ import annotations

import asyncio

from clatnm.errors import GaveWayError
from clatnm.kernel.host import Host
from clatnm.model import Plan


def exclusive(plan: Plan) -> bool:
    """Whether it would be in the way of another translator."""
    return plan.relay is None or plan.relay.has_default


class Priority:
    """Whether the uplink is still ours to translate. HostError: it cannot be watched.

    A relay that leads only some networks into its device is in nobody's way, and never loses it.
    """

    def __init__(self, host: Host, plan: Plan) -> None:
        self._plan = plan
        self._lost = asyncio.Event()
        self._guard = host.guard(plan.ifindex, tripped=self._lost.set) if exclusive(plan) else None

    def protect(self, index: int) -> None:
        """Once it is lost, our device with that index loses its address and routes, before anybody asks."""
        relay = self._plan.relay
        address = relay.addresses[0] if relay is not None and relay.addresses else self._plan.clat_v4
        if self._guard is not None:
            self._guard.protect(index, address)

    @property
    def lost(self) -> bool:
        return self._guard is not None and self._guard.tripped

    def check(self) -> None:
        """GaveWayError when it is lost."""
        if self.lost:
            raise GaveWayError(self.words)

    async def until_lost(self) -> None:
        await self._lost.wait()

    @property
    def words(self) -> str:
        return f"somebody else has begun to translate {self._plan.interface}"

    def close(self) -> None:
        """Watch no more. Again is fine."""
        if self._guard is not None:
            self._guard.close()
