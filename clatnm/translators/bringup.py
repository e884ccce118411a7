# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing up a translator of our own process: device, process, route, and hooks.

What waits for nothing else is done at the same time, and what the kernel is asked for is asked for in one go, for in
between others would be served, who may take longer than all of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Protocol

from clatnm.errors import GaveWayError, HostError, TranslatorError
from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Netlink
from clatnm.kernel.packet_socket import sends_large
from clatnm.memo import Memo
from clatnm.model import Plan
from clatnm.translators import edge
from clatnm.translators.device import (
    DeviceTranslator,
    FastPath,
    UplinkSockets,
    default_route,
    lead_gateways,
    lead_in,
    leads,
    worker_config,
)
from clatnm.translators.estate import Estate, Held
from clatnm.translators.orphan import Orphan
from clatnm.translators.priority import Priority
from clatnm.translators.process import WorkerProcess
from clatnm.translators.takeover import Preparable, Takeover
from clatnm.translators.will import Will


async def start(
    host: Host, plan: Plan, hooks: Preparable | None, *, relay: socket.socket | None = None
) -> DeviceTranslator:
    """Bring everything up; packets flow when this returns. HostError, TranslatorError, GaveWayError: nothing is left.

    Hooks take over soon after, unless nothing works without them, as with the host's own address. `relay` leads to
    another program that translates; the process gets a copy.
    """
    worker = await WorkerProcess.spawn()
    hooks_first = hooks is not None and plan.shared
    fast_path: FastPath | None = hooks
    if hooks is not None and not hooks_first:
        fast_path = Takeover(hooks, worker)
    uplink: UplinkSockets | None = None
    priority: Priority | None = None
    try:
        priority = Priority(host, plan)
        uplink = UplinkSockets(plan, neighbours_only=hooks_first)
        index = await _hand_over(host, worker, plan, uplink, priority, hooks_first=hooks_first, relay=relay)
        if fast_path is not None:
            await fast_path.attach(plan, index)
        if hooks_first or not plan.offered:
            await lead_in(host, index, plan)
        await lead_gateways(host, index, plan)
        priority.check()
    except BaseException as error:
        if priority is not None:
            priority.close()
        if fast_path is not None:
            await fast_path.close()
        if uplink is not None:
            uplink.close()
        await worker.stop()
        # What it had was taken away from under it.
        if priority is not None and priority.lost and isinstance(error, HostError):
            raise GaveWayError(priority.words) from error
        raise
    return DeviceTranslator(
        host, worker, plan, index, uplink=uplink, priority=priority, fast_path=fast_path, relayed=relay is not None
    )


async def _hand_over(
    host: Host,
    worker: WorkerProcess,
    plan: Plan,
    uplink: UplinkSockets,
    priority: Priority,
    *,
    hooks_first: bool,
    relay: socket.socket | None,
) -> int:
    """Open the device and give it away: from here on the process's life is the device's life. Its ifindex."""
    config = worker_config(plan, hooked=hooks_first, relayed=relay is not None)
    with contextlib.ExitStack() as undo:
        device = tun.open_tun(plan.device, large=sends_large(plan.interface))
        undo.callback(os.close, device.fd)
        handed, index = await asyncio.gather(
            worker.hand_over(config, [device.fd, *uplink.descriptors(), *([relay.fileno()] if relay else [])]),
            host.do(lambda kernel: _furnish(kernel, plan, priority, lead=leads(plan) and not hooks_first)),
            return_exceptions=True,
        )
    for outcome in (handed, index):
        if isinstance(outcome, BaseException):
            raise outcome
    assert isinstance(index, int)
    return index


def _furnish(kernel: Netlink, plan: Plan, priority: Priority, *, lead: bool) -> int:
    """Make the device ready to be used, and have it used if so wanted. What comes too early waits in it."""
    priority.check()
    if plan.relay is not None:
        index = edge.furnish(plan, plan.relay)
        priority.protect(index)
        return index
    # The device's MTU is the uplink's and the route's is smaller: what comes from the network may be larger than what
    # we may send, since it needs no room for a Fragment header.
    index = kernel.set_up_device(
        plan.device,
        address=plan.clat_v4,
        mtu_bytes=plan.ipv6_mtu_bytes,
        take_in=None if plan.shared else plan.clat_v6,
        route=default_route(plan) if lead else None,
    )
    priority.protect(index)
    return index


class Adoptable(FastPath, Protocol):
    """A `FastPath` that can go on with what an earlier daemon has attached."""

    def adopt(self, plan: Plan, device_index: int, held: Held) -> None:
        """The descriptors are the hooks' from now on, in any case. TranslatorError."""


async def adopt(host: Host, memo: Memo, orphan: Orphan, estate: Estate, hooks: Adoptable | None) -> DeviceTranslator:
    """Take over what `start` has brought up for an earlier daemon.

    HostError, TranslatorError, GaveWayError: the process is still there, and the caller's to end.
    """
    plan = memo.past.plan
    if orphan.count != Will.count(plan) + UplinkSockets.count(plan) + len(memo.held):
        raise TranslatorError("not all of its descriptors came")
    await host.do(lambda kernel: _look(kernel, memo))
    will = Will.adopt(memo, orphan, estate)
    uplink = UplinkSockets.adopt(plan, orphan, neighbours_only=hooks is not None and plan.shared)
    priority: Priority | None = None
    try:
        if hooks is not None:
            descriptors = {name: orphan.take() for name in memo.held}
            hooks.adopt(plan, memo.index, Held(descriptors=descriptors, programs=memo.programs, clsact=memo.clsact))
        priority = Priority(host, plan)
        priority.protect(memo.index)
        if not plan.offered:  # somebody may have removed the rule meanwhile
            await lead_in(host, memo.index, plan)
        priority.check()
    except BaseException:
        if priority is not None:
            priority.close()
        if hooks is not None:
            await hooks.close()
        uplink.close()
        will.release()
        raise
    worker = WorkerProcess.adopt(orphan, None if plan.relay is None else plan.relay.mappings)
    return DeviceTranslator(
        host, worker, plan, memo.index, uplink=uplink, priority=priority, fast_path=hooks, will=will
    )


def _look(kernel: Netlink, memo: Memo) -> None:
    """Is its device as it was? TranslatorError, HostError."""
    plan = memo.past.plan
    link = kernel.links().get(plan.device)
    if link is None or link.index != memo.index:
        raise TranslatorError(f"its device {plan.device} is gone")
    addresses = {plan.clat_v4} if plan.relay is None else set(plan.relay.addresses)
    if not addresses <= link.addresses4:
        raise TranslatorError(f"{plan.device} has lost its address")
    if plan.relay is None and leads(plan) and not any(route.metric == plan.metric for route in link.default4):
        raise TranslatorError(f"{plan.device} has lost its route")
