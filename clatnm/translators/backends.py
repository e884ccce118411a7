# SPDX-License-Identifier: GPL-2.0-or-later
"""Who moves the packets? One file a backend, one line a backend in `BACKENDS`, best first."""

from __future__ import annotations

from collections.abc import Mapping

from clatnm.kernel.host import Host
from clatnm.translators.base import Backend
from clatnm.translators.ebpf import ClsactBackend, EbpfBackend
from clatnm.translators.tayga import TaygaBackend
from clatnm.translators.tun import TunBackend

BACKENDS: dict[str, type[Backend]] = {
    "ebpf": EbpfBackend,
    "ebpf-clsact": ClsactBackend,
    "tun": TunBackend,
    "tayga": TaygaBackend,
}


def available(host: Host) -> dict[str, Backend]:
    """Every backend by name, in order of preference; ask each with `probe()`."""
    return {name: backend(host) for name, backend in BACKENDS.items()}


def faults(backends: Mapping[str, Backend]) -> dict[str, str]:
    """Why each of them cannot work on this machine; empty for one that can."""
    return {name: backend.probe() for name, backend in backends.items()}


def sharing(backends: Mapping[str, Backend]) -> frozenset[str]:
    """Those that can translate from the host's own address beside its own traffic."""
    return frozenset(name for name, backend in backends.items() if backend.shares)
