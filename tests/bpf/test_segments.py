# SPDX-License-Identifier: GPL-2.0-or-later
"""What an MTU means for a packet that will be cut into segments, exactly at its limits; and what the hooks count."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel.bpf import Loaded
from tests.bpf.compare import Comparison
from tests.bpf.packets import VECTORS_CLAT
from tests.bpf.programs import IPV4, IPV6, Kind, Programs, missing, table
from tests.unit.proto import siit_packets as pk

pytestmark = [pytest.mark.root, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

MTU = VECTORS_CLAT.ipv6_mtu_bytes
NO_DF_BYTES = 1260  # RFC 7915 5.1


@pytest.fixture
def comparison() -> Iterator[Comparison]:
    made = Comparison(VECTORS_CLAT)
    yield made
    made.close()


@pytest.fixture
def programs() -> Iterator[Programs]:
    made = Programs(VECTORS_CLAT)
    yield made
    made.close()


def tcp(offset: int, size: int) -> bytes:
    body = bytearray(pk.tcp(bytes(size - 20)))
    body[12] = offset << 4
    return bytes(body)


TRANSPORTS = [
    pytest.param(pk.TCP, tcp(5, 3000), 20, id="tcp"),
    pytest.param(pk.TCP, tcp(8, 3000), 32, id="tcp-timestamps"),
    pytest.param(pk.TCP, tcp(15, 3000), 60, id="tcp-all-options"),
    pytest.param(pk.UDP, pk.udp(bytes(2992), field=0x1234), 8, id="udp"),
]


@pytest.mark.parametrize(("protocol", "body", "header"), TRANSPORTS)
def test_segment_may_be_as_large_as_the_mtu(comparison: Comparison, protocol: int, body: bytes, header: int) -> None:
    there, back = pk.ipv4(body, protocol, df=True), pk.ipv6(body, protocol)
    for size, kind in ((1, Kind.TRANSLATED), (MTU, Kind.TRANSLATED), (MTU + 1, Kind.TO_PROCESS)):
        assert comparison.from_host(there, gso_size=max(1, size - 40 - header)) is kind
        assert comparison.from_network(back, gso_size=max(1, size - 20 - header)) is kind
    assert comparison.from_host(there) is Kind.TO_PROCESS
    assert comparison.from_network(back) is Kind.TO_PROCESS


@pytest.mark.parametrize(("protocol", "body", "header"), TRANSPORTS)
def test_df_follows_the_segments(programs: Programs, protocol: int, body: bytes, header: int) -> None:
    """RFC 7915 5.1. The packet itself is larger either way."""
    packet = pk.ipv6(body, protocol)
    for size, df in ((NO_DF_BYTES, 0), (NO_DF_BYTES + 1, 0x40)):
        assert programs.from_network(packet, gso_size=size - 20 - header).packet[6] == df


def test_icmp_is_never_cut_into_segments(comparison: Comparison) -> None:
    there, back = pk.ipv4(pk.icmp(8, 0, 1, bytes(99)), pk.ICMP), pk.ipv6(pk.icmp(128, 0, 1, bytes(99)), pk.ICMPV6)
    assert comparison.from_host(there, gso_size=50) is Kind.TO_PROCESS
    assert comparison.from_network(back, gso_size=50) is Kind.TO_PROCESS


def test_process_sends_ipv6_and_is_received_as_ipv4(programs: Programs) -> None:
    six, four = pk.summed(pk.ipv6(pk.udp(b"x"), pk.UDP)), pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP))
    sent = programs.from_process(six, ethertype=IPV6)
    assert (sent.kind, sent.packet) == (Kind.TRANSLATED, six)
    assert programs.from_process(four, ethertype=IPV4).kind is Kind.NOT_OURS


def counters(loaded: Loaded) -> list[tuple[int, int]]:
    """(packets, bytes) by direction and protocol, all CPUs together."""
    possible = Path("/sys/devices/system/cpu/possible").read_text().strip()
    size = 16 * (int(possible.split(",")[-1].split("-")[-1]) + 1)
    read = [kernel_bpf.read_map(loaded.maps["counters"], struct.pack("=I", key), size) for key in range(6)]
    return [tuple(map(sum, zip(*struct.iter_unpack("=QQ", row), strict=True))) for row in read]  # type: ignore[misc]


def test_counters_tell_what_came_and_keep_over_an_update(programs: Programs) -> None:
    """As the process counts: packets once, however they will be cut, and bytes without a link header."""
    for body, protocol in ((pk.tcp(bytes(99)), pk.TCP), (pk.udp(bytes(11)), pk.UDP), (pk.icmp(8), pk.ICMP)):
        programs.from_host(pk.summed(pk.ipv4(body, protocol)))
    programs.from_host(pk.ipv4(tcp(5, 3000), pk.TCP), gso_size=1000)
    programs.from_host(pk.ipv4(bytes(20), 47))  # declined: the process counts it
    programs.from_network(pk.summed(pk.ipv6(pk.udp(bytes(11)), pk.UDP)))
    expected = [(2, 139 + 3020), (1, 39), (1, 28), (0, 0), (1, 59), (0, 0)]
    assert counters(programs.loaded) == expected
    fresh = Loaded(table(), VECTORS_CLAT.pack(), names=("device_egress",), keep=programs.loaded)
    try:
        programs.from_host(pk.summed(pk.ipv4(pk.icmp(8), pk.ICMP)))
        expected[2] = (2, 56)
        assert counters(fresh) == counters(programs.loaded) == expected
    finally:
        fresh.close()
