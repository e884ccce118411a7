# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture files in every form, and damaged ones. The files are made here, by hand."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clatnm import pcapfile
from clatnm.errors import ParseError
from clatnm.pcapfile import LINKTYPE_RAW, MAX_PACKET_BYTES, Record, Writer

NS = 10**9
MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D
FRAMES = [
    Record(1_700_000_000 * NS + 123_456_000, 1, b"first frame", 11),
    Record(1_700_000_001 * NS, 1, b"", 0),
    Record(1_700_000_000 * NS + 5_000, 1, b"snapped", 1514),
]


def pcap(
    frames: list[Record], *, order: str = "<", magic: int = MICRO, link: int = 1, version: tuple[int, int] = (2, 4)
) -> bytes:
    out = struct.pack(f"{order}IHHiIII", magic, *version, 0, 0, 262144, link)
    for time_ns, _, data, length in frames:
        rest = time_ns % NS // (1000 if magic == MICRO else 1)
        out += struct.pack(f"{order}IIII", time_ns // NS, rest, len(data), length) + data
    return out


def block(kind: int, body: bytes, *, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(*, order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order=order)


def option(code: int, value: bytes, *, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link: int, *options: bytes, order: str = "<", snap: int = 0) -> bytes:
    end = struct.pack(f"{order}HH", 0, 0) if options else b""
    return block(1, struct.pack(f"{order}HHI", link, 0, snap) + b"".join(options) + end, order=order)


def enhanced(ticks: int, data: bytes, length: int, *, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data, order=order)


def pcapng(frames: list[Record], *, order: str = "<") -> bytes:
    out = section(order=order) + interface(frames[0].link if frames else 1, order=order)
    for time_ns, _, data, length in frames:
        out += enhanced(time_ns // 1000, data, length, order=order)
    return out


def read(data: bytes) -> list[Record]:
    return list(pcapfile.read(io.BytesIO(data)).records)


@dataclass
class Damaged:
    records: list[Record]
    error: ParseError


def read_damaged(data: bytes) -> Damaged:
    records: list[Record] = []
    with pytest.raises(ParseError) as caught:
        records.extend(pcapfile.read(io.BytesIO(data)).records)
    return Damaged(records, caught.value)


FORMS: list[tuple[str, Callable[[list[Record]], bytes], bool]] = [
    ("pcap-little-micro", pcap, False),
    ("pcap-big-micro", lambda frames: pcap(frames, order=">"), False),
    ("pcap-little-nano", lambda frames: pcap(frames, magic=NANO), True),
    ("pcap-big-nano", lambda frames: pcap(frames, order=">", magic=NANO), True),
    ("pcapng-little", pcapng, True),
    ("pcapng-big", lambda frames: pcapng(frames, order=">"), True),
]


@pytest.mark.parametrize(("make", "fine"), [pytest.param(make, fine, id=name) for name, make, fine in FORMS])
def test_every_form_is_read(make: Callable[[list[Record]], bytes], fine: bool) -> None:
    capture = pcapfile.read(io.BytesIO(make(FRAMES)))
    assert capture.fine is fine
    assert list(capture.records) == FRAMES
    assert read(make([])) == []


def test_frame_check_sequence_bits_are_no_link_type() -> None:
    (record,) = read(pcap(FRAMES[:1], link=0x14000001))
    assert record.link == 1


def test_length_below_the_captured_is_mended() -> None:
    (record,) = read(pcap([Record(0, 1, b"12345", 3)]))
    assert record.length == 5


def test_fraction_beyond_a_second_counts_on() -> None:
    data = pcap([]) + struct.pack("<IIII", 5, 2_500_000, 0, 0)
    assert read(data)[0].time_ns == 7 * NS + NS // 2


# pcapng


def test_pcapng_interfaces_have_link_types_of_their_own() -> None:
    data = section() + interface(1) + interface(101) + enhanced(0, b"b", 1, number=1) + enhanced(0, b"a", 1)
    assert [record.link for record in read(data)] == [101, 1]


def test_pcapng_section_begins_anew_in_its_own_byte_order() -> None:
    data = pcapng(FRAMES[:1]) + pcapng(FRAMES[1:], order=">")
    assert read(data) == FRAMES
    assert "interface 0" in str(read_damaged(pcapng(FRAMES) + section() + enhanced(0, b"", 0)).error)


@pytest.mark.parametrize(
    ("options", "ticks", "time_ns"),
    [
        pytest.param((option(9, b"\x09"),), 1_500_000_000, 1_500_000_000, id="tsresol-ns"),
        pytest.param((option(9, b"\x03"),), 1_500, 1_500_000_000, id="tsresol-ms"),
        pytest.param((option(9, b"\x8a"),), 1536, 1_500_000_000, id="tsresol-2^-10"),
        pytest.param((option(9, b"\x0c"),), 1_500_000_000_999, 1_500_000_000, id="tsresol-ps"),
        pytest.param((option(14, struct.pack("<q", 60)),), 1_500_000, 61_500_000_000, id="tsoffset"),
        pytest.param((option(9, b"\x00"), option(14, struct.pack("<q", -2))), 5, 3_000_000_000, id="both"),
        pytest.param((option(2, b"eth0!"), option(9, b"\x09")), 7, 7, id="padded-name-before"),
        pytest.param((option(0, b""), option(9, b"\x09")), 7, 7000, id="nothing-behind-the-end"),
    ],
)
def test_pcapng_clock_of_an_interface(options: tuple[bytes, ...], ticks: int, time_ns: int) -> None:
    (record,) = read(section() + interface(1, *options) + enhanced(ticks, b"x", 1))
    assert record.time_ns == time_ns


def test_pcapng_simple_and_old_packets_are_read() -> None:
    simple = block(3, struct.pack("<I", 100) + b"12345678")
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 5, 3, 9) + b"abc")
    assert read(section() + interface(1, snap=8) + simple + old) == [
        Record(0, 1, b"12345678", 100),
        Record(5000, 1, b"abc", 9),
    ]


def test_pcapng_other_blocks_are_skipped() -> None:
    other = block(5, bytes(20)) + block(0xBAD, b"whatever")
    assert read(section() + other + interface(1) + other + enhanced(0, b"x", 1) + other) == [Record(0, 1, b"x", 1)]


# What is no capture, or no longer one


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(b"", "empty, not a capture file (expected: pcap or pcapng)", id="empty"),
        pytest.param(b"\xd4\xc3\xb2", "not a capture file (expected: pcap or pcapng)", id="three-bytes"),
        pytest.param(b"GIF89a and so on, and on", "not a capture file (expected: pcap or pcapng)", id="picture"),
        pytest.param(pcap([])[:23], "it ends too early", id="half-a-header"),
        pytest.param(pcap([], version=(3, 0)), "pcap version 3.0 (only version 2 is known)", id="version"),
    ],
)
def test_file_that_is_no_capture_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(ParseError) as caught:
        pcapfile.read(io.BytesIO(data))
    assert str(caught.value) == told


LATE = struct.pack("<IIII", 0xFFFFFFFF, 1_000_000, 0, 0)


@pytest.mark.parametrize(
    ("data", "before", "told"),
    [
        pytest.param(pcap(FRAMES)[:-1], 2, "damaged behind packet 2 (it ends too early)", id="data"),
        pytest.param(pcap(FRAMES[:1]) + bytes(15), 1, "damaged behind packet 1 (it ends too early)", id="header"),
        pytest.param(pcap(FRAMES[:1])[:-1], 0, "damaged (it ends too early)", id="first"),
        pytest.param(
            pcap(FRAMES) + struct.pack("<IIII", 0, 0, MAX_PACKET_BYTES + 1, 0),
            3,
            "damaged behind packet 3 (a packet of 262145 bytes)",
            id="size",
        ),
        pytest.param(pcap([]) + LATE, 0, "damaged (a time that is not between 1970 and 2106)", id="time"),
        pytest.param(pcapng(FRAMES)[:-1], 2, "damaged behind packet 2 (it ends too early)", id="ng-trailer"),
        pytest.param(pcapng(FRAMES) + b"\6\0", 3, "damaged behind packet 3 (it ends too early)", id="ng-kind"),
        pytest.param(section()[:10], 0, "damaged (it ends too early)", id="ng-section"),
        pytest.param(section()[:8] + bytes(20), 0, "damaged (a section without a byte order)", id="ng-byte-order"),
        pytest.param(
            pcapng(FRAMES)[:-4] + b"\x2c\0\0\0",
            2,
            "damaged behind packet 2 (a block with two lengths)",
            id="ng-lengths",
        ),
        pytest.param(
            section() + struct.pack("<II", 6, 13) + bytes(5), 0, "damaged (a block of 13 bytes)", id="ng-odd-length"
        ),
        pytest.param(section() + struct.pack("<II", 6, 8), 0, "damaged (a block of 8 bytes)", id="ng-short-length"),
        pytest.param(
            section() + struct.pack("<II", 6, 1 << 30), 0, "damaged (a block of 1073741824 bytes)", id="ng-huge-length"
        ),
        pytest.param(section() + block(1, bytes(4)), 0, "damaged (a block that is too short)", id="ng-interface"),
        pytest.param(
            section() + interface(1) + block(6, bytes(16)), 0, "damaged (a block that is too short)", id="ng-packet"
        ),
        pytest.param(
            section() + enhanced(0, b"", 0),
            0,
            "damaged (a packet of interface 0, which was not described)",
            id="ng-no-interface",
        ),
        pytest.param(
            section() + interface(1) + block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"1234"),
            0,
            "damaged (a packet longer than its block)",
            id="ng-longer-than-block",
        ),
        pytest.param(
            section() + interface(1, option(14, struct.pack("<q", -1))) + enhanced(0, b"", 0),
            0,
            "damaged (a time that is not between 1970 and 2106)",
            id="ng-time",
        ),
    ],
)
def test_damage_is_told_behind_what_was_read(data: bytes, before: int, told: str) -> None:
    damaged = read_damaged(data)
    assert str(damaged.error) == told
    assert damaged.records == FRAMES[:before]


# Writing


def written(frames: list[Record], *, fine: bool) -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream, fine=fine)
    for time_ns, _, data, length in frames:
        writer.write(time_ns, data, length)
    return stream.getvalue()


@pytest.mark.parametrize(("fine", "magic"), [(False, MICRO), (True, NANO)])
def test_writer_writes_what_the_format_says(fine: bool, magic: int) -> None:
    assert written(FRAMES, fine=fine) == pcap(FRAMES, magic=magic, link=LINKTYPE_RAW)


records = st.builds(
    lambda ticks, data, more: Record(ticks * 1000, LINKTYPE_RAW, data, len(data) + more),
    st.integers(0, 2**32 * 10**6 - 1),
    st.binary(max_size=50),
    st.integers(0, 2000),
)


@given(st.lists(records, max_size=6), st.booleans())
def test_what_is_written_is_read_again(frames: list[Record], fine: bool) -> None:
    assert read(written(frames, fine=fine)) == frames


@given(st.lists(records, max_size=6), st.sampled_from([make for _, make, _ in FORMS[4:]]))
def test_pcapng_of_any_records_is_read(frames: list[Record], make: Callable[[list[Record]], bytes]) -> None:
    assert read(make(frames)) == frames


@given(
    st.sampled_from([make(FRAMES) for _, make, _ in FORMS]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=5),
    st.none() | st.integers(0, 400),
)
@settings(max_examples=300)
def test_mutated_file_raises_nothing_else(data: bytes, changes: list[tuple[int, int]], size: int | None) -> None:
    mutated = bytearray(data[:size])
    for at, value in changes:
        if mutated:
            mutated[at % len(mutated)] = value
    try:
        found = read(bytes(mutated))
    except ParseError:
        return
    for record in found:
        assert len(record.data) <= record.length
        assert 0 <= record.time_ns < 2**32 * NS


@given(st.sampled_from([pcap([])[:4], section()[:4], b""]), st.binary(max_size=300))
def test_random_file_raises_nothing_else(head: bytes, body: bytes) -> None:
    try:
        read(head + body)
    except ParseError as error:
        assert str(error)
