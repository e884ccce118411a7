# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path: eBPF programs on the TUN device and the uplink; the translator process takes what they decline."""

from __future__ import annotations

import errno
import functools
import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from clatnm.errors import HostError
from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel import tun
from clatnm.kernel.bpf import Loaded
from clatnm.kernel.host import Host
from clatnm.memo import Memo
from clatnm.model import Plan
from clatnm.proto.nat64 import WELL_KNOWN
from clatnm.translators import bringup, device, hooks
from clatnm.translators.estate import Estate
from clatnm.translators.hooks import DEVICE_INGRESS, ClsactHooks, TcxHooks, config
from clatnm.translators.orphan import Orphan

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

    shares = True
    marks = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def probe(self) -> str:
        return _fault() or _tcx_fault()

    async def start(self, plan: Plan) -> device.DeviceTranslator:
        return await bringup.start(self._host, plan, TcxHooks(self._host))

    async def adopt(self, memo: Memo, orphan: Orphan, estate: Estate) -> device.DeviceTranslator:
        return await bringup.adopt(self._host, memo, orphan, estate, TcxHooks(self._host))


class ClsactBackend:
    """A `translators.Backend` whose programs hang on clsact, for older kernels."""

    shares = True
    marks = True

    def __init__(self, host: Host) -> None:
        self._host = host

    def probe(self) -> str:
        return _fault()

    async def start(self, plan: Plan) -> device.DeviceTranslator:
        return await bringup.start(self._host, plan, ClsactHooks(self._host))

    async def adopt(self, memo: Memo, orphan: Orphan, estate: Estate) -> device.DeviceTranslator:
        return await bringup.adopt(self._host, memo, orphan, estate, ClsactHooks(self._host))


@functools.lru_cache(maxsize=1)
def _fault() -> str:
    """Why the programs cannot be used on this machine; found by trying, once a process."""
    table = hooks.programs()
    if table is None:
        return "this copy was built without clang"
    if not os.access(tun.DEVICE, os.R_OK | os.W_OK):
        return f"{tun.DEVICE} cannot be opened"
    try:
        for example in (replace(_EXAMPLE, shared=True), _EXAMPLE):
            Loaded(table, config(example, 0), names=tuple(table.programs)).close()
    except HostError as error:
        return str(error)
    return ""


@functools.lru_cache(maxsize=1)
def _tcx_fault() -> str:
    """Why they cannot hang on tcx links, if they can be used at all."""
    table = hooks.programs()
    assert table is not None
    try:
        loaded = Loaded(table, config(_EXAMPLE, 0), names=(DEVICE_INGRESS,))
    except HostError as error:
        return str(error)
    try:
        # No device has index 0: a kernel that knows tcx says so, an older one does not know the attach type.
        kernel_bpf.attach_tcx(loaded.programs[DEVICE_INGRESS], 0, egress=False)
    except HostError as error:
        return "" if error.errno == errno.ENODEV else f"tcx: {error}"
    finally:
        loaded.close()
    return ""
