# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks that take over from the process while packets flow.

The kernel takes some 10 ms to hang up each hook, for it waits until no packet is under way by the old ones. So the
process translates from the first packet on, and the hooks come behind. No packet is lost or doubled by that:

  - Before the uplink's hook is there, the process hears what comes on its packet socket; afterwards the hook takes it
    first, and the socket hears no more of it. What the hook declines it leads into the TUN, where the process was told
    to expect it.
  - A packet of the host's goes through the device's hook or into the TUN, which was the only way before. In either case
    it leaves translated, the latter by the packet socket.

On clsact a packet may be lost after all: to put that on a device, the kernel stops the device's queue for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from clatnm.errors import ClatnmError, HostError, TranslatorError
from clatnm.model import Plan
from clatnm.translators.device import FastPath, worker_config
from clatnm.translators.estate import Held
from clatnm.translators.process import WorkerProcess

log = logging.getLogger(__name__)

_GONE = (errno.ENODEV, errno.ENXIO)


class Preparable(FastPath, Protocol):
    """A `FastPath` that does what it can beforehand, so that it is in force soon after it was asked to `attach`."""

    async def prepare(self, plan: Plan, device_index: int) -> None:
        """HostError."""


class Takeover:
    """A `FastPath` that gets attached by and by. All else that it is asked to do waits for that.

    When that fails, the process is ended: a translator with hooks that has none is not what was asked for.
    """

    def __init__(self, hooks: Preparable, worker: WorkerProcess) -> None:
        self._hooks = hooks
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._error = ""

    async def attach(self, plan: Plan, device_index: int) -> None:
        self._task = asyncio.ensure_future(self._attach(plan, device_index))

    async def update(self, plan: Plan) -> None:
        await self._settled()
        if self._error:
            raise TranslatorError(self._error)
        await self._hooks.update(plan)

    def counters(self, slow: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._hooks.counters(slow)

    async def held(self) -> Held:
        await self._settled()
        if self._error:
            raise TranslatorError(self._error)
        return await self._hooks.held()

    async def close(self) -> None:
        await self._settled()
        await self._hooks.close()

    async def _settled(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _attach(self, plan: Plan, device_index: int) -> None:
        began = time.monotonic()
        try:
            await self._hooks.prepare(plan, device_index)
            self._worker.update(replace(worker_config(plan, hooked=False, relayed=False), expecting=True))
            await self._worker.obeyed()
            await self._hooks.attach(plan, device_index)
            self._worker.update(worker_config(plan, hooked=True, relayed=False))
        except Exception as error:  # a bug included: whoever waits for hooks must not wait for ever
            if not isinstance(error, ClatnmError):
                log.exception("%s: the hooks failed", plan.interface)
            self._error = str(error) or repr(error)
            # A device that is gone is nobody's fault, and the process will see for itself.
            gone = isinstance(error, HostError) and error.errno in _GONE
            self._worker.give_up(self._error, unfit=not gone and not isinstance(error, TranslatorError))
            with contextlib.suppress(HostError):
                await self._hooks.close()
        else:
            log.debug("%s: hooks took over after %.0f ms", plan.interface, (time.monotonic() - began) * 1000)
