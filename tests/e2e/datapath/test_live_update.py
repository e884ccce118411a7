# SPDX-License-Identifier: GPL-2.0-or-later
"""What changes on a running translator changes between two packets: none is lost, none goes out as it was."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.driver import Driven
from tests.e2e.datapath.rig import (
    CLAT,
    GATEWAY,
    OTHER_GATEWAY,
    OTHER_PREFIX,
    PREFIX,
    SERVER,
    SERVER6,
    Rig,
)
from tests.e2e.datapath.streams import LARGE, SMALL, streams

IPV4 = 0x0800
BURST = 200  # more than wait for a next hop


@pytest.fixture(scope="module")
def driven(rig: Rig, backend: str) -> Iterator[Driven]:
    with Driven(rig, backend) as made:
        yield made


@pytest.mark.parametrize(
    ("change", "back"),
    [
        pytest.param({"gateway": OTHER_GATEWAY}, {"gateway": GATEWAY}, id="gateway"),
        pytest.param(
            {"ipv6_mtu_bytes": 1280, "ipv4_mtu_bytes": 1252}, {"ipv6_mtu_bytes": 1500, "ipv4_mtu_bytes": 1472}, id="mtu"
        ),
        pytest.param({"prefix": OTHER_PREFIX}, {"prefix": PREFIX}, id="prefix"),
        pytest.param({"metric": 50}, {"metric": 1074}, id="metric"),
    ],
)
def test_update_under_load_loses_and_leaks_nothing(
    rig: Rig, driven: Driven, change: dict[str, object], back: dict[str, object]
) -> None:
    traffic.ping(rig.host)
    traffic.ping(rig.host)
    # What is on its way when the link gets narrower is too large then.
    large_down = SMALL if "ipv6_mtu_bytes" in change else LARGE
    with rig.near.packets("lan0", IPV4) as leaks, streams(rig, large_down=large_down) as (up, down):
        for _ in range(3):
            for plan in (change, back):
                up.further()
                driven.update(**plan)
        up.further()
        heard_up, heard_down = up.end(), down.end()
        assert sorted(heard_up) == list(range(up.sent))
        assert sorted(set(heard_down)) == list(range(down.sent))
        leaks.setblocking(False)
        with pytest.raises(BlockingIOError):
            leaks.recv(1)
    assert up.sent > 600


def test_gateway_that_is_slow_to_answer_costs_nothing(rig: Rig, driven: Driven) -> None:
    """What does not fit where packets wait for the new one leaves by the old one."""
    traffic.ping(rig.host)
    rig.near.nft(
        f"""
        table ip6 mute {{
          chain out {{ type filter hook output priority 0; ip6 saddr {OTHER_GATEWAY} drop; }}
        }}
        """
    )
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        driven.update(gateway=OTHER_GATEWAY)
        for number in range(BURST):
            host.sendto(number.to_bytes(4, "big"), (str(SERVER), traffic.port_of(server)))
        rig.near.nft("flush ruleset\n")
        heard = {int.from_bytes(traffic.hear(server).data, "big") for _ in range(BURST)}
        driven.update(gateway=GATEWAY)
        assert heard == set(range(BURST))


def test_changed_address_is_in_force_at_once(rig: Rig, driven: Driven) -> None:
    other = IPv6Address(int(CLAT) + 1)
    traffic.exchange(rig, 100)
    driven.update(clat_v6=other)
    with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        host.sendto(b"from the other address", (str(SERVER), traffic.port_of(server)))
        heard = traffic.hear(server)
        assert heard.peer[0] == str(other)
        server.sendto(bytes(4000), heard.peer)
        assert traffic.hear(host).data == bytes(4000)
        assert not traffic.answers(rig.server, "-I", str(SERVER6), address=str(CLAT))
    driven.update(clat_v6=CLAT)
    traffic.exchange(rig, 100)
