# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbours that forget each other, and link addresses that change, while packets flow."""

from __future__ import annotations

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, Clat, Rig
from tests.e2e.datapath.streams import streams
from tests.lab.poll import eventually

NEW_MAC = "02:00:00:00:00:0c"
# Not those that are being asked for: the kernel drops what waits for them.
_KNOWN = tuple(word for state in ("reachable", "stale", "delay", "probe") for word in ("nud", state))


def test_forgotten_neighbours_cost_nothing(rig: Rig, clat: Clat) -> None:
    traffic.ping(rig.host)
    for place, device in ((rig.host, "wan0"), (rig.near, "lan0")):
        # What the kernel keeps meanwhile would do for any link but this one, which has no end of bandwidth.
        place.sysctl(**{f"ipv6__neigh__{device}__unres_qlen_bytes": 64 << 20})
        with streams(rig) as (up, down):
            for _ in range(4):
                up.further()
                place.ip("neigh", "flush", "dev", device, *_KNOWN)
            up.further()
            heard_up, heard_down = up.end(), down.end()
        assert sorted(heard_up) == list(range(up.sent))
        assert sorted(set(heard_down)) == list(range(down.sent))


def test_uplink_with_a_new_mac_goes_on(own_rig: Rig, backend: str) -> None:
    with own_rig.translate(backend) as clat:
        traffic.ping(own_rig.host)
        worker = clat.worker
        own_rig.host.ip("link", "set", "wan0", "address", NEW_MAC)
        eventually(lambda: traffic.answers(own_rig.host), message="packets flow again")
        traffic.exchange(own_rig, 4000)
        own_rig.near.ip("neigh", "flush", "dev", "lan0")
        traffic.exchange(own_rig, 4000)
        assert NEW_MAC in own_rig.near.ip("neigh", "show", "to", str(CLAT))
        assert clat.worker == worker


def test_router_with_a_new_mac_is_followed(own_rig: Rig, backend: str) -> None:
    with own_rig.translate(backend):
        traffic.ping(own_rig.host)
        own_rig.near.sysctl(ipv6__conf__lan0__ndisc_notify=1)
        own_rig.near.ip("link", "set", "lan0", "address", NEW_MAC)
        eventually(lambda: traffic.answers(own_rig.host), message="packets flow again")
        traffic.exchange(own_rig, 4000)
