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


@pytest.fixture(scope="module", params=SETTINGS)
def offloads(rig: Rig, clat: Clat, request: pytest.FixtureRequest) -> None:
    ends = ((rig.host, clat.device), (rig.host, "wan0"), (rig.near, "lan0"), (rig.server, "eth0"))
    for (place, device), state in zip(ends, SETTINGS[request.param], strict=True):
        for feature in FEATURES if device == clat.device else LINK_FEATURES:
            # one by one: `ethtool` fails where a device does not know one of several
            place.run("ethtool", "-K", device, feature, state, check=False)


@pytest.mark.usefixtures("offloads")
def test_tcp_arrives_unchanged(rig: Rig) -> None:
    traffic.download(rig.host, 4 * traffic.MIB)
    traffic.upload(rig.host, 4 * traffic.MIB)


@pytest.mark.usefixtures("offloads")
@pytest.mark.parametrize("size", [1, 1444, 30000])
def test_datagrams_arrive_unchanged(rig: Rig, size: int) -> None:
    traffic.exchange(rig, size)


@pytest.mark.usefixtures("offloads")
@pytest.mark.parametrize("segment_bytes", [100, 1200, 1444])
def test_datagrams_sent_in_one_go_arrive_as_many(rig: Rig, segment_bytes: int) -> None:
    """UDP segmentation offload, as QUIC stacks use it, both ways."""
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


@pytest.mark.usefixtures("offloads")
def test_ping_is_answered(rig: Rig) -> None:
    for size in (0, 1400, 4000):
        traffic.ping(rig.host, "-s", str(size))
