# SPDX-License-Identifier: GPL-2.0-or-later
"""Who moves the packets? One file a backend, one line a backend in `BACKENDS`, best first."""

from __future__ import annotations

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
