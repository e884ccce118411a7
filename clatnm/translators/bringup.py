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

from clatnm.errors import GaveWayError, HostError
from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Netlink
from clatnm.kernel.packet_socket import sends_large
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
from clatnm.translators.priority import Priority
from clatnm.translators.process import WorkerProcess
from clatnm.translators.takeover import Preparable, Takeover


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
