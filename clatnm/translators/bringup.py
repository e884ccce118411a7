# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing up a translator of our own process: device, process, hooks, and last the route."""

from __future__ import annotations

import contextlib
import os
import socket

from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.model import Plan
from clatnm.translators.device import (
    DeviceTranslator,
    FastPath,
    UplinkSockets,
    lead_in,
    take_in,
    worker_config,
)
from clatnm.translators.process import WorkerProcess


async def start(
    host: Host, plan: Plan, fast_path: FastPath | None, *, relay: socket.socket | None = None
) -> DeviceTranslator:
    """Bring everything up; the route comes last. HostError, TranslatorError: nothing is left.

    `relay` leads to another program that translates; the process gets a copy.
    """
    worker = await WorkerProcess.spawn()
    uplink: UplinkSockets | None = None
    try:
        uplink = UplinkSockets(plan, neighbours_only=fast_path is not None)
        index = await _hand_over(host, worker, plan, uplink, fast_path=fast_path, relay=relay)
        await lead_in(host, index, plan)
    except BaseException:
        if fast_path is not None:
            await fast_path.close()
        if uplink is not None:
            uplink.close()
        await worker.stop()
        raise
    relayed = relay is not None
    return DeviceTranslator(host, worker, plan, index, uplink=uplink, fast_path=fast_path, relayed=relayed)


async def _hand_over(
    host: Host,
    worker: WorkerProcess,
    plan: Plan,
    uplink: UplinkSockets,
    *,
    fast_path: FastPath | None,
    relay: socket.socket | None,
) -> int:
    """Open the device and give it away: from here on the process's life is the device's life. Its ifindex."""
    with contextlib.ExitStack() as undo:
        device = tun.open_tun(plan.device)
        undo.callback(os.close, device.fd)
        index = await host.do(
            # The device's MTU is the uplink's and the route's is smaller: what comes from the network may be larger
            # than what we may send, since it needs no room for a Fragment header.
            lambda kernel: kernel.set_up_device(plan.device, address=plan.clat_v4, mtu_bytes=plan.ipv6_mtu_bytes)
        )
        await take_in(host, index, plan)
        if fast_path is not None:
            await fast_path.attach(plan, index)
        config = worker_config(plan, hooked=fast_path is not None, relayed=relay is not None)
        await worker.hand_over(config, [device.fd, *uplink.descriptors(), *([relay.fileno()] if relay else [])])
    return index
