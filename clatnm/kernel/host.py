# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink for asyncio: the synchronous connection in a thread of its own, one request after another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from clatnm.errors import HostError
from clatnm.kernel.changes import RULE_GROUPS, Monitor
from clatnm.kernel.guard import Guard
from clatnm.kernel.netlink import Netlink

_T = TypeVar("_T")

# Reading all links is some milliseconds of Python. Whoever has a prefix to look at meanwhile waits no longer than this.
_TURN_S = 0.001


class Host:
    """`await host.do(lambda kernel: kernel.links())`; errors are the called function's own."""

    def __init__(self) -> None:
        sys.setswitchinterval(_TURN_S)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netlink")
        self._netlink: Netlink | None = None

    async def do(self, work: Callable[[Netlink], _T]) -> _T:
        """Run `work` with the netlink connection, after all work asked for earlier."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def guard(self, uplink: int, *, tripped: Callable[[], None]) -> Guard:
        """Watch whether somebody else begins to translate the link with index `uplink`; then `tripped`. HostError."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all with it
                loop.call_soon_threadsafe(tripped)

        try:
            return Guard(uplink, tripped=tell)
        except OSError as error:
            code = error.errno or 0
            raise HostError(f"cannot watch the uplink: {os.strerror(code)}", errno=code) from error

    def watch_rules(self, changed: Callable[[], None]) -> Monitor:
        """Call `changed` whenever an IPv4 rule came or went. HostError."""
        try:
            return Monitor(changed, groups=RULE_GROUPS)
        except OSError as error:
            code = error.errno or 0
            raise HostError(f"cannot watch the rules: {os.strerror(code)}", errno=code) from error

    def _do(self, work: Callable[[Netlink], _T]) -> _T:
        if self._netlink is None:
            self._netlink = Netlink()
        return work(self._netlink)

    async def close(self) -> None:
        """Finish what was asked for and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
