# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of a capture through the translator: what comes out, in which place, and what is told of the rest."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clatnm.offline import OfflineTranslator
from clatnm.pcapfile import LINKTYPE_RAW, Record
from clatnm.proto import nat64
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.fragments import MAX_DATAGRAMS, TIMEOUT_S
from clatnm.proto.siit import Siit, SiitConfig
from tests.unit.proto import siit_packets as pk
from tests.vectors.vector import Vector, load

NS = 10**9
PREFIX = IPv6Network("2001:db8:64::/96")
CONFIG = SiitConfig(prefix=PREFIX, eam=EamTable(), ipv6_mtu_bytes=1280, ipv4_mtu_bytes=0xFFFF, symmetric=True)
EXPIRED = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, ttl=1))
GOOD = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP))


class Run:
    """A translator, what came out of it, and what it told."""

    def __init__(self, config: SiitConfig = CONFIG) -> None:
        self.told: list[tuple[int, str]] = []
        self.translator = OfflineTranslator(config, lambda number, reason: self.told.append((number, reason)))

    def give(
        self, packet: bytes, *, at_s: float = 0.0, link: int = LINKTYPE_RAW, length: int | None = None
    ) -> list[bytes]:
        record = Record(int(at_s * NS), link, packet, len(packet) if length is None else length)
        return [made.data for made in self.translator.translate(record)]


def echo(ident: int, size: int = 2000) -> tuple[bytes, bytes]:
    """A ping in two fragments."""
    body = pk.summed(pk.ipv4(pk.icmp(8, 0, 1, bytes(size)), pk.ICMP))[20:]
    cut = size // 2 & ~7
    return (
        pk.ipv4(body[:cut], pk.ICMP, mf=True, ident=ident),
        pk.ipv4(body[cut:], pk.ICMP, offset=cut, ident=ident),
    )


def test_version_says_the_direction() -> None:
    run = Run()
    (six,) = run.give(GOOD)
    (four,) = run.give(six)
    assert (six[0] >> 4, four[0] >> 4) == (6, 4)
    assert four[20:] == GOOD[20:]
    assert run.told == []
    assert run.translator.ip_packets == 2


def test_link_layer_is_taken_off() -> None:
    run = Run()
    frame = bytes(12) + b"\x81\x00\x00\x07\x08\x00" + GOOD + bytes(11)  # Ethernet pads short packets
    assert run.give(frame, link=1) == run.give(GOOD)


def test_what_is_not_ip_is_told_and_does_not_count() -> None:
    run = Run()
    assert run.give(bytes(12) + b"\x08\x06" + bytes(28), link=1) == []
    assert run.give(b"", link=147) == []
    assert run.told == [(1, "not-ip (EtherType 0x0806)"), (2, "not-ip (link type 147)")]
    assert run.translator.ip_packets == 0


def test_error_stands_in_place_of_its_packet() -> None:
    run = Run()
    assert [len(run.give(packet)) for packet in (GOOD, EXPIRED, GOOD)] == [1, 1, 1]
    (error,) = run.give(EXPIRED)
    pk.check(error)
    assert (error[9], error[20:22], error[28:]) == (pk.ICMP, b"\x0b\x00", EXPIRED)
    assert run.told == [(2, "hop-limit"), (4, "hop-limit")]


def test_errors_are_not_limited_in_rate() -> None:
    """The same as on the wire, were there no limit: with stamps all alike, or none."""
    run = Run()
    assert sum(len(run.give(EXPIRED)) for _ in range(1000)) == 1000


def test_mtu_is_said_where_it_matters() -> None:
    run = Run()
    packet = pk.summed(pk.ipv4(pk.tcp(bytes(1300)), pk.TCP, df=True))
    (error,) = run.give(packet)
    assert error[20:28][6:] == (1260).to_bytes(2, "big")
    assert run.told == [(1, "too-big (an IPv6 packet of at most 1280 bytes was asked for)")]


def test_cut_packet_keeps_its_length() -> None:
    run = Run()
    packet = pk.summed(pk.ipv4(pk.tcp(bytes(500)), pk.TCP))
    (made,) = run.translator.translate(Record(0, LINKTYPE_RAW, packet[:60], 540))
    assert (len(made.data), made.length) == (80, 560)
    (framed,) = run.translator.translate(Record(0, 1, bytes(12) + b"\x08\x00" + packet[:60], 554))
    assert framed == made
    assert run.give(packet[:39], length=540) == []
    assert run.told == [(3, "truncated (the capture has 39 of its 540 bytes)")]


def test_packet_too_short_on_the_wire_is_no_matter_of_the_capture() -> None:
    run = Run()
    assert run.give(GOOD[:-1]) == []
    assert run.told == [(1, "truncated")]


def test_joined_ping_comes_out_at_its_last_fragment() -> None:
    run = Run()
    first, last = echo(7)
    assert run.give(last) == []
    assert run.give(GOOD) != []
    assert len(run.give(first)) == 2
    run.translator.close()
    assert run.told == []


def test_fragment_alone_is_told_at_the_end() -> None:
    run = Run()
    run.give(echo(7)[0])
    run.give(GOOD)
    assert run.told == []
    run.translator.close()
    assert run.told == [(1, "reassembly-incomplete")]


def test_time_of_fragments_is_that_of_the_capture() -> None:
    run = Run()
    first, last = echo(7)
    assert run.give(first, at_s=100.0) == []
    assert run.give(last, at_s=100.0 + TIMEOUT_S) == []
    assert run.told == [(1, "reassembly-incomplete")]
    assert run.give(first, at_s=101.0 + TIMEOUT_S) != []
    run.translator.close()
    assert run.told == [(1, "reassembly-incomplete")]


def test_clock_that_steps_back_stands_still() -> None:
    run = Run()
    first, last = echo(7)
    assert run.give(first, at_s=1000.0) == []
    assert run.give(last, at_s=10.0) != []
    assert run.give(first, at_s=10.0) == []
    assert run.give(last, at_s=1000.0 + TIMEOUT_S - 0.1) != []
    run.translator.close()
    assert run.told == []


def test_overlap_tells_of_all_its_fragments() -> None:
    run = Run()
    first, last = echo(7)
    run.give(first)
    run.give(first[:24] + b"\xff" + first[25:])
    run.give(last)
    run.translator.close()
    assert sorted(run.told) == [(number, "reassembly-overlap") for number in (1, 2, 3)]


def test_duplicate_is_told_alone() -> None:
    run = Run()
    first, last = echo(7)
    run.give(first)
    run.give(first)
    assert len(run.give(last)) == 2
    run.translator.close()
    assert run.told == [(2, "reassembly-duplicate")]


def test_oldest_gives_way_where_too_many_wait() -> None:
    run = Run()
    for ident in range(MAX_DATAGRAMS + 1):
        run.give(echo(ident)[0])
    assert run.told == [(1, "reassembly-incomplete")]
    run.translator.close()
    assert sorted(run.told) == [(number, "reassembly-incomplete") for number in range(1, MAX_DATAGRAMS + 2)]


def test_joined_packet_that_is_refused_tells_of_all() -> None:
    run = Run()
    body = pk.icmp(3, 3, 0, bytes(200))  # its checksum is wrong
    run.give(pk.ipv4(body[:104], pk.ICMP, mf=True, ident=1))
    run.give(pk.ipv4(body[104:], pk.ICMP, offset=104, ident=1))
    assert sorted(run.told) == [(1, "checksum"), (2, "checksum")]


def test_clat_takes_only_what_is_its_own() -> None:
    clat = SiitConfig(
        prefix=nat64.WELL_KNOWN,
        eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)]),
        ipv6_mtu_bytes=1280,
        ipv4_mtu_bytes=0xFFFF,
    )
    run = Run(clat)
    (six,) = run.give(GOOD)
    assert run.give(six) == []  # to the PLAT, not to us
    assert run.told == [(2, "destination-unmapped")]


def test_mapping_of_prefixes_is_used() -> None:
    eam = EamTable([(IPv4Network("192.0.2.0/28"), IPv6Network("2001:db8::/124"))])
    run = Run(SiitConfig(prefix=None, eam=eam, ipv6_mtu_bytes=1280, ipv4_mtu_bytes=0xFFFF, symmetric=True))
    packet = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source="192.0.2.3", destination="192.0.2.15"))
    (six,) = run.give(packet)
    assert six[8:40] == bytes.fromhex("20010db8" + "00" * 11 + "03" + "20010db8" + "00" * 11 + "0f")
    (four,) = run.give(six)
    assert four[12:20] == packet[12:20]


CORPUS = [packet for vector in load() for packet in vector.given]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CORPUS),
            st.integers(0, 200),
            st.integers(0, 255),
            st.none() | st.integers(0, 200),
            st.integers(-20, 20),
            st.sampled_from([0, 1, 101, 113, 228, 229, 276]),
        ),
        max_size=12,
    )
)
@settings(max_examples=100)
def test_every_frame_is_translated_or_told_of_once(
    frames: list[tuple[bytes, int, int, int | None, int, int]],
) -> None:
    """Each number at most once; a frame of which nothing came is told of, or went into a joined packet."""
    run = Run(
        SiitConfig(
            prefix=nat64.WELL_KNOWN,
            eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)]),
            ipv6_mtu_bytes=1280,
            ipv4_mtu_bytes=0xFFFF,
        )
    )
    silent, now = [], 1000.0
    for number, (packet, at, value, known, step, link) in enumerate(frames, start=1):
        if packet:
            packet = packet[: at % len(packet)] + bytes([value]) + packet[at % len(packet) + 1 :]
        now += step
        if not run.give(packet[:known], at_s=now, link=link, length=len(packet)):
            silent.append(number)
    run.translator.close()
    numbers = [number for number, _ in run.told]
    assert len(numbers) == len(set(numbers))
    unexplained = [number for number in silent if number not in numbers]
    for number in unexplained:
        packet = frames[number - 1][0]
        assert packet[9:10] == b"\x01" or packet[6:7] in (b"\x2c", b"\x00", b"\x2b", b"\x3c")


@pytest.mark.parametrize("vector", load()[:80:4], ids=lambda vector: vector.name)
def test_capture_gives_what_the_translator_gives(vector: Vector) -> None:
    """Offline and on a link it is the same translator: see tests/vectors for what it has to do."""
    config = SiitConfig(
        prefix=nat64.WELL_KNOWN,
        eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)]),
        ipv6_mtu_bytes=1500,
        ipv4_mtu_bytes=0xFFFF,
    )
    run, siit = Run(config), Siit(config)
    for packet in vector.given:
        expected = siit.from_ipv4(packet, 0.0)
        assert run.give(packet, link=228) == [*expected.forward, *expected.reply]
