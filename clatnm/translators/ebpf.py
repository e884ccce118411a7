# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path: eBPF programs on the TUN device and the uplink; the translator process takes what they decline."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import os
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from clatnm import bpf
from clatnm.errors import HostError
from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel import tun
from clatnm.kernel.bpf import Loaded
from clatnm.kernel.host import Host
from clatnm.model import Plan
from clatnm.proto.nat64 import WELL_KNOWN
from clatnm.translators import device

_EGRESS, _INGRESS = "device_egress", "device_ingress"
_KINDS = ("tcp", "udp", "icmp")  # as clat.bpf.c numbers them, first towards IPv6, then towards IPv4
_DIRECTIONS = ("ipv4_to_ipv6", "ipv6_to_ipv4")
_COUNTER = struct.Struct("=QQ")


# To the verifier the configuration is constant, so what is tried must look like what will be used.
_EXAMPLE = Plan(
    interface="example",
    ifindex=0,
    uuid="",
    device="clat-example",
    backend="ebpf",
    clat_v4=IPv4Address("192.0.0.4"),
    clat_v6=IPv6Address("2001:db8::1"),
    prefix=WELL_KNOWN,
    gateway=IPv6Address("fe80::1"),
    link_address=None,
    ipv6_mtu_bytes=1500,
    ipv4_mtu_bytes=1472,
    metric=0,
)


class EbpfBackend:
    """A `translators.Backend` whose programs hang on tcx links (Linux 6.6 and later)."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def probe(self) -> str:
        return _fault()

    async def start(self, plan: Plan) -> device.DeviceTranslator:
        return await device.start(self._host, plan, TcxHooks())


@functools.lru_cache(maxsize=1)
def _fault() -> str:
    """Why the fast path cannot work on this machine; found by trying, once a process."""
    table = bpf.table()
    if table is None:
        return "this copy was built without clang"
    if not os.access(tun.DEVICE, os.R_OK | os.W_OK):
        return f"{tun.DEVICE} cannot be opened"
    try:
        loaded = Loaded(table, config(_EXAMPLE, 0), names=tuple(table.programs))
        try:
            # No device has index 0: a kernel that knows tcx says so, an older one does not know the attach type.
            kernel_bpf.attach_tcx(loaded.programs[_EGRESS], 0, egress=True)
        except HostError as error:
            return "" if error.errno == errno.ENODEV else f"tcx: {error}"
        finally:
            loaded.close()
    except HostError as error:
        return str(error)
    return ""


class TcxHooks:
    """A `device.FastPath`. The links keep the programs; both go when the last descriptor of them is closed."""

    def __init__(self) -> None:
        self._links: dict[str, int] = {}
        self._loaded: Loaded | None = None
        self._device_index = 0

    def attach(self, plan: Plan, device_index: int) -> None:
        self._device_index = device_index
        self._loaded = self._load(plan)
        try:
            for name, ifindex, egress in (
                (_INGRESS, device_index, False),
                (_EGRESS, device_index, True),
                (_uplink_program(plan), plan.ifindex, False),
            ):
                self._links[name] = kernel_bpf.attach_tcx(self._loaded.programs[name], ifindex, egress=egress)
        except HostError:
            self.close()
            raise

    def update(self, plan: Plan) -> None:
        """New programs with the new configuration take over link by link: no packet meets a half-changed one."""
        fresh = self._load(plan)
        for name, link in self._links.items():
            kernel_bpf.replace_program(link, fresh.programs[name])
        if self._loaded is not None:
            self._loaded.close()
        self._loaded = fresh

    def _load(self, plan: Plan) -> Loaded:
        table = bpf.table()
        if table is None:
            raise HostError("the fast path was not built", errno=errno.ENOENT)
        names = (_EGRESS, _INGRESS, _uplink_program(plan))
        return Loaded(table, config(plan, self._device_index), names=names, keep=self._loaded)

    def close(self) -> None:
        for link in self._links.values():
            os.close(link)
        self._links.clear()
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def counters(self, slow: Mapping[str, Any]) -> Mapping[str, Any]:
        told: dict[str, Any] = copy.deepcopy(dict(slow))
        if self._loaded is None or not told:
            return told
        with contextlib.suppress(HostError):
            for number, direction in enumerate(_DIRECTIONS):
                _add(told[direction], _read(self._loaded.maps["counters"], number * len(_KINDS)))
        return told


def _uplink_program(plan: Plan) -> str:
    return "uplink_ingress_plain" if plan.link_address is None else "uplink_ingress_ethernet"


def config(plan: Plan, device_index: int) -> bytes:
    """`struct config` of clat.bpf.c: addresses in wire order, numbers in the host's."""
    return struct.pack(
        "=4s16s16sI16sIIIIII",
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
    )


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
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as text:  # noqa: PTH123 - sysfs
        last = text.read().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


def _add(flow: dict[str, Any], rows: Mapping[str, tuple[int, int]]) -> None:
    for kind, (packets, size) in rows.items():
        if not packets:
            continue
        row = flow["protocols"].setdefault(kind, {"packets": 0, "bytes": 0})
        row["packets"] += packets
        row["bytes"] += size
        flow["fast"] += packets
