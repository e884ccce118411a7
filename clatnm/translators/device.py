# SPDX-License-Identifier: GPL-2.0-or-later
"""What every path with our own translator process shares: a TUN device, its route, and the process that holds it all.

No forwarding, no sysctl, no firewall rule, nothing on the uplink that its manager would prune: all of it is descriptors
that the process alone holds, so that its death, of whatever kind, removes device, address and route.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any, Protocol

from clatnm.errors import HostError
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Ipv4Default, Netlink
from clatnm.kernel.packet_socket import join_solicited_node, open_packet_socket, refilter
from clatnm.log import Message, about
from clatnm.memo import Past
from clatnm.model import Plan
from clatnm.translators import edge
from clatnm.translators.base import Ended
from clatnm.translators.estate import Estate, Held
from clatnm.translators.orphan import Orphan
from clatnm.translators.pin import Pin
from clatnm.translators.priority import Priority
from clatnm.translators.process import WorkerProcess
from clatnm.translators.will import Will
from clatnm.worker.wire import DUMMY_ICMP_SOURCE, WorkerConfig

log = logging.getLogger(__name__)


class FastPath(Protocol):
    """Hooks in the kernel beside the process; what they decline, the process translates."""

    async def attach(self, plan: Plan, device_index: int) -> None:
        """Begin to translate. HostError: nothing is attached."""

    async def update(self, plan: Plan) -> None:
        """Translate by another plan from the next packet on. HostError: by the old one."""

    def counters(self, slow: Mapping[str, Any]) -> Mapping[str, Any]:
        """The process's counters with those of the hooks added."""

    async def held(self) -> Held:
        """What a successor needs to go on with it, once it is in force. TranslatorError."""

    async def close(self) -> None:
        """Detach whatever does not go with the device."""


async def take_in(host: Host, index: int, plan: Plan) -> None:
    """See `Netlink.take_in`. Without it (IPv6 is disabled for new devices) only hosts that forward IPv6 suffer."""
    if not plan.shared:
        with contextlib.suppress(HostError):
            await host.do(lambda kernel: kernel.take_in(index, plan.clat_v6))


async def lead_in(host: Host, index: int, plan: Plan) -> None:
    """Lead packets into the device, now that there is somebody to take them: all, or only old connections'. HostError.

    Whoever calls it with a plan that is not offered must `let_off` in the end: that alone outlives the device.
    """
    if plan.offered:
        if leads(plan):
            await host.do(lambda kernel: kernel.add_default_route(index, default_route(plan)))
        return
    try:
        await host.do(lambda kernel: kernel.pin(index, plan.clat_v4, mtu_bytes=plan.ipv4_mtu_bytes))
    except BaseException:  # cancelled included: it is done all the same
        await let_off(host, index, plan)
        raise


async def lead_gateways(host: Host, index: int, plan: Plan, old: Plan | None = None) -> None:
    """Lead what is for the plan's gateways into the device, and no more what was for those of `old`.

    Without that their VPNs do not work, which is no reason to go without CLAT.
    """
    before = {} if old is None else _host_routes(old)
    after = _host_routes(plan)
    changed = [key for key, route in after.items() if before.get(key) != route]
    add, drop = Netlink.add_host_route, Netlink.drop_host_route
    try:
        for key in changed:
            if key in before:
                await host.do(functools.partial(drop, index=index, host=key[0], route=before[key]))
            await host.do(functools.partial(add, index=index, host=key[0], route=after[key]))
        for key in before.keys() - after.keys():
            await host.do(functools.partial(drop, index=index, host=key[0], route=before[key]))
    except HostError as error:
        told = about(Message.VPN_UNPROTECTED, connection=plan.uuid, uplink=plan.interface, error=error)
        log.warning("%s: a VPN's far end is not kept out of the VPN: %s", plan.interface, error, extra=told)


def _host_routes(plan: Plan) -> dict[tuple[IPv4Address, int], Ipv4Default]:
    return {(gateway, plan.metric): default_route(plan) for gateway in plan.gateways}


async def let_off(host: Host, index: int, plan: Plan) -> None:
    """Lead no old connections into the device any more."""
    with contextlib.suppress(HostError):
        await host.do(lambda kernel: kernel.unpin(index, plan.clat_v4))


class UplinkSockets:
    """The uplink's side: the process has copies, these here stay to follow a changed address. HostError."""

    def __init__(self, plan: Plan, *, neighbours_only: bool) -> None:
        self._link_layer = _neighbour_discovery(plan)
        self._neighbours_only = neighbours_only
        self._group: socket.socket | None = None
        self._packets = open_packet_socket(
            plan.ifindex, link_layer=self._link_layer, clat_v6=plan.clat_v6, neighbours_only=neighbours_only
        )
        try:
            self._group = join_solicited_node(plan.ifindex, plan.clat_v6) if self._link_layer else None
            if plan.relay is not None:
                edge.hear(self._packets, self._group, plan, plan.relay)
        except BaseException:
            self.close()
            raise

    @classmethod
    def adopt(cls, plan: Plan, orphan: Orphan, *, neighbours_only: bool) -> UplinkSockets:
        """Those that an earlier daemon has opened."""
        sockets = cls.__new__(cls)
        sockets._link_layer, sockets._neighbours_only = _neighbour_discovery(plan), neighbours_only
        sockets._packets = socket.socket(fileno=orphan.take())
        sockets._group = socket.socket(fileno=orphan.take()) if sockets._link_layer else None
        return sockets

    @staticmethod
    def count(plan: Plan) -> int:
        """How many there are."""
        return 1 + _neighbour_discovery(plan)

    def descriptors(self) -> list[int]:
        return [self._packets.fileno(), *([self._group.fileno()] if self._group else [])]

    def move(self, plan: Plan) -> None:
        """Hear what is for another CLAT address, or other mapped ones, from now on. HostError."""
        if self._group is not None:
            join_solicited_node(plan.ifindex, plan.clat_v6, sock=self._group)
        if plan.relay is not None:
            edge.hear(self._packets, self._group, plan, plan.relay)
            return
        refilter(self._packets, plan.clat_v6, link_layer=self._link_layer, neighbours_only=self._neighbours_only)

    def close(self) -> None:
        self._packets.close()
        if self._group is not None:
            self._group.close()


class DeviceTranslator:
    """A `translators.Translator`: the worker process, the kernel's view of its device, and hooks if there are any."""

    def __init__(
        self,
        host: Host,
        worker: WorkerProcess,
        plan: Plan,
        index: int,
        *,
        uplink: UplinkSockets,
        priority: Priority,
        fast_path: FastPath | None,
        relayed: bool = False,
        will: Will | None = None,
    ) -> None:
        self._host = host
        self._worker = worker
        self._plan = plan
        self._index = index
        self._pin = Pin(host, index, plan.clat_v4)
        if not plan.offered:
            self._pin.hold()
        self._uplink = uplink
        self._priority = priority
        self._fast_path = fast_path
        self._relayed = relayed
        self._will = will or Will(index)
        self._changing = self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._worker.pid,)

    async def update(self, plan: Plan) -> None:
        # Should we end half-way, nobody could tell what there is.
        self._changing = True
        self._will.withdraw()
        try:
            await self._update(plan)
        except HostError:
            if not self._priority.lost:  # then it has an end of its own
                raise
        finally:
            self._changing = False

    async def entrust(self, estate: Estate, past: Past) -> bool:
        held = Held() if self._fast_path is None else await self._fast_path.held()
        if self._changing or self._closed or past.plan != self._plan:
            return False
        if self._relayed:  # it ends with the other program, which ends with us
            self._will.note(estate, self._worker, past)
            return False
        self._will.make(estate, self._worker, held, past)
        return True

    async def _update(self, plan: Plan) -> None:
        old, self._plan = self._plan, plan
        if (plan.clat_v6, plan.relay) != (old.clat_v6, old.relay):
            self._uplink.move(plan)
        if plan.clat_v6 != old.clat_v6 and plan.relay is None:
            await self._take_in_other(old, plan)
        if self._fast_path is not None:
            await self._fast_path.update(plan)
        if self._config(plan) != self._config(old):
            self._worker.update(self._config(plan))
        if plan.ipv6_mtu_bytes != old.ipv6_mtu_bytes:
            await self._host.do(lambda kernel: kernel.set_device_mtu(self._index, plan.ipv6_mtu_bytes))
        if plan.relay is not None:
            await edge.change(self._host, self._index, old, plan)
        elif _way(plan) != _way(old):
            await self._lead_otherwise(old, plan)
        await lead_gateways(self._host, self._index, plan, old)
        if plan.device != old.device:
            await self._rename(plan)

    def _config(self, plan: Plan) -> WorkerConfig:
        return worker_config(plan, hooked=self._fast_path is not None, relayed=self._relayed)

    async def _take_in_other(self, old: Plan, plan: Plan) -> None:
        await take_in(self._host, self._index, plan)
        if not old.shared:
            with contextlib.suppress(HostError):
                await self._host.do(lambda kernel: kernel.let_go(self._index, old.clat_v6))

    async def _lead_otherwise(self, old: Plan, plan: Plan) -> None:
        """Add before delete, so that there is always a way."""
        if leads(plan) and leads(old) and plan.metric == old.metric:
            await self._host.do(lambda kernel: kernel.change_default_route(self._index, default_route(plan)))
            return
        await lead_in(self._host, self._index, plan)
        if not plan.offered:
            self._pin.hold()
        if leads(old):
            await self._host.do(lambda kernel: kernel.drop_default_route(self._index, default_route(old)))
        elif plan.offered:
            await self._pin.let_off()

    async def _rename(self, plan: Plan) -> None:
        lost = await self._host.do(lambda kernel: kernel.rename_device(self._index, plan.device))
        if lost and plan.relay is not None:
            await edge.change(self._host, self._index, None, plan)
        elif lost:
            await take_in(self._host, self._index, plan)
            await lead_in(self._host, self._index, plan)
            await lead_gateways(self._host, self._index, plan)

    async def stop(self) -> None:
        # The address first: new connections go elsewhere at once instead of into a device on its way out, and old ones
        # do not go elsewhere with an address that is unknown there.
        self._changing = True
        self._will.withdraw()
        if self._plan.relay is not None:
            await edge.leave(self._host, self._index, self._plan.relay)
        else:
            with contextlib.suppress(HostError):
                await self._host.do(lambda kernel: kernel.remove_address(self._index, self._plan.clat_v4))
        await self._worker.stop()
        await self._close()

    async def counters(self) -> Mapping[str, Any]:
        slow = await self._worker.counters()
        return slow if self._fast_path is None else self._fast_path.counters(slow)

    async def ended(self) -> Ended:
        lost, end = asyncio.ensure_future(self._priority.until_lost()), asyncio.ensure_future(self._worker.ended())
        try:
            await asyncio.wait({lost, end}, return_when=asyncio.FIRST_COMPLETED)
            if not end.done():
                await self._worker.stop()
            ended = await end
        finally:
            lost.cancel()
        await self._close()
        return replace(ended, error=self._priority.words, gave_way=True) if self._priority.lost else ended

    async def _close(self) -> None:
        self._closed = True
        self._will.close()
        self._priority.close()
        self._uplink.close()
        if self._fast_path is not None:
            await self._fast_path.close()
        with contextlib.suppress(HostError):
            await self._pin.let_off()


def worker_config(plan: Plan, *, hooked: bool, relayed: bool) -> WorkerConfig:
    return WorkerConfig(
        clat_v4=plan.clat_v4,
        clat_v6=plan.clat_v6,
        prefix=plan.prefix,
        ipv6_mtu_bytes=plan.ipv6_mtu_bytes,
        uplink=plan.interface,
        link_address=plan.link_address if _neighbour_discovery(plan) else None,
        gateway=plan.gateway,
        hooked=hooked,
        relayed=relayed,
        mappings=None if plan.relay is None else plan.relay.mappings,
        icmp_source=DUMMY_ICMP_SOURCE if plan.relay is None else plan.clat_v4,
    )


def _neighbour_discovery(plan: Plan) -> bool:
    """The host answers for its own address, and there are links without neighbours."""
    return plan.link_address is not None and not plan.shared


def leads(plan: Plan) -> bool:
    """There is to be an IPv4 default route into its device."""
    return plan.offered and plan.default_route


def default_route(plan: Plan) -> Ipv4Default:
    return Ipv4Default(source=plan.clat_v4, metric=plan.metric, mtu_bytes=plan.ipv4_mtu_bytes)


def _way(plan: Plan) -> Ipv4Default | int:
    """What of a plan the kernel's routes are made of."""
    return default_route(plan) if plan.offered else plan.ipv4_mtu_bytes
