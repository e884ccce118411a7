# SPDX-License-Identifier: GPL-2.0-or-later
"""The eBPF programs of one translator: configured, loaded, hung on the TUN device and the uplink, counted."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import copy
import errno
import functools
import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from clatnm import bpf
from clatnm.errors import HostError, TranslatorError
from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel import clsact
from clatnm.kernel.bpf import Loaded
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Netlink
from clatnm.model import Plan
from clatnm.proto.eam import EamTable
from clatnm.proto.nat64 import WELL_KNOWN
from clatnm.translators.estate import Held
from clatnm.translators.mappings import MAPS, entries, has_prefixes, with_room

DEVICE_EGRESS, DEVICE_INGRESS = "device_egress", "device_ingress"
_KINDS = ("tcp", "udp", "icmp")  # as clat.bpf.c numbers them, first towards IPv6, then towards IPv4
_DIRECTIONS = ("ipv4_to_ipv6", "ipv6_to_ipv4")
_COUNTER = struct.Struct("=QQ")
_MEETINGS, _MEETING_S = 20, 0.05
_MAP, _LINK = "map ", "link "  # before the names of descriptors


class Place(NamedTuple):
    """Where a program is hung up."""

    program: str
    ifindex: int
    egress: bool


def uplink_program(plan: Plan) -> str:
    """Which program fits the uplink: with an Ethernet header, or without."""
    return "uplink_ingress_plain" if plan.link_address is None else "uplink_ingress_ethernet"


def config(plan: Plan, device_index: int) -> bytes:
    """`struct config` of clat.bpf.c: addresses in wire order, numbers in the host's."""
    return struct.pack(
        "=4s16s16sI16sIIIIIIIIII",
        plan.clat_v4.packed,
        plan.clat_v6.packed,
        plan.prefix.network_address.packed,
        plan.prefix.prefixlen,
        plan.gateway.packed if plan.gateway else bytes(16),
        plan.gateway is not None,
        device_index,
        plan.ifindex,
        min(plan.ipv6_mtu_bytes, 0xFFFF),
        plan.ipv6_mtu_bytes,
        plan.prefix == WELL_KNOWN,
        plan.shared,
        plan.relay is not None,
        *(has_prefixes(plan.relay.mappings) if plan.relay is not None else (False, False)),
    )


class Hooks(abc.ABC):
    """A `device.FastPath`, but for how programs are hung up. Whatever the kernel may be slow at is left to a thread."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loaded: Loaded | None = None
        self._device_index = 0
        self._mappings: EamTable | None = None
        self._others = False
        """The programs are an earlier version's, and their maps no use to ours."""
        self._before: list[dict[str, tuple[int, int]]] = []
        """What they have counted, of which nothing is left in the kernel; by direction."""

    async def prepare(self, plan: Plan, device_index: int) -> None:
        """Load the programs. HostError."""
        self._device_index = device_index
        self._loaded = await self._host.do(lambda _: self._load(plan, keep=None))
        await self._meet(plan)

    async def _meet(self, plan: Plan) -> None:
        """Have the kernel know the next hop first, if that answers within a second.

        Behind a hook, a packet that has to wait for the next hop's address leaves as a mangled frame: before Linux 6.17
        (stable ones before June 2025) the kernel consults the route of the IPv4 packet that it was.
        """
        gateway = plan.gateway
        if gateway is None or plan.link_address is None:
            return
        for _ in range(_MEETINGS):
            if await self._host.do(lambda kernel: kernel.meet(plan.ifindex, gateway)):
                return
            await asyncio.sleep(_MEETING_S)

    async def attach(self, plan: Plan, device_index: int) -> None:
        if self._loaded is None:
            await self.prepare(plan, device_index)
        loaded = self._loaded
        assert loaded is not None
        try:
            await self._host.do(lambda kernel: self._hang_up(kernel, plan, loaded))
        except BaseException:
            await self.close()
            raise

    async def update(self, plan: Plan) -> None:
        """New programs with the new configuration take over one by one: no packet meets a half-changed one."""
        old = self._loaded
        fresh = await self._host.do(lambda _: self._load(plan, keep=None if self._others else old))
        try:
            await self._host.do(lambda kernel: self._replace(kernel, plan, fresh))
        except BaseException:
            fresh.close()
            raise
        if old is not None:
            if self._others:
                self._before, self._others = self._counted(), False
            old.close()
        self._loaded = fresh

    async def held(self) -> Held:
        """What a successor needs to go on with them."""
        if self._loaded is None:
            raise TranslatorError("the hooks are not there yet")
        maps = {f"{_MAP}{name}": fd for name, fd in self._loaded.maps.items() if name != kernel_bpf.CONFIG}
        return Held(descriptors=maps, programs="" if self._others else fingerprint())

    def adopt(self, plan: Plan, device_index: int, held: Held) -> None:
        """Go on with those of an earlier daemon. The descriptors are ours from now on. TranslatorError."""
        maps = {name.removeprefix(_MAP): fd for name, fd in held.descriptors.items() if name.startswith(_MAP)}
        self._device_index = device_index
        self._loaded = Loaded.again(maps)
        self._others = held.programs != fingerprint()
        if not self._others:  # else all maps are made anew for the next programs
            self._mappings = EamTable() if plan.relay is None else plan.relay.mappings
        if "counters" not in maps:
            raise TranslatorError("the counters of the hooks did not come")

    def _load(self, plan: Plan, *, keep: Loaded | None) -> Loaded:
        table = programs()
        if table is None:
            raise HostError("the fast path was not built", errno=errno.ENOENT)
        names = tuple(name for name, _, _ in self._places(plan))
        if not plan.shared:  # then nothing is looked up in these, so they need no room
            small = {name: replace(table.maps[name], max_entries=1) for name in ("flows", "datagrams")}
            table = replace(table, maps={**table.maps, **small})
        mappings = EamTable() if plan.relay is None else plan.relay.mappings
        fresh = frozenset() if mappings == self._mappings else MAPS
        found = entries(mappings if fresh else EamTable())
        table = with_room(table, found)
        loaded = Loaded(table, config(plan, self._device_index), names=names, keep=keep, fresh=fresh)
        try:
            for name, content in found.items():  # nobody looks there before it is complete
                kernel_bpf.fill_map(loaded.maps[name], content)
        except BaseException:
            loaded.close()
            raise
        self._mappings = mappings
        return loaded

    async def close(self) -> None:
        await self._host.do(self._take_down)
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    @abc.abstractmethod
    def _hang_up(self, kernel: Netlink, plan: Plan, loaded: Loaded) -> None:
        """Run the programs at their places, one after the other. HostError."""

    @abc.abstractmethod
    def _replace(self, kernel: Netlink, plan: Plan, loaded: Loaded) -> None:
        """Run these programs instead. HostError."""

    @abc.abstractmethod
    def _take_down(self, kernel: Netlink) -> None:
        """Run none. Again is fine."""

    def _places(self, plan: Plan) -> tuple[Place, ...]:
        """All of them, in order.

        With an address of its own the process can send by itself. For the host's own address nothing works without
        hooks, and the uplink's comes last, for before that nothing reaches a device half set up.
        """
        uplink = Place(uplink_program(plan), plan.ifindex, egress=False)
        egress = Place(DEVICE_EGRESS, self._device_index, egress=True)
        if not plan.shared:
            return uplink, egress
        return Place(DEVICE_INGRESS, self._device_index, egress=False), egress, uplink

    def counters(self, slow: Mapping[str, Any]) -> Mapping[str, Any]:
        told: dict[str, Any] = copy.deepcopy(dict(slow))
        if self._loaded is None or not told:
            return told
        with contextlib.suppress(HostError):
            for direction, rows in zip(_DIRECTIONS, self._counted(), strict=True):
                _add(told[direction], rows)
            for direction, rows in zip(_DIRECTIONS, self._before):  # noqa: B905 - mostly there is none
                _add(told[direction], rows)
        return told

    def _counted(self) -> list[dict[str, tuple[int, int]]]:
        """What these programs have counted, by direction. HostError."""
        assert self._loaded is not None
        counters = self._loaded.maps["counters"]
        return [_read(counters, number * len(_KINDS)) for number in range(len(_DIRECTIONS))]


class TcxHooks(Hooks):
    """On tcx links: descriptors, so that the hooks end with whoever holds them."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._links: dict[str, int] = {}

    def _hang_up(self, kernel: Netlink, plan: Plan, loaded: Loaded) -> None:
        for name, ifindex, egress in self._places(plan):
            self._links[name] = kernel_bpf.attach_tcx(loaded.programs[name], ifindex, egress=egress)

    def _replace(self, kernel: Netlink, plan: Plan, loaded: Loaded) -> None:
        # Should one fail after another has changed, the caller takes all of them down.
        for name, link in self._links.items():
            kernel_bpf.replace_program(link, loaded.programs[name])

    def _take_down(self, kernel: Netlink) -> None:
        while self._links:
            os.close(self._links.popitem()[1])

    async def held(self) -> Held:
        held = await super().held()
        links = {f"{_LINK}{name}": fd for name, fd in self._links.items()}
        return replace(held, descriptors={**held.descriptors, **links})

    def adopt(self, plan: Plan, device_index: int, held: Held) -> None:
        links = {name.removeprefix(_LINK): fd for name, fd in held.descriptors.items() if name.startswith(_LINK)}
        self._links = links
        super().adopt(plan, device_index, held)
        if links.keys() != {name for name, _, _ in self._places(plan)}:
            raise TranslatorError("the hooks are not those that there should be")


class ClsactHooks(Hooks):
    """On clsact: the filters on the TUN go with it; the one on the uplink is taken off here, or by `clatnm cleanup`."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._uplink = 0
        self._added = False

    def _hang_up(self, kernel: Netlink, plan: Plan, loaded: Loaded) -> None:
        for name, ifindex, egress in self._places(plan):
            program = loaded.programs[name]
            added = clsact.attach(kernel, ifindex, program, egress=egress, owner=self._device_index)
            if ifindex == plan.ifindex:
                self._uplink, self._added = ifindex, self._added or added

    def _replace(self, kernel: Netlink, plan: Plan, loaded: Loaded) -> None:
        self._hang_up(kernel, plan, loaded)

    async def held(self) -> Held:
        return replace(await super().held(), clsact=self._added)

    def adopt(self, plan: Plan, device_index: int, held: Held) -> None:
        super().adopt(plan, device_index, held)
        self._uplink, self._added = plan.ifindex, held.clsact

    def _take_down(self, kernel: Netlink) -> None:
        uplink, self._uplink = self._uplink, 0
        if uplink:
            with contextlib.suppress(HostError):
                clsact.detach(kernel, uplink, owner=self._device_index, remove_clsact=self._added)


@functools.lru_cache(maxsize=1)
def programs() -> bpf.Table | None:
    """As they were at first: an upgrade puts others in their place, which are made for its own code, and may take its
    time until it restarts ours."""
    return bpf.table()


@functools.lru_cache(maxsize=1)
def fingerprint() -> str:
    """Tells these programs and their maps from those of another version."""
    table = programs()
    if table is None:
        return ""
    told = repr((sorted(table.programs.items()), sorted(table.maps.items()), table.config_size))
    return hashlib.sha256(told.encode()).hexdigest()


def _read(counters: int, first: int) -> dict[str, tuple[int, int]]:
    """Packets and bytes by kind, all CPUs together."""
    cpus = _possible_cpus()
    rows: dict[str, tuple[int, int]] = {}
    for offset, kind in enumerate(_KINDS):
        data = kernel_bpf.read_map(counters, struct.pack("=I", first + offset), _COUNTER.size * cpus)
        values = list(_COUNTER.iter_unpack(data))
        rows[kind] = (sum(packets for packets, _ in values), sum(size for _, size in values))
    return rows


@functools.lru_cache(maxsize=1)
def _possible_cpus() -> int:
    """How many values a per-CPU map has: one for each CPU that could ever be there."""
    last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


def _add(flow: dict[str, Any], rows: Mapping[str, tuple[int, int]]) -> None:
    for kind, (packets, size) in rows.items():
        if packets:
            row = flow["protocols"].setdefault(kind, {"packets": 0, "bytes": 0})
            row["packets"] += packets
            row["bytes"] += size
            flow["fast"] += packets
