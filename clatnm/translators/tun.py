# SPDX-License-Identifier: GPL-2.0-or-later
"""The user-space path: a TUN device for IPv4, a packet socket on the uplink for IPv6, Python in between.

No forwarding, no sysctl, no firewall rule, nothing on the uplink: all of it is descriptors that the translator process
alone holds, so that its death, of whatever kind, removes device, address and route.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from clatnm.errors import HostError
from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Ipv4Default
from clatnm.kernel.packet_socket import join_solicited_node, open_packet_socket
from clatnm.model import Plan
from clatnm.translators.base import Ended
from clatnm.translators.process import WorkerProcess
from clatnm.worker.wire import WorkerConfig


class TunBackend:
    """A `translators.Backend`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def probe(self) -> str:
        return "" if os.access(tun.DEVICE, os.R_OK | os.W_OK) else f"{tun.DEVICE} cannot be opened"

    async def start(self, plan: Plan) -> TunTranslator:
        worker = await WorkerProcess.spawn()
        try:
            index = await self._hand_over(plan, worker)
            await self._host.do(lambda kernel: kernel.add_default_route(index, _route(plan)))
        except BaseException:
            await worker.stop()
            raise
        return TunTranslator(self._host, worker, plan, index)

    async def _hand_over(self, plan: Plan, worker: WorkerProcess) -> int:
        """Open everything, give it away, keep nothing: from here on the process's life is the device's life."""
        with contextlib.ExitStack() as undo:
            device = tun.open_tun(plan.device)
            undo.callback(os.close, device.fd)
            link_layer = plan.link_address is not None
            packets = undo.enter_context(open_packet_socket(plan.ifindex, link_layer=link_layer, clat_v6=plan.clat_v6))
            descriptors = [device.fd, packets.fileno()]
            if link_layer:
                descriptors.append(undo.enter_context(join_solicited_node(plan.ifindex, plan.clat_v6)).fileno())
            index = await self._host.do(
                # The device's MTU is the uplink's and the route's is smaller: what comes from the network may be larger
                # than what we may send, since it needs no room for a Fragment header.
                lambda kernel: kernel.set_up_device(plan.device, address=plan.clat_v4, mtu_bytes=plan.ipv6_mtu_bytes)
            )
            await worker.hand_over(_config(plan), descriptors)
        return index


class TunTranslator:
    """A `translators.Translator`: the worker process and the kernel's view of its device."""

    def __init__(self, host: Host, worker: WorkerProcess, plan: Plan, index: int) -> None:
        self._host = host
        self._worker = worker
        self._plan = plan
        self._index = index

    @property
    def pid(self) -> int:
        """The process that moves the packets."""
        return self._worker.pid

    async def update(self, plan: Plan) -> None:
        old, self._plan = self._plan, plan
        if _config(plan) != _config(old):
            self._worker.update(_config(plan))
        if plan.ipv6_mtu_bytes != old.ipv6_mtu_bytes:
            await self._host.do(lambda kernel: kernel.set_device_mtu(self._index, plan.ipv6_mtu_bytes))
        if _route(plan) != _route(old):
            await self._move_route(old, plan)

    async def _move_route(self, old: Plan, plan: Plan) -> None:
        """Add before delete, so that there is always a way."""
        if plan.metric == old.metric:
            await self._host.do(lambda kernel: kernel.change_default_route(self._index, _route(plan)))
        else:
            await self._host.do(lambda kernel: kernel.add_default_route(self._index, _route(plan)))
            await self._host.do(lambda kernel: kernel.drop_default_route(self._index, _route(old)))

    async def stop(self) -> None:
        # The route first: new connections go elsewhere at once instead of into a device on its way out.
        with contextlib.suppress(HostError):
            await self._host.do(lambda kernel: kernel.drop_default_route(self._index, _route(self._plan)))
        await self._worker.stop()

    async def counters(self) -> Mapping[str, Any]:
        return await self._worker.counters()

    async def ended(self) -> Ended:
        return await self._worker.ended()


def _config(plan: Plan) -> WorkerConfig:
    return WorkerConfig(
        clat_v4=plan.clat_v4,
        clat_v6=plan.clat_v6,
        prefix=plan.prefix,
        ipv6_mtu_bytes=plan.ipv6_mtu_bytes,
        uplink=plan.interface,
        link_address=plan.link_address,
        gateway=plan.gateway,
    )


def _route(plan: Plan) -> Ipv4Default:
    return Ipv4Default(source=plan.clat_v4, metric=plan.metric, mtu_bytes=plan.ipv4_mtu_bytes)
