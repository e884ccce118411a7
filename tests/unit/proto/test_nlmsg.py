# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink messages and attributes: read as they were written, and nothing read out of a broken one."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ParseError
from clatnm.proto import nlmsg

KINDS = st.integers(0, 0x3FFF)


@given(st.lists(st.tuples(KINDS, st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=5))
def test_messages_are_read_as_they_were_written(sent: list[tuple[int, int, bytes]]) -> None:
    bodies = [body + bytes(-len(body) % 4) for _, _, body in sent]
    data = b"".join(
        nlmsg.message(kind, body, flags=0, number=number) for (kind, number, _), body in zip(sent, bodies, strict=True)
    )
    assert [*nlmsg.messages(data)] == [
        (kind, number, body) for (kind, number, _), body in zip(sent, bodies, strict=True)
    ]


@given(st.dictionaries(KINDS, st.binary(max_size=40)))
def test_attributes_are_read_as_they_were_written(sent: dict[int, bytes]) -> None:
    data = b"".join(nlmsg.attribute(kind, value) for kind, value in sent.items())
    assert len(data) % 4 == 0
    assert nlmsg.attributes(data) == sent
    assert nlmsg.values(data) == list(sent.values())


def test_what_an_attribute_says_of_itself_is_not_its_type() -> None:
    nested, network_order = 0x8000, 0x4000
    assert nlmsg.attributes(nlmsg.attribute(7 | nested | network_order, b"1234")) == {7: b"1234"}


@pytest.mark.parametrize("length", [0, 15, 17, 2**32 - 1])
def test_false_length_of_a_message(length: int) -> None:
    with pytest.raises(ParseError):
        list(nlmsg.messages(struct.pack("=IHHII", length, 16, 0, 0, 0)))


@pytest.mark.parametrize("length", [0, 3, 5, 65535])
def test_false_length_of_an_attribute(length: int) -> None:
    with pytest.raises(ParseError):
        nlmsg.attributes(struct.pack("=HH", length, 1))


@given(st.binary(max_size=64))
def test_nothing_but_a_parse_error_comes_of_noise(data: bytes) -> None:
    for read in (lambda: list(nlmsg.messages(data)), lambda: nlmsg.attributes(data), lambda: nlmsg.error_code(data)):
        try:
            read()
        except ParseError:
            pass


def test_numbers() -> None:
    told = {1: struct.pack("=H", 258), 2: struct.pack("=I", 16909060), 3: b"\1"}
    assert (nlmsg.number(told, 1), nlmsg.number(told, 2)) == (258, 16909060)
    for kind in (3, 4):
        with pytest.raises(ParseError):
            nlmsg.number(told, kind)


def test_error_and_acknowledgement() -> None:
    assert nlmsg.error_code(struct.pack("=i", -errno.EPERM) + bytes(16)) == errno.EPERM
    assert nlmsg.error_code(bytes(20)) == 0
    with pytest.raises(ParseError):
        nlmsg.error_code(bytes(3))
