# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 1071 and RFC 1624, against a word-by-word sum with end-around carry."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto import checksum as ck

words = st.integers(0, 0xFFFF)


def plain_checksum(data: bytes) -> int:
    """RFC 1071 4.1, as its C code does it."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) & 1)):
        total += word
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=200))
def test_checksum_equals_plain_sum(data: bytes) -> None:
    assert ck.checksum(data) == plain_checksum(data)
    assert ck.checksum(memoryview(data)) == plain_checksum(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", 0xFFFF, id="empty"),
        pytest.param(bytes(20), 0xFFFF, id="all-zero"),
        pytest.param(b"\xff\xff", 0, id="minus-zero"),
        pytest.param(bytes.fromhex("0001f203f4f5f6f7"), 0x220D, id="rfc1071-3"),
        pytest.param(b"\x01", 0xFEFF, id="odd"),
    ],
)
def test_checksum_examples(data: bytes, expected: int) -> None:
    assert ck.checksum(data) == expected


@pytest.mark.parametrize("size", [4, 16], ids=["ipv4", "ipv6"])
@given(data=st.data())
def test_transport_checksum_equals_plain_sum_with_pseudo_header(size: int, data: st.DataObject) -> None:
    source = data.draw(st.binary(min_size=size, max_size=size))
    destination = data.draw(st.binary(min_size=size, max_size=size))
    segment = data.draw(st.binary(max_size=100))
    pseudo = (
        source
        + destination
        + struct.pack("!HH" if size == 4 else "!IxxxB", *((6, len(segment)) if size == 4 else (len(segment), 6)))
    )
    assert ck.transport_checksum(source, destination, 6, segment) == plain_checksum(pseudo + segment)


def test_transport_checksum_counts_lengths_above_16_bits() -> None:
    segment = bytes(70000)
    pseudo = bytes(32) + struct.pack("!IxxxB", len(segment), 6)
    assert ck.transport_checksum(bytes(16), bytes(16), 6, segment) == plain_checksum(pseudo + segment)


def test_transport_checksum_is_never_zero_for_udp() -> None:
    # Pseudo header: length 2 and protocol 17 add up to 0x13, and the word makes it 0xffff.
    assert ck.transport_checksum(bytes(4), bytes(4), 17, b"\xff\xec") == 0xFFFF
    assert ck.transport_checksum(bytes(4), bytes(4), 6, b"\xff\xf7") == 0


@given(st.lists(words, min_size=2, max_size=20), st.integers(0, 19), words)
def test_update_equals_full_recomputation(data: list[int], index: int, new: int) -> None:
    before = struct.pack(f"!{len(data)}H", *data)
    index %= len(data)
    after_words = [*data[:index], new, *data[index + 1 :]]
    after = struct.pack(f"!{len(data)}H", *after_words)
    # RFC 1624 2: all-zero data has no place in a protocol with a non-zero header word
    if any(data) and any(after_words):
        assert ck.update(plain_checksum(before), new - data[index]) == plain_checksum(after)


@given(words, st.integers(-(2**20), 2**20))
def test_update_partial_finishes_like_update(pseudo: int, delta: int) -> None:
    finished = ck.finish(pseudo + 0x1234)
    assert ck.finish(ck.update_partial(pseudo, delta) + 0x1234) % 0xFFFF == ck.update(finished, delta) % 0xFFFF


def test_update_handles_the_case_of_rfc1624_4() -> None:
    assert ck.update(0xDD2F, 0x3285 - 0x5555) == 0


@given(words, st.integers(-(2**20), 2**20))
def test_update_nonzero_is_never_zero(field: int, delta: int) -> None:
    assert 0 < ck.update_nonzero(field, delta) <= 0xFFFF
    assert ck.update_nonzero(field, delta) % 0xFFFF == ck.update(field, delta) % 0xFFFF
