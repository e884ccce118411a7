# SPDX-License-Identifier: GPL-2.0-or-later
"""One translator a link, and ours is the one that gives way."""

from __future__ import annotations

import asyncio

from clatnm.errors import GaveWayError
from clatnm.kernel.host import Host
from clatnm.model import Plan


class Priority:
    """Whether the uplink is still ours to translate. HostError: it cannot be watched."""

    def __init__(self, host: Host, plan: Plan) -> None:
        self._plan = plan
        self._lost = asyncio.Event()
        self._guard = host.guard(plan.ifindex, tripped=self._lost.set)

    def protect(self, index: int) -> None:
        """Once it is lost, our device with that index loses its address, before anybody asks."""
        self._guard.protect(index, self._plan.clat_v4)

    @property
    def lost(self) -> bool:
        return self._guard.tripped

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
        self._guard.close()
