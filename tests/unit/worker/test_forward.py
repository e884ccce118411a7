# SPDX-License-Identifier: GPL-2.0-or-later
"""Both directions between two descriptors, local sockets standing in: what goes in one comes out the other, right."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_packets import (
    CLAT_V4,
    CLAT_V6,
    ICMP,
    ICMPV6,
    PEER_V4,
    PEER_V6,
    TCP,
    UDP,
    filled,
    icmp_echo,
    ipv4,
    ipv6,
    tcp,
    udp,
    verifies,
)

from clatnm.errors import HostError
from clatnm.proto.ndp import NeighborAdvert, neighbor_solicitation, parse_neighbor
from clatnm.worker.counters import Flow
from clatnm.worker.forward import BATCH
from clatnm.worker.port import tun_port
from tests.unit.worker.forward_bench import (
    BLANK,
    GATEWAY,
    GATEWAY_MAC,
    NO_OPERATIONS,
    Bench,
    segment4,
    segment6,
)


@pytest.fixture(params=[True, False], ids=["ethernet", "no-link-layer"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(link_layer=request.param)
    yield bench
    bench.close()


PAYLOAD = bytes(i * 31 & 0xFF for i in range(1201))


@pytest.mark.parametrize(
    ("protocol", "there", "body"),
    [(TCP, TCP, tcp(PAYLOAD)), (UDP, UDP, udp(PAYLOAD)), (ICMP, ICMPV6, icmp_echo(PAYLOAD))],
    ids=["tcp", "udp", "echo"],
)
def test_packet_from_the_host_reaches_the_wire(bench: Bench, protocol: int, there: int, body: bytes) -> None:
    ((header, packet),) = bench.out(ipv4(segment4(body, protocol), protocol))
    assert header == BLANK
    assert (packet[6], packet[8:24], packet[24:40]) == (there, CLAT_V6.packed, PEER_V6.packed)
    assert verifies(packet)
    assert packet.endswith(PAYLOAD)
    assert bench.counters.to_ipv6.fast == 1


@pytest.mark.parametrize(
    ("protocol", "there", "body"),
    [(TCP, TCP, tcp(PAYLOAD)), (UDP, UDP, udp(PAYLOAD)), (ICMPV6, ICMP, icmp_echo(PAYLOAD, kind=129))],
    ids=["tcp", "udp", "echo"],
)
def test_packet_from_the_wire_reaches_the_host(bench: Bench, protocol: int, there: int, body: bytes) -> None:
    ((header, packet),) = bench.back(ipv6(segment6(body, protocol), protocol))
    assert header == BLANK
    assert (packet[9], packet[12:16], packet[16:20]) == (there, PEER_V4.packed, CLAT_V4.packed)
    assert verifies(packet)
    assert packet.endswith(PAYLOAD)
    assert bench.counters.to_ipv4.fast == 1


def test_large_packet_crosses_whole_with_its_vnet_header(bench: Bench) -> None:
    body = segment4(tcp(bytes(60000)), TCP, partial=True)
    ((header, packet),) = bench.out(ipv4(body, TCP), struct.pack("=BBHHHH", 1, 1, 40, 1400, 20, 16))
    start = len(bench.front) + 40
    assert struct.unpack("=BBHHHH", header) == (1, 4, start + 20, 1400, start, 16)
    assert packet[40:] == filled(body, TCP, CLAT_V6, PEER_V6, partial=True)
    body = segment6(tcp(bytes(60000)), TCP, partial=True)
    ((header, packet),) = bench.back(ipv6(body, TCP), struct.pack("=BBHHHH", 3, 4, start + 20, 1400, start, 16))
    assert struct.unpack("=BBHHHH", header) == (1, 1, 40, 1400, 20, 16)
    assert packet[20:] == filled(body, TCP, PEER_V4, CLAT_V4, partial=True)
    assert (bench.counters.to_ipv6.fast, bench.counters.to_ipv4.fast) == (1, 1)


def test_packet_with_ip_options_takes_the_slow_path(bench: Bench) -> None:
    body = segment4(udp(PAYLOAD), UDP)
    ((header, packet),) = bench.out(ipv4(body, UDP, options=NO_OPERATIONS))  # RFC 7915 4.1: options are left out
    assert header == BLANK and verifies(packet) and packet.endswith(PAYLOAD)
    assert (bench.counters.to_ipv6.fast, bench.counters.to_ipv6.slow) == (0, 1)


def test_unfinished_checksum_is_completed_on_the_slow_path(bench: Bench) -> None:
    body = segment4(udp(PAYLOAD), UDP, partial=True)
    packet = ipv4(body, UDP, options=NO_OPERATIONS)
    ((header, packet),) = bench.out(packet, struct.pack("=BBHHHH", 1, 0, 0, 0, 24, 6))
    assert header == BLANK and verifies(packet) and packet.endswith(PAYLOAD)


def test_large_packet_is_cut_on_the_slow_path(bench: Bench) -> None:
    body = segment4(tcp(PAYLOAD * 4), TCP, partial=True)
    packet = ipv4(body, TCP, options=NO_OPERATIONS)
    sent = bench.out(packet, struct.pack("=BBHHHH", 1, 1, 44, 1000, 24, 16))
    assert all(header == BLANK and verifies(packet) for header, packet in sent)
    assert b"".join(packet[60:] for _, packet in sent) == PAYLOAD * 4
    assert {len(packet) for _, packet in sent[:-1]} == {1060}


def test_segments_past_the_mtu_are_refused_with_an_answer(bench: Bench) -> None:
    body = segment4(tcp(bytes(4 * 1460)), TCP, partial=True)
    assert bench.out(ipv4(body, TCP), struct.pack("=BBHHHH", 1, 1, 40, 1460, 20, 16)) == []
    answers = bench.drain(bench.host)
    assert answers and all(answer[10 + 20 : 10 + 22] == b"\x03\x04" for answer in answers)  # RFC 7915 4.1: 3/4
    assert answers[0][10 + 26 : 10 + 28] == (1480).to_bytes(2, "big")
    assert bench.counters.to_ipv6.drops["too-big"] > 0
    assert bench.counters.to_ipv6.replies == len(answers)


def test_expired_packet_from_the_wire_is_answered_there(bench: Bench) -> None:
    assert bench.back(ipv6(segment6(udp(PAYLOAD), UDP), UDP, hop_limit=1)) == []
    (answer,) = bench.drain(bench.wire)
    packet = answer[10 + len(bench.front) :]
    assert verifies(packet)
    assert packet[40:42] == b"\x03\x00"  # RFC 4443 3.3
    assert bench.counters.to_ipv4.replies == 1


def test_contradictory_vnet_header_is_counted(bench: Bench) -> None:
    assert bench.out(ipv4(segment4(udp(b"x"), UDP), UDP), struct.pack("=BBHHHH", 1, 9, 0, 0, 20, 6)) == []
    assert bench.counters.to_ipv6.drops == {"bad-offload": 1}


def test_ipv6_from_the_host_goes_nowhere(bench: Bench) -> None:
    assert bench.out(ipv6(segment6(udp(b"x"), UDP), UDP)) == []
    assert bench.counters.to_ipv6.drops == {"not-ipv4": 1}


def test_what_hooks_leave_comes_by_the_tun_and_goes_to_the_host(bench: Bench) -> None:
    bench.forwarder.reconfigure(replace(bench.config, hooked=True))
    assert bench.out(ipv6(segment6(udp(PAYLOAD), UDP), UDP)) == []
    (packet,) = bench.drain(bench.host)
    assert verifies(packet[10:])
    assert packet[10 + 12 : 10 + 20] == PEER_V4.packed + CLAT_V4.packed
    assert bench.counters.to_ipv6.drops == {}
    assert bench.counters.to_ipv4.slow == 1


SIMPLE = [(TCP, tcp(PAYLOAD)), (UDP, udp(PAYLOAD)), (ICMPV6, icmp_echo(PAYLOAD, kind=129))]
ODD = [(ICMPV6, icmp_echo(PAYLOAD, kind=3)), (50, b"esp-like"), (44, bytes((UDP, 0, 0, 1, 0, 0, 0, 9)) + udp(PAYLOAD))]


@pytest.mark.parametrize(("protocol", "body"), SIMPLE + ODD)
def test_while_hooks_are_awaited_only_what_they_would_leave_is_theirs(bench: Bench, protocol: int, body: bytes) -> None:
    bench.forwarder.reconfigure(replace(bench.config, expecting=True))
    packet = ipv6(body if protocol in (50, 44) else segment6(body, protocol), protocol)
    assert bench.out(packet) == []
    is_simple = (protocol, body) in SIMPLE
    assert bench.counters.to_ipv6.drops == ({"not-ipv4": 1} if is_simple else {})
    flow = bench.counters.to_ipv4
    assert (flow.slow + flow.held + sum(flow.drops.values()) > 0) is not is_simple


def test_padding_that_hooks_decline_is_no_loss_while_they_are_awaited(bench: Bench) -> None:
    bench.forwarder.reconfigure(replace(bench.config, expecting=True))
    assert bench.out(ipv6(segment6(udp(PAYLOAD), UDP), UDP) + bytes(13)) == []
    (packet,) = bench.drain(bench.host)
    assert verifies(packet[10:])


def test_what_hooks_leave_is_answered_on_the_wire(bench: Bench) -> None:
    bench.forwarder.reconfigure(replace(bench.config, hooked=True))
    ((_, answer),) = bench.out(ipv6(segment6(udp(PAYLOAD), UDP), UDP, hop_limit=1))
    assert verifies(answer)
    assert answer[40:42] == b"\x03\x00"  # RFC 4443 3.3


def test_what_the_hooks_did_not_take_is_translated_all_the_same(bench: Bench) -> None:
    bench.forwarder.reconfigure(replace(bench.config, hooked=True))
    for body in (udp(PAYLOAD), udp(PAYLOAD[:20])):
        ((_, packet),) = bench.out(ipv4(segment4(body, UDP), UDP))
        assert verifies(packet)
        ((_, packet),) = bench.back(ipv6(segment6(body, UDP), UDP))
        assert verifies(packet)
    assert (bench.counters.to_ipv6.fast, bench.counters.to_ipv4.fast) == (2, 2)


def test_packets_are_counted_by_protocol(bench: Bench) -> None:
    bench.out(ipv4(segment4(udp(b"xyz"), UDP), UDP))
    bench.out(ipv4(segment4(udp(b"xyz"), UDP), UDP, options=NO_OPERATIONS))
    bench.out(ipv4(segment4(icmp_echo(b""), ICMP), ICMP))
    bench.out(ipv4(b"esp-like", 50))
    bench.back(ipv6(segment6(icmp_echo(b"", kind=129), ICMPV6), ICMPV6))
    counters = bench.counters.snapshot()
    assert counters["ipv4_to_ipv6"] == {
        "protocols": {
            "icmp": {"packets": 1, "bytes": 28},
            "udp": {"packets": 2, "bytes": 31 + 35},
            "other": {"packets": 1, "bytes": 28},
        },
        "fast": 2,
        "slow": 2,
        "held": 0,
        "replies": 0,
        "drops": {},
    }
    assert counters["ipv6_to_ipv4"]["protocols"] == {"icmp": {"packets": 1, "bytes": 48}}


def test_one_wakeup_takes_one_batch(bench: Bench) -> None:
    packet = BLANK + ipv4(segment4(udp(b"x"), UDP), UDP)
    for _ in range(BATCH + 3):
        bench.host.send(packet)
    bench.forwarder.from_tun()
    assert len(bench.drain(bench.wire)) == BATCH
    bench.forwarder.from_tun()
    assert len(bench.drain(bench.wire)) == 3


def test_use_of_the_gateway_is_noticed() -> None:
    bench = Bench()
    assert not bench.forwarder.used
    bench.out(ipv4(segment4(udp(b"x"), UDP), UDP))
    assert bench.forwarder.used
    bench.close()


def test_packets_wait_for_an_unresolved_gateway() -> None:
    bench = Bench(resolved=False)
    bench.drain(bench.wire)
    bench.host.send(BLANK + ipv4(segment4(udp(PAYLOAD), UDP), UDP))
    bench.forwarder.from_tun()
    assert all(frame[10 + 14 + 6] == ICMPV6 for frame in bench.drain(bench.wire))
    bench.forwarder.reconfigure(bench.config)
    bench.link.forward(BLANK, b"marker", 0.0)
    bench.resolve()
    # `resolve` drops what was on the wire before; what follows is what had waited
    first, second = (frame[10 + 14 :] for frame in bench.drain(bench.wire))
    assert verifies(first) and first.endswith(PAYLOAD)
    assert second == b"marker"
    bench.close()


def test_solicitation_from_the_wire_is_answered_not_translated() -> None:
    bench = Bench()
    solicit = neighbor_solicitation(source=GATEWAY, target=CLAT_V6, link_address=GATEWAY_MAC)
    assert bench.back(solicit) == []
    (frame,) = bench.drain(bench.wire)
    answer = parse_neighbor(frame[10 + 14 :])
    assert isinstance(answer, NeighborAdvert) and answer.target == CLAT_V6
    bench.close()


def test_full_queue_of_the_uplink_loses_packets_and_counts_them(bench: Bench) -> None:
    packet = BLANK + ipv4(segment4(udp(PAYLOAD), UDP), UDP)
    for _ in range(20):
        for _ in range(BATCH):
            bench.host.send(packet)
        bench.forwarder.from_tun()
    flow = bench.counters.to_ipv6
    assert flow.drops["busy"] > 0
    assert flow.fast == len(bench.drain(bench.wire))
    assert flow.fast + flow.drops["busy"] == 20 * BATCH


def test_closed_host_side_loses_packets_and_counts_them(bench: Bench) -> None:
    bench.wire.send(BLANK + bench.front + ipv6(segment6(udp(b"x"), UDP), UDP))
    bench.host.close()
    bench.forwarder.from_uplink()
    assert bench.counters.to_ipv4.drops == {"failed": 1}


@pytest.mark.parametrize("number", [errno.EBADFD, errno.ENXIO, errno.ENODEV])
def test_device_that_is_gone_ends_it(number: int) -> None:
    flow = Flow()
    with pytest.raises(HostError) as caught:
        tun_port(-1).failed(OSError(number, "gone"), flow)
    assert caught.value.errno == number
    assert caught.value.hint
    assert flow.drops == {}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EAGAIN, "busy"),
        (errno.ENOBUFS, "busy"),
        (errno.EINVAL, "refused"),
        (errno.EMSGSIZE, "refused"),
        (errno.ENETDOWN, "link-down"),
        (errno.EIO, "link-down"),
        (errno.EPERM, "failed"),
    ],
)
def test_refused_packet_is_counted_by_reason(number: int, reason: str) -> None:
    flow = Flow()
    port = tun_port(-1)
    port.failed(OSError(number, "no"), flow)
    assert flow.drops == {reason: 1}
    assert port.down is (number == errno.ENETDOWN)


headers = st.binary(min_size=10, max_size=10) | st.tuples(
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([0, 1, 3, 4, 5, 0x81, 0x84]),
    st.integers(0, 80),
    st.sampled_from([0, 1, 8, 1400]),
    st.sampled_from([20, 24, 40, 54]),
    st.sampled_from([6, 16]),
).map(lambda fields: struct.pack("=BBHHHH", *fields))


def mutated(packet: bytes) -> st.SearchStrategy[bytes]:
    """The packet with a few bytes changed, and cut or lengthened."""
    changes = st.lists(st.tuples(st.integers(0, len(packet) - 1), st.integers(0, 255)), max_size=4)

    def apply(arguments: tuple[list[tuple[int, int]], int, bytes]) -> bytes:
        data = bytearray(packet)
        for at, value in arguments[0]:
            data[at] = value
        return bytes(data[: arguments[1]]) + arguments[2]

    return st.tuples(changes, st.integers(0, len(packet)) | st.just(len(packet)), st.binary(max_size=3)).map(apply)


BENCHES = {link_layer: Bench(link_layer=link_layer) for link_layer in (True, False)}
INPUT4 = mutated(ipv4(segment4(tcp(bytes(64), options=bytes(12)), TCP), TCP)) | mutated(
    ipv4(segment4(udp(bytes(64)), UDP), UDP, flags=0x2000)
)
INPUT6 = mutated(ipv6(segment6(tcp(bytes(64), options=bytes(12)), TCP), TCP)) | mutated(
    neighbor_solicitation(source=GATEWAY, target=CLAT_V6, link_address=GATEWAY_MAC)
)


@settings(max_examples=300)
@given(headers, INPUT4 | st.binary(max_size=80), st.booleans())
def test_anything_from_the_host_is_translated_answered_or_counted(header: bytes, data: bytes, link_layer: bool) -> None:
    bench = BENCHES[link_layer]
    before = handled(bench)
    bench.host.send(header + data)
    bench.forwarder.from_tun()
    bench.drain(bench.wire)
    bench.drain(bench.host)
    assert handled(bench) > before


@settings(max_examples=300)
@given(headers, INPUT6 | st.binary(max_size=80), st.booleans())
def test_anything_from_the_wire_is_translated_answered_or_counted(header: bytes, data: bytes, link_layer: bool) -> None:
    bench = BENCHES[link_layer]
    before = handled(bench)
    bench.wire.send(header + bench.front + data)
    bench.forwarder.from_uplink()
    bench.drain(bench.wire)
    bench.drain(bench.host)
    assert handled(bench) > before


def handled(bench: Bench) -> int:
    flows = (bench.counters.to_ipv6, bench.counters.to_ipv4)
    counted = sum(flow.fast + flow.slow + flow.held + flow.replies + sum(flow.drops.values()) for flow in flows)
    return counted + bench.counters.neighbour_received
