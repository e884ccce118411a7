# SPDX-License-Identifier: GPL-2.0-or-later
"""Where IP is in frames of each link type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto.frames import Found, find_ip

MACS = bytes(range(12))
V4, V6 = b"\x45" + bytes(19), b"\x60" + bytes(39)


def sll(protocol: int, *, arphrd: int = 1) -> bytes:
    return b"\0\0" + arphrd.to_bytes(2, "big") + b"\0\6" + bytes(8) + protocol.to_bytes(2, "big")


def sll2(protocol: int, *, arphrd: int = 1) -> bytes:
    return protocol.to_bytes(2, "big") + bytes(2) + b"\0\0\0\3" + arphrd.to_bytes(2, "big") + b"\0\6" + bytes(8)


@pytest.mark.parametrize(
    ("link", "head", "version"),
    [
        pytest.param(101, b"", 4, id="raw-ipv4"),
        pytest.param(101, b"", 6, id="raw-ipv6"),
        pytest.param(12, b"", 4, id="raw-12"),
        pytest.param(14, b"", 6, id="raw-14"),
        pytest.param(228, b"", 4, id="ipv4"),
        pytest.param(229, b"", 6, id="ipv6"),
        pytest.param(1, MACS + b"\x08\x00", 4, id="ethernet-ipv4"),
        pytest.param(1, MACS + b"\x86\xdd", 6, id="ethernet-ipv6"),
        pytest.param(1, MACS + b"\x81\x00\x00\x05\x86\xdd", 6, id="802.1q"),
        pytest.param(1, MACS + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00", 4, id="802.1ad"),
        pytest.param(113, sll(0x0800), 4, id="sll-ipv4"),
        pytest.param(113, sll(0x86DD, arphrd=65534), 6, id="sll-ipv6-tun"),
        pytest.param(113, sll(0x8100) + b"\x00\x05\x08\x00", 4, id="sll-802.1q"),
        pytest.param(276, sll2(0x0800), 4, id="sll2-ipv4"),
        pytest.param(276, sll2(0x86DD), 6, id="sll2-ipv6"),
        pytest.param(276, sll2(0x8100) + b"\x00\x05\x86\xdd", 6, id="sll2-802.1q"),
        pytest.param(0, b"\2\0\0\0", 4, id="null-ipv4-little"),
        pytest.param(0, b"\0\0\0\2", 4, id="null-ipv4-big"),
        pytest.param(0, b"\x1e\0\0\0", 6, id="null-ipv6-macos"),
        pytest.param(0, b"\0\0\0\x1c", 6, id="null-ipv6-freebsd"),
        pytest.param(108, b"\0\0\0\x18", 6, id="loop-ipv6-openbsd"),
    ],
)
def test_packet_is_found(link: int, head: bytes, version: int) -> None:
    assert find_ip(link, head + (V4 if version == 4 else V6)) == Found(len(head), version)
    if head:
        told = find_ip(link, head[:-1])
        assert told == "link-layer header cut short"


@pytest.mark.parametrize(
    ("link", "frame", "told"),
    [
        pytest.param(1, MACS + b"\x08\x06" + bytes(28), "EtherType 0x0806", id="arp"),
        pytest.param(1, MACS + b"\x81\x00\x00\x05\x08\x06" + bytes(28), "EtherType 0x0806", id="802.1q-arp"),
        pytest.param(1, MACS + b"\x00\x26" + bytes(38), "802.3 frame", id="spanning-tree"),
        pytest.param(1, b"", "link-layer header cut short", id="nothing"),
        pytest.param(101, b"", "empty", id="raw-nothing"),
        pytest.param(101, b"\x50", "IP version 5", id="raw-version-5"),
        pytest.param(113, sll(0x0800, arphrd=824) + V4, "cooked frame of device type 824", id="sll-netlink"),
        pytest.param(276, sll2(4) + V4, "802.3 frame", id="sll2-802.2"),
        pytest.param(0, b"\0\0\0\x07" + V4, "address family 7", id="null-other"),
        pytest.param(105, V4, "link type 105", id="802.11"),
    ],
)
def test_anything_else_is_told(link: int, frame: bytes, told: str) -> None:
    assert find_ip(link, frame) == told


@given(st.sampled_from([0, 1, 12, 14, 101, 105, 108, 113, 228, 229, 276]), st.binary(max_size=60))
def test_no_frame_raises(link: int, frame: bytes) -> None:
    found = find_ip(link, frame)
    assert isinstance(found, str) or (found.at <= len(frame) and found.version in (4, 6))
