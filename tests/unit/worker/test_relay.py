# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets to another program and back, local sockets standing in: unchanged, to where they belong, and no others."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

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

from clatnm.proto.eam import EamTable
from clatnm.proto.ndp import NeighborAdvert, neighbor_advertisement, neighbor_solicitation, parse_neighbor
from clatnm.worker import wire
from clatnm.worker.counters import Counters
from clatnm.worker.forward import BATCH
from clatnm.worker.link import EthernetLink, PlainLink
from clatnm.worker.port import UplinkPort, tun_port
from clatnm.worker.relay import PROGRAM_V6, RelayForwarder, relay_port
from clatnm.worker.vnet import BLANK, GSO_TCPV4, GSO_TCPV6, HEADER, NEEDS_CSUM
from clatnm.worker.wire import WorkerConfig

GATEWAY = IPv6Address("fe80::1")
OWN_MAC, GATEWAY_MAC = bytes.fromhex("020000000001"), bytes.fromhex("0200000000aa")
PLAIN_CONFIG = WorkerConfig(
    clat_v4=CLAT_V4,
    clat_v6=CLAT_V6,
    prefix=IPv6Network("64:ff9b::/96"),
    ipv6_mtu_bytes=1500,
    uplink="wlan0",
    relayed=True,
)
ETHERNET_CONFIG = replace(PLAIN_CONFIG, link_address=OWN_MAC, gateway=GATEWAY)
ETHERNET = GATEWAY_MAC + OWN_MAC + b"\x86\xdd"
DATA_VALID = 2
OUT = ipv4(filled(udp(b"out"), UDP, CLAT_V4, PEER_V4), UDP)
OUT6 = ipv6(filled(udp(b"out"), UDP, CLAT_V6, PEER_V6), UDP, source=CLAT_V6, destination=PEER_V6)
BACK6 = ipv6(filled(udp(b"back"), UDP, PEER_V6, CLAT_V6), UDP)
BACK = ipv4(filled(udp(b"back"), UDP, PEER_V4, CLAT_V4), UDP, source=PEER_V4, destination=CLAT_V4)


class Bench:
    """A relay; the far ends are the host's stack, the wire and the program."""

    def __init__(self, *, link_layer: bool = True, resolved: bool = True, mappings: EamTable | None = None) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
        (self.host, tun), (self.wire, uplink), (self.program, relay) = pairs
        self.sockets = [sock for pair in pairs for sock in pair]
        for sock in self.sockets:
            sock.setblocking(False)
        self.counters = Counters()
        port = UplinkPort(uplink, "wlan0")
        self.front = ETHERNET if link_layer else b""
        config = replace(ETHERNET_CONFIG if link_layer else PLAIN_CONFIG, mappings=mappings)
        self.link: PlainLink | EthernetLink = PlainLink(port, self.counters)
        if link_layer:
            self.link = EthernetLink(port, self.counters, on_conflict=lambda address: None)
            self.link.reconfigure(config, 0.0)
            if resolved:
                self.resolve()
        self.relay = RelayForwarder(
            config,
            tun=tun_port(tun.fileno()),
            uplink=port,
            relay=relay_port(relay),
            link=self.link,
            counters=self.counters,
        )

    def resolve(self) -> None:
        """The gateway says where it is."""
        self.drain(self.wire)
        answer = neighbor_advertisement(
            source=GATEWAY, destination=CLAT_V6, target=GATEWAY, link_address=GATEWAY_MAC, solicited=True, override=True
        )
        self.link.receive(OWN_MAC + GATEWAY_MAC + b"\x86\xdd" + answer, 0.0)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()

    def drain(self, sock: socket.socket) -> list[bytes]:
        packets = []
        try:
            while packet := sock.recv(100_000):
                packets.append(packet)
        except BlockingIOError:
            pass
        return packets

    def out(self, packet: bytes, header: bytes = BLANK) -> list[bytes]:
        """From the host: all that reaches the program."""
        self.host.send(header + packet)
        self.relay.from_tun()
        return self.drain(self.program)

    def back(self, packet: bytes, header: bytes = BLANK) -> list[bytes]:
        """From the wire: all that reaches the program."""
        self.wire.send(header + self.front + packet)
        self.relay.from_uplink()
        return self.drain(self.program)

    def made(self, packet: bytes, header: bytes = BLANK) -> tuple[list[bytes], list[bytes]]:
        """From the program: all that reaches the wire, and all that reaches the host."""
        self.program.send(header + packet)
        self.relay.from_relay()
        return self.drain(self.wire), self.drain(self.host)


@pytest.fixture(params=[True, False], ids=["ethernet", "no-link-layer"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(link_layer=request.param)
    yield bench
    bench.close()


# To the program


def test_packet_of_the_host_reaches_the_program_as_it_is(bench: Bench) -> None:
    assert bench.out(OUT) == [BLANK + OUT]


def test_packet_of_the_network_reaches_the_program_without_its_link_header(bench: Bench) -> None:
    assert bench.back(BACK6) == [BLANK + BACK6]


def test_offload_of_the_host_is_left_to_the_kernel(bench: Bench) -> None:
    """Flags but NEEDS_CSUM come with received packets, and the kernel takes none of them back."""
    packet = ipv4(filled(tcp(bytes(4000)), TCP, CLAT_V4, PEER_V4, partial=True), TCP)
    header = (NEEDS_CSUM | DATA_VALID, GSO_TCPV4, 40, 1400, 20, 16)
    assert bench.out(packet, HEADER.pack(*header)) == [HEADER.pack(NEEDS_CSUM, *header[1:]) + packet]


def test_offload_of_the_network_counts_from_the_ip_header(bench: Bench) -> None:
    packet = ipv6(filled(tcp(bytes(4000)), TCP, PEER_V6, CLAT_V6, partial=True), TCP)
    extra = len(bench.front)
    header = HEADER.pack(NEEDS_CSUM, GSO_TCPV6, 60 + extra, 1400, 40 + extra, 16)
    assert bench.back(packet, header) == [HEADER.pack(NEEDS_CSUM, GSO_TCPV6, 60, 1400, 40, 16) + packet]


def test_offload_without_checksum_has_no_offsets_to_move(bench: Bench) -> None:
    header = HEADER.pack(DATA_VALID, GSO_TCPV6, 0, 1400, 0, 0)
    assert bench.back(BACK6, header) == [HEADER.pack(0, GSO_TCPV6, 0, 1400, 0, 0) + BACK6]


def test_offload_that_points_into_the_link_header_is_counted() -> None:
    bench = Bench()
    assert bench.back(BACK6, HEADER.pack(NEEDS_CSUM, 0, 0, 0, 13, 6)) == []
    assert bench.counters.to_ipv4.drops == {"bad-offload": 1}
    bench.close()


@pytest.mark.parametrize("packet", [b"\x45" * 19, BACK6, b"\x00" * 40, b"\xff" * 100])
def test_what_is_no_ipv4_from_the_host_is_counted(bench: Bench, packet: bytes) -> None:
    bench.out(OUT)
    assert bench.out(packet) == []
    assert bench.counters.to_ipv6.drops == {"malformed": 1}


def test_frame_without_a_whole_header_is_counted(bench: Bench) -> None:
    """A longer packet came before it, of which nothing may be taken for this one's."""
    bench.back(BACK6)
    assert bench.back(BACK6[:39]) == []
    assert bench.counters.to_ipv4.drops == {"truncated": 1}


def test_icmpv6_without_a_type_is_not_neighbour_discovery(bench: Bench) -> None:
    solicitation = neighbor_solicitation(
        source=GATEWAY, destination=CLAT_V6, target=CLAT_V6, link_address=GATEWAY_MAC, nonce=None
    )
    bench.back(solicitation)
    bare = ipv6(b"", ICMPV6)
    assert bench.back(bare) == [BLANK + bare]


# Neighbour discovery stays with the link


def test_solicitation_is_answered_and_not_for_the_program() -> None:
    bench = Bench()
    question = neighbor_solicitation(
        source=GATEWAY, destination=CLAT_V6, target=CLAT_V6, link_address=GATEWAY_MAC, nonce=None
    )
    assert bench.back(question) == []
    (frame,) = bench.drain(bench.wire)
    answer = parse_neighbor(frame[len(BLANK) + 14 :])
    assert isinstance(answer, NeighborAdvert)
    assert answer.target == CLAT_V6
    bench.close()


def test_packet_waits_until_the_gateway_is_found() -> None:
    bench = Bench(resolved=False)
    bench.drain(bench.wire)
    wire_side, _ = bench.made(OUT6)
    assert [frame for frame in wire_side if frame.endswith(OUT6)] == []
    answer = neighbor_advertisement(
        source=GATEWAY, destination=CLAT_V6, target=GATEWAY, link_address=GATEWAY_MAC, solicited=True, override=True
    )
    assert bench.back(answer) == []
    assert bench.drain(bench.wire) == [BLANK + ETHERNET + OUT6]
    bench.close()


# From the program


def test_ipv6_goes_to_the_network_behind_the_link_header(bench: Bench) -> None:
    assert bench.made(OUT6) == ([BLANK + bench.front + OUT6], [])
    assert bench.relay.used


def test_ipv4_goes_to_the_host(bench: Bench) -> None:
    assert bench.made(BACK, HEADER.pack(DATA_VALID, 0, 0, 0, 0, 0)) == ([], [BLANK + BACK])
    assert not bench.relay.used


def test_counted_is_what_the_program_gives_back(bench: Bench) -> None:
    bench.out(OUT)
    bench.back(BACK6)
    told = bench.counters.snapshot()
    assert told["ipv4_to_ipv6"]["protocols"] == told["ipv6_to_ipv4"]["protocols"] == {}
    bench.made(OUT6)
    bench.made(BACK)
    bench.made(BACK)
    told = bench.counters.snapshot()
    assert told["ipv4_to_ipv6"]["protocols"] == {"udp": {"packets": 1, "bytes": len(OUT6)}}
    assert told["ipv6_to_ipv4"]["protocols"] == {"udp": {"packets": 2, "bytes": 2 * len(BACK)}}
    assert (told["ipv4_to_ipv6"]["fast"], told["ipv6_to_ipv4"]["fast"]) == (1, 2)


@pytest.mark.parametrize(
    "source",
    ["2001:db8:1::c1a8", "64:ff9b::10.0.0.1", "fe80::1", "::"],
    ids=["other", "unmapped", "link-local", "none"],
)
def test_no_other_source_reaches_the_network(bench: Bench, source: str) -> None:
    """A container's packet that nobody masqueraded, say, which TAYGA puts behind the prefix."""
    other = IPv6Address(source)
    packet = ipv6(filled(udp(b"x"), UDP, other, PEER_V6), UDP, source=other, destination=PEER_V6)
    assert bench.made(packet) == ([], [])
    assert bench.counters.to_ipv6.drops == {"source-unmapped": 1}


def test_error_of_the_program_goes_out_in_the_name_of_the_clat_address(bench: Bench) -> None:
    error = struct.pack("!BBHI", 3, 0, 0, 0) + BACK6
    packet = ipv6(
        filled(error, ICMPV6, PROGRAM_V6, PEER_V6), ICMPV6, source=PROGRAM_V6, destination=PEER_V6, hop_limit=64
    )
    (frame,), _ = bench.made(packet)
    sent = frame[len(BLANK) + len(bench.front) :]
    assert verifies(sent)
    assert sent[8:24] == CLAT_V6.packed
    assert (sent[:8], sent[24:42], sent[44:]) == (packet[:8], packet[24:42], packet[44:])
    assert bench.counters.to_ipv4.replies == 1
    assert bench.counters.snapshot()["ipv4_to_ipv6"]["protocols"] == {}


@pytest.mark.parametrize(
    "packet",
    [
        ipv6(udp(b"x"), UDP, source=PROGRAM_V6, destination=PEER_V6),
        ipv6(bytes(7), ICMPV6, source=PROGRAM_V6, destination=PEER_V6),
    ],
    ids=["udp", "too-short"],
)
def test_nothing_else_goes_out_in_its_name(bench: Bench, packet: bytes) -> None:
    assert bench.made(packet) == ([], [])
    assert bench.counters.to_ipv6.drops == {"source-unmapped": 1}


@pytest.mark.parametrize("packet", [b"\x45" * 19, b"\x60" * 39, b"\x50" * 60])
def test_what_is_no_packet_from_the_program_is_counted(bench: Bench, packet: bytes) -> None:
    bench.made(OUT6)
    assert bench.made(packet) == ([], [])
    assert bench.counters.to_ipv6.drops == {"malformed": 1}


# Batches, faults, chance


def test_each_wake_up_takes_a_batch_at_most(bench: Bench) -> None:
    sent = 0
    try:
        while sent < 2 * BATCH:
            bench.program.send(BLANK + BACK)
            sent += 1
    except BlockingIOError:
        pytest.skip("socket buffers are too small here")
    bench.relay.from_relay()
    assert len(bench.drain(bench.host)) == BATCH


def test_full_queue_of_the_program_is_counted(bench: Bench) -> None:
    try:
        while True:
            bench.relay._relay.write(b"x" * 1000)
    except BlockingIOError:
        pass
    bench.host.send(BLANK + OUT)
    bench.relay.from_tun()
    assert bench.counters.to_ipv6.drops == {"busy": 1}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["out", "back", "made"]), st.binary(min_size=1, max_size=120)), max_size=8))
def test_any_bytes_do_no_harm(steps: list[tuple[str, bytes]]) -> None:
    bench = Bench()
    try:
        for way, data in steps:
            far = {"out": bench.host, "back": bench.wire, "made": bench.program}[way]
            far.send(data)
            {"out": bench.relay.from_tun, "back": bench.relay.from_uplink, "made": bench.relay.from_relay}[way]()
        bench.drain(bench.host), bench.drain(bench.wire), bench.drain(bench.program)
        assert bench.out(OUT) == [BLANK + OUT]
        assert bench.made(OUT6)[0] == [BLANK + ETHERNET + OUT6]
    finally:
        bench.close()


# The process


@pytest.mark.parametrize("group", [True, False], ids=["with-group", "without-group"])
def test_process_takes_the_last_descriptor_for_the_program(group: bool) -> None:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(4)]
    (control, its_control), (host, tun), (wire_side, uplink), (program, relay) = pairs
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as membership:
        command = [sys.executable, "-I", "-m", "clatnm.worker", "--control-fd", str(its_control.fileno())]
        process = subprocess.Popen(command, pass_fds=[its_control.fileno()])
        try:
            held = [membership.fileno()] if group else []
            wire.send_start(control, PLAIN_CONFIG, [tun.fileno(), uplink.fileno(), *held, relay.fileno()])
            for sock in (control, host, wire_side, program):
                sock.settimeout(10.0)
            assert wire.decode(control.recv(wire.MESSAGE_BYTES)) == ("ready", {})
            host.send(BLANK + ipv4(filled(icmp_echo(b""), ICMP, CLAT_V4, PEER_V4), ICMP))
            assert program.recv(2000)[len(BLANK)] == 0x45
            program.send(BLANK + OUT6)
            assert wire_side.recv(2000) == BLANK + OUT6
            control.send(wire.encode("stop"))
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
            for pair in pairs:
                for sock in pair:
                    sock.close()


def test_process_without_the_programs_socket_is_told_so() -> None:
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-I", "-m", "clatnm.worker", "--control-fd", str(its_control.fileno())]
    with subprocess.Popen(command, pass_fds=[its_control.fileno()]) as process, control, its_control:
        read_end, write_end = os.pipe()
        wire.send_start(control, PLAIN_CONFIG, [read_end, write_end])
        os.close(read_end)
        os.close(write_end)
        control.settimeout(10.0)
        op, fields = wire.decode(control.recv(wire.MESSAGE_BYTES))
        assert op == "error"
        assert "descriptors" in fields["what"]
        assert process.wait(10) == 1
