# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of uplink carries every kind of traffic; all other tests are about plain Ethernet."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import SERVER6, Rig
from tests.e2e.datapath.uplink_kinds import KINDS, Uplink
from tests.lab.poll import eventually


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.replace("_", "-"))
def test_everything_gets_through(own_rig: Rig, backend: str, kind: Callable[[Rig], Uplink]) -> None:
    uplink, clat_v6 = kind(own_rig)
    clat = own_rig.translate(backend, uplink=uplink, clat_v6=clat_v6)
    assert clat.device == f"clat-{uplink}"
    carries_everything(own_rig)
    traffic.ping(own_rig.server, "-I", str(SERVER6), address=str(clat_v6))
    clat.stop()


def carries_everything(rig: Rig) -> None:
    """Small and large, both ways, each protocol; the first packets of a path may get lost where its MTU is small."""
    traffic.ping(rig.host)
    for size in (1100, 8700, 30000):
        eventually(functools.partial(traffic.answers, rig.host, "-s", str(size)), message=f"an answer of {size} bytes")
        traffic.exchange(rig, size)
    traffic.download(rig.host, 2 * traffic.MIB)
    traffic.upload(rig.host, 2 * traffic.MIB)
