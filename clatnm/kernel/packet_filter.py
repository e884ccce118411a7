# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters for packet sockets in classic BPF (linux/filter.h), and binding such a socket to one link without a gap."""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
LOAD_WORD_BEHIND, LOAD_HALF_BEHIND = 0x40, 0x48  # the header whose length is in X: at X + k
AND, EQUAL, ANY_BIT = 0x54, 0x15, 0x45
# What the kernel knows of the packet (SKF_AD_OFF + SKF_AD_*), where else an offset would be
PROTOCOL, KIND, VLAN, IN_VLAN = 0xFFFFF000, 0xFFFFF004, 0xFFFFF02C, 0xFFFFF030

_RETURN: Final = 0x06
_WHOLE_PACKET: Final = 0x40000
_SO_ATTACH_FILTER: Final = 26


class Test(NamedTuple):
    """Run `load`, a list of (instruction, operand); compare by (instruction, operand); go on at `yes` or `no`.

    These are names of later tests, `accept` or `reject`.
    """

    name: str
    load: Sequence[tuple[int, int]]
    compare: tuple[int, int]
    yes: str
    no: str


def assemble(tests: Iterable[Test]) -> bytes:
    """The tests as `struct sock_filter[]`; it begins with the first."""
    tests = list(tests)
    place, size = {}, 0
    for test in tests:
        place[test.name] = size
        size += len(test.load) + 1
    place["accept"], place["reject"] = size, size + 1
    code = []
    for test in tests:
        code += [(instruction, 0, 0, value) for instruction, value in test.load]
        after = len(code) + 1  # jumps count from the next instruction
        instruction, value = test.compare
        code += [(instruction, place[test.yes] - after, place[test.no] - after, value)]
    code += [(_RETURN, 0, 0, _WHOLE_PACKET), (_RETURN, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def attach(sock: socket.socket, program: bytes) -> None:
    """Let through what `program` accepts from now on. OSError."""
    memory = array.array("B", program)
    address, size = memory.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", size // 8, address))  # struct sock_fprog


def bind(sock: socket.socket, ifindex: int, protocol: int) -> None:
    """Hear `protocol` on the link. Until then a packet socket made with protocol 0 hears nothing. OSError."""
    sock.bind((socket.if_indextoname(ifindex), protocol))
    if socket.if_nametoindex(sock.getsockname()[0]) != ifindex:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))  # another device took the name meanwhile
