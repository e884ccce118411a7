# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbour discovery as the worker does it: what is sent before, while and after the next hop is known."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_packets import UDP, ipv6, udp

from clatnm.proto.eam import EamTable
from clatnm.proto.ndp import (
    NeighborAdvert,
    NeighborSolicit,
    neighbor_advertisement,
    neighbor_solicitation,
    parse_neighbor,
    solicited_node,
)
from clatnm.worker import vnet
from clatnm.worker.counters import Counters
from clatnm.worker.link import MAX_HOPS, MAX_WAITING, EthernetLink, PlainLink
from clatnm.worker.port import Port
from clatnm.worker.wire import WorkerConfig

CLAT = IPv6Address("2001:db8:1::c1a7")
OTHER_CLAT = IPv6Address("2001:db8:1::beef")
GATEWAY = IPv6Address("fe80::1")
GATEWAY_MAC = bytes.fromhex("0200000000aa")
NEW_GATEWAY_MAC = bytes.fromhex("0200000000ab")
OWN_MAC = bytes.fromhex("020000000001")
STRANGER_MAC = bytes.fromhex("0200000000ee")
ALL_NODES = IPv6Address("ff02::1")
NONCE = b"nonce!"
IPV6 = b"\x86\xdd"

CONFIG = WorkerConfig(
    clat_v4=IPv4Address("192.0.0.2"),
    clat_v6=CLAT,
    prefix=IPv6Network("64:ff9b::/96"),
    ipv6_mtu_bytes=1500,
    uplink="wlan0",
    link_address=OWN_MAC,
    gateway=GATEWAY,
)


class FakePort(Port):
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        super().__init__(-1, self._keep, name="fake", gone=frozenset(), hint="")

    def _keep(self, data: bytes | memoryview) -> int:
        self.frames.append(bytes(data))
        return len(data)

    def take(self) -> list[bytes]:
        frames, self.frames = self.frames, []
        return frames


class Bench:
    """An Ethernet link, what it sent, whom it told."""

    def __init__(self, config: WorkerConfig = CONFIG) -> None:
        self.port = FakePort()
        self.counters = Counters()
        self.conflicts: list[IPv6Address] = []
        self.link = EthernetLink(
            self.port, self.counters, on_conflict=self.conflicts.append, random=lambda size: NONCE[:size]
        )
        self.link.reconfigure(config, 0.0)

    def neighbours(self) -> list[NeighborSolicit | NeighborAdvert]:
        """The neighbour messages sent since asked last; anything else sent is a failure."""
        frames = self.port.take()
        assert all(frame[:10] == vnet.BLANK and frame[16:22] == OWN_MAC and frame[22:24] == IPV6 for frame in frames)
        return [parse_neighbor(frame[24:]) for frame in frames]

    def hear(self, packet: bytes, now: float, *, source: bytes = GATEWAY_MAC) -> None:
        self.link.receive(OWN_MAC + source + IPV6 + packet, now)

    def lost(self) -> dict[str, int]:
        return self.counters.to_ipv6.drops


def answer(target: IPv6Address = GATEWAY, mac: bytes = GATEWAY_MAC, *, to: IPv6Address = CLAT) -> bytes:
    return neighbor_advertisement(
        source=target, destination=to, target=target, link_address=mac, solicited=to == CLAT, override=True
    )


def packet_to(destination: str, number: int = 0) -> bytes:
    return ipv6(udp(number.to_bytes(4, "big")), UDP, source=CLAT, destination=IPv6Address(destination))


PACKET = packet_to("64:ff9b::cb00:7109")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def resolved(bench: Bench) -> Bench:
    bench.hear(answer(), 0.01)
    bench.port.take()
    return bench


def test_start_probes_for_a_duplicate_then_asks_for_the_gateway(bench: Bench) -> None:
    probe, question = bench.neighbours()
    assert isinstance(probe, NeighborSolicit) and isinstance(question, NeighborSolicit)
    assert (probe.source, probe.target, probe.nonce) == (IPv6Address("::"), CLAT, NONCE)
    assert (question.source, question.target, question.link_address) == (CLAT, GATEWAY, OWN_MAC)


def test_header_is_unknown_until_the_gateway_answers(bench: Bench) -> None:
    assert bench.link.header is None
    bench.hear(answer(), 0.01)
    assert bench.link.header == GATEWAY_MAC + OWN_MAC + IPV6


def test_waiting_packets_go_out_in_order_when_the_gateway_answers(bench: Bench) -> None:
    bench.port.take()
    packets = [packet_to("64:ff9b::cb00:7209", n) for n in range(3)]
    headers = [bytes([n]) * vnet.SIZE for n in range(3)]
    for header, packet in zip(headers, packets, strict=True):
        assert bench.link.forward(header, packet, 0.1)
    assert bench.port.take() == []
    bench.hear(answer(), 0.2)
    expected = [h + GATEWAY_MAC + OWN_MAC + IPV6 + p for h, p in zip(headers, packets, strict=True)]
    assert bench.port.take() == expected
    assert bench.lost() == {}


def test_only_the_newest_packets_wait(bench: Bench) -> None:
    for number in range(MAX_WAITING + 3):
        bench.link.forward(vnet.BLANK, packet_to("64:ff9b::1", number), 0.1)
    bench.port.take()
    bench.hear(answer(), 0.2)
    sent = [int.from_bytes(frame[-4:], "big") for frame in bench.port.take()]
    assert sent == list(range(3, MAX_WAITING + 3))
    assert bench.lost() == {"unresolved": 3}


def test_packets_too_many_to_wait_for_a_new_gateway_leave_by_the_old_one(resolved: Bench) -> None:
    gateway = IPv6Address("fe80::2")
    resolved.link.reconfigure(replace(CONFIG, gateway=gateway), 1.0)
    resolved.port.take()
    for number in range(MAX_WAITING + 3):
        resolved.link.forward(vnet.BLANK, packet_to("64:ff9b::1", number), 1.1)
    sent = resolved.port.take()
    assert [(frame[10:16], frame[-1]) for frame in sent] == [(GATEWAY_MAC, number) for number in range(3)]
    resolved.hear(answer(gateway, NEW_GATEWAY_MAC), 1.2)
    assert {frame[10:16] for frame in resolved.port.take()} == {NEW_GATEWAY_MAC}
    assert resolved.lost() == {}


def test_packets_of_long_ago_are_not_sent_late(bench: Bench) -> None:
    bench.link.forward(vnet.BLANK, packet_to("64:ff9b::1", 1), 1.0)
    bench.link.forward(vnet.BLANK, packet_to("64:ff9b::1", 2), 500.0)
    bench.port.take()
    bench.hear(answer(), 500.5)
    assert [frame[-1] for frame in bench.port.take()] == [2]
    assert bench.lost() == {"unresolved": 1}


def test_unanswered_question_is_repeated_each_second_and_then_only_when_needed(bench: Bench) -> None:
    bench.port.take()
    for now in (1.0, 2.0):
        assert bench.link.deadline(now - 0.5, used=False) == now
        bench.link.tick(now, used=False)
        assert len(bench.neighbours()) == 1
    assert bench.link.deadline(10.0, used=False) is None
    bench.link.forward(vnet.BLANK, PACKET, 20.0)
    assert len(bench.neighbours()) == 1


def test_idle_link_has_no_deadline(resolved: Bench) -> None:
    assert resolved.link.deadline(100.0, used=False) is None
    resolved.link.tick(100.0, used=False)
    assert resolved.port.take() == []


def test_used_gateway_is_checked_by_unicast_after_its_reachable_time(resolved: Bench) -> None:
    due = resolved.link.deadline(1.0, used=True)
    assert due == pytest.approx(30.01)
    resolved.link.tick(31.0, used=True)
    (frame,) = resolved.port.take()
    assert frame[10:16] == GATEWAY_MAC
    assert resolved.link.header is not None


def test_moved_gateway_is_followed(resolved: Bench) -> None:
    resolved.hear(answer(mac=NEW_GATEWAY_MAC, to=ALL_NODES), 5.0, source=NEW_GATEWAY_MAC)
    assert resolved.link.header == NEW_GATEWAY_MAC + OWN_MAC + IPV6


def test_question_of_the_gateway_is_answered_and_teaches_its_address(bench: Bench) -> None:
    bench.port.take()
    bench.hear(neighbor_solicitation(source=GATEWAY, target=CLAT, link_address=GATEWAY_MAC), 2.0)
    assert bench.link.header == GATEWAY_MAC + OWN_MAC + IPV6
    (frame,) = bench.port.take()
    assert frame[10:16] == GATEWAY_MAC
    message = parse_neighbor(frame[24:])
    assert isinstance(message, NeighborAdvert)
    assert (message.source, message.target, message.link_address) == (CLAT, CLAT, OWN_MAC)
    assert message.solicited and message.override


def test_answer_overrides_nobody_while_the_address_is_being_checked(bench: Bench) -> None:
    bench.port.take()
    bench.hear(neighbor_solicitation(source=GATEWAY, target=CLAT, link_address=GATEWAY_MAC), 0.5)
    (message,) = bench.neighbours()
    assert isinstance(message, NeighborAdvert) and not message.override  # RFC 4429 2.2


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(answer(CLAT, STRANGER_MAC, to=ALL_NODES), id="rfc4862-5.4.4-advertisement"),
        pytest.param(
            neighbor_solicitation(source=IPv6Address("::"), target=CLAT, link_address=None, nonce=b"other!"),
            id="rfc4862-5.4.3-probe",
        ),
    ],
)
def test_duplicate_address_is_told_and_no_longer_used(bench: Bench, packet: bytes) -> None:
    bench.link.forward(vnet.BLANK, PACKET, 0.1)
    bench.port.take()
    bench.hear(packet, 0.2, source=STRANGER_MAC)
    assert bench.conflicts == [CLAT]
    bench.hear(answer(), 0.3)
    bench.hear(neighbor_solicitation(source=GATEWAY, target=CLAT, link_address=GATEWAY_MAC), 0.4)
    assert not bench.link.forward(vnet.BLANK, PACKET, 0.5)
    assert bench.link.header is None
    assert bench.link.deadline(0.6, used=True) is None
    assert bench.port.take() == []
    assert bench.lost() == {"duplicate-address": 2}
    assert bench.conflicts == [CLAT]


def test_own_probe_looped_back_is_no_duplicate(bench: Bench) -> None:
    probe = bench.port.take()[0]
    bench.link.receive(probe[10:], 0.1)
    assert bench.conflicts == []


def test_probe_after_the_check_is_answered_to_all(resolved: Bench) -> None:
    probe = neighbor_solicitation(source=IPv6Address("::"), target=CLAT, link_address=None, nonce=b"other!")
    resolved.hear(probe, 5.0, source=STRANGER_MAC)
    (message,) = resolved.neighbours()
    assert isinstance(message, NeighborAdvert) and message.destination == ALL_NODES
    assert resolved.conflicts == []


def test_new_address_after_a_conflict_starts_afresh(bench: Bench) -> None:
    bench.hear(answer(CLAT, STRANGER_MAC, to=ALL_NODES), 0.2, source=STRANGER_MAC)
    bench.port.take()
    bench.link.reconfigure(replace(CONFIG, clat_v6=OTHER_CLAT), 1.0)
    probe, question = bench.neighbours()
    assert isinstance(probe, NeighborSolicit) and probe.target == OTHER_CLAT
    assert question.source == OTHER_CLAT
    bench.hear(answer(to=OTHER_CLAT), 1.1)
    assert bench.link.header == GATEWAY_MAC + OWN_MAC + IPV6


def test_same_addresses_again_change_nothing(resolved: Bench) -> None:
    header = resolved.link.header
    resolved.link.reconfigure(replace(CONFIG, ipv6_mtu_bytes=1400, prefix=IPv6Network("2001:db8:64::/96")), 5.0)
    assert resolved.link.header == header
    assert resolved.port.take() == []


def test_new_gateway_is_resolved_and_gets_what_waits(bench: Bench) -> None:
    bench.link.forward(vnet.BLANK, PACKET, 0.1)
    bench.port.take()
    other = IPv6Address("fe80::2")
    bench.link.reconfigure(replace(CONFIG, gateway=other), 0.5)
    (question,) = bench.neighbours()  # and no second duplicate probe
    assert question.target == other
    bench.hear(answer(other, NEW_GATEWAY_MAC), 0.6)
    assert bench.port.take() == [vnet.BLANK + NEW_GATEWAY_MAC + OWN_MAC + IPV6 + PACKET]


def test_without_gateway_each_destination_is_its_own_next_hop() -> None:
    bench = Bench(replace(CONFIG, gateway=None))
    bench.port.take()
    one, two = "64:ff9b::1", "64:ff9b::2"
    bench.link.forward(vnet.BLANK, packet_to(one), 0.1)
    bench.link.forward(vnet.BLANK, packet_to(two), 0.1)
    assert [m.target for m in bench.neighbours()] == [IPv6Address(one), IPv6Address(two)]
    bench.hear(answer(IPv6Address(two), NEW_GATEWAY_MAC), 0.2)
    assert bench.port.take() == [vnet.BLANK + NEW_GATEWAY_MAC + OWN_MAC + IPV6 + packet_to(two)]
    assert bench.link.header is None
    bench.link.forward(vnet.BLANK, packet_to(two, 7), 0.3)
    assert [frame[10:16] for frame in bench.port.take()] == [NEW_GATEWAY_MAC]


def test_next_hops_are_bounded() -> None:
    bench = Bench(replace(CONFIG, gateway=None))
    for number in range(MAX_HOPS + 1):
        bench.link.forward(vnet.BLANK, packet_to(f"64:ff9b::{number + 1:x}"), 0.1)
    bench.port.take()
    bench.link.tick(1.2, used=False)
    assert len(bench.neighbours()) == MAX_HOPS


def test_malformed_neighbour_message_is_counted(bench: Bench) -> None:
    bench.hear(answer()[:-3], 0.1)
    assert bench.counters.to_ipv4.drops == {"malformed-neighbour": 1}
    assert bench.counters.neighbour_received == 0


@given(st.binary(max_size=120), st.booleans())
def test_any_frame_is_taken_in_or_counted(noise: bytes, real_start: bool) -> None:
    bench = Bench()
    frame = OWN_MAC + GATEWAY_MAC + IPV6 + (answer()[:44] + noise if real_start else noise)
    bench.link.receive(frame, 0.1)
    assert bench.counters.neighbour_received + sum(bench.counters.to_ipv4.drops.values()) == 1


def test_plain_link_sends_without_header_and_asks_nobody() -> None:
    port, counters = FakePort(), Counters()
    link = PlainLink(port, counters)
    link.reconfigure(replace(CONFIG, link_address=None, gateway=None), 0.0)
    assert link.forward(vnet.BLANK, PACKET, 0.1)
    link.tick(1.0, used=True)
    assert port.frames == [vnet.BLANK + PACKET]
    assert (link.header, link.header_bytes, link.deadline(2.0, used=True)) == (b"", 0, None)
    link.receive(answer(), 3.0)
    assert counters.to_ipv4.drops == {"malformed-neighbour": 1}


def test_solicited_node_group_is_where_the_probe_goes(bench: Bench) -> None:
    probe = bench.port.take()[0]
    assert probe[10:16] == b"\x33\x33" + solicited_node(CLAT).packed[12:]


MAPPED = IPv6Address("2001:db8:1::105")
RELAY = replace(CONFIG, mappings=EamTable([(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:1::100/120"))]))


def asking(target: IPv6Address, *, source: str = "fe80::1") -> bytes:
    asker = IPv6Address(source)
    known = None if asker.is_unspecified else GATEWAY_MAC
    return neighbor_solicitation(source=asker, target=target, link_address=known)


def test_every_mapped_address_is_answered_for() -> None:
    bench = Bench(RELAY)
    bench.port.take()
    bench.hear(asking(MAPPED), 0.1)
    (advert,) = bench.neighbours()
    assert isinstance(advert, NeighborAdvert)
    assert (advert.target, advert.link_address, advert.solicited) == (MAPPED, OWN_MAC, True)
    bench.hear(asking(IPv6Address("2001:db8:1::205")), 0.2)
    assert not bench.neighbours()


def test_whoever_wants_a_mapped_address_is_told_that_it_is_taken() -> None:
    bench = Bench(RELAY)
    bench.port.take()
    bench.hear(asking(MAPPED, source="::"), 0.1)
    (advert,) = bench.neighbours()
    assert isinstance(advert, NeighborAdvert)
    assert (advert.target, advert.solicited, advert.override) == (MAPPED, False, True)
    assert bench.conflicts == []


def test_new_mappings_are_answered_for_at_once() -> None:
    bench = Bench(CONFIG)
    bench.port.take()
    bench.hear(asking(MAPPED), 0.1)
    assert not bench.neighbours()
    bench.link.reconfigure(RELAY, 0.2)
    bench.hear(asking(MAPPED), 0.3)
    assert len(bench.neighbours()) == 1
