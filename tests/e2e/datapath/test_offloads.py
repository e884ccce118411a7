# SPDX-License-Identifier: GPL-2.0-or-later
"""Large packets cut late or early, checksums filled in late or early: the same bytes arrive."""

from __future__ import annotations

import os

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import SERVER, Clat, Rig

FEATURES = ("gro", "gso", "tso", "rx", "tx-udp-segmentation")
# Our own device always fills in checksums; links may not. (A kernel that sends a large datagram by a device which does
# not marks it as having a checksum already, so that no hook can tell how to change it.)
LINK_FEATURES = (*FEATURES, "tx")
SOL_UDP, UDP_SEGMENT = 17, 103

# What each device does: host's device, host's uplink, router's end of it, server's link.
SETTINGS = {
    "all-on": ("on", "on", "on", "on"),
    "all-off": ("off", "off", "off", "off"),
    "network-off": ("on", "on", "off", "off"),
    "uplink-off": ("on", "off", "on", "on"),
    "device-off": ("off", "on", "on", "on"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_everything_arrives_unchanged(rig: Rig, clat: Clat, setting: str) -> None:
    ends = ((rig.host, clat.device), (rig.host, "wan0"), (rig.near, "lan0"), (rig.server, "eth0"))
    for (place, device), state in zip(ends, SETTINGS[setting], strict=True):
        features = FEATURES if device == clat.device else LINK_FEATURES
        place.run("ethtool", "-K", device, *(word for feature in features for word in (feature, state)))
    for size in (0, 1400, 4000):
        traffic.ping(rig.host, "-s", str(size))
    for size in (1, 1444, 30000):
        traffic.exchange(rig, size)
    for segment_bytes in (100, 1200, 1444):
        send_in_one_go(rig, segment_bytes)
    traffic.download(rig.host, 4 * traffic.MIB)
    traffic.upload(rig.host, 4 * traffic.MIB)


def send_in_one_go(rig: Rig, segment_bytes: int) -> None:
    """UDP segmentation offload, as QUIC stacks use it, both ways: sent as one, arriving as many."""
    sent = os.urandom(segment_bytes * 20 + 1)
    parts = [sent[at : at + segment_bytes] for at in range(0, len(sent), segment_bytes)]
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        for sock in (host, server):
            sock.setsockopt(SOL_UDP, UDP_SEGMENT, segment_bytes)
        host.sendto(sent, (str(SERVER), traffic.port_of(server)))
        heard = [traffic.hear(server) for _ in parts]
        assert [datagram.data for datagram in heard] == parts
        server.sendto(sent, heard[0].peer)
        assert [traffic.hear(host).data for _ in parts] == parts
