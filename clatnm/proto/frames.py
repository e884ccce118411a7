# SPDX-License-Identifier: GPL-2.0-or-later
"""IP packets within the frames of a capture, for the link types that matter (LINKTYPE_ numbers of libpcap)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)  # IEEE 802.1Q, 802.1ad, and what came before it
_MIN_ETHERTYPE = 0x600  # below it a length (IEEE 802.3 3.2.6)

_AF_INET = 2
_AF_INET6 = (10, 24, 28, 30)  # Linux, NetBSD and OpenBSD, FreeBSD, macOS

# In these cooked frames the protocol is no EtherType: 802.11 with radiotap, netlink, frame relay
_ARPHRD_OTHER = (770, 803, 824)

_CUT_SHORT = "link-layer header cut short"


class Found(NamedTuple):
    """Where in a frame a packet starts, and of which IP version its frame says it is."""

    at: int
    version: int


def find_ip(link: int, frame: bytes) -> Found | str:
    """The IP packet in a frame of link type `link`; in words what is there instead."""
    look = _LINKS.get(link)
    return f"link type {link}" if look is None else look(frame)


def _raw(frame: bytes) -> Found | str:
    if not frame:
        return "empty"
    version = frame[0] >> 4
    return Found(0, version) if version in (4, 6) else f"IP version {version}"


def _ethernet(frame: bytes) -> Found | str:
    return _by_ethertype(frame, 12)


def _cooked(frame: bytes) -> Found | str:
    """LINUX_SLL: packet type, ARPHRD_, address length, address, protocol."""
    return _cooked_by(frame, arphrd_at=2, protocol_at=14, header_bytes=16)


def _cooked2(frame: bytes) -> Found | str:
    """LINUX_SLL2: the protocol comes first, and behind all else the packet."""
    return _cooked_by(frame, arphrd_at=8, protocol_at=0, header_bytes=20)


def _cooked_by(frame: bytes, *, arphrd_at: int, protocol_at: int, header_bytes: int) -> Found | str:
    if len(frame) < header_bytes:
        return _CUT_SHORT
    arphrd = int.from_bytes(frame[arphrd_at : arphrd_at + 2], "big")
    if arphrd in _ARPHRD_OTHER:
        return f"cooked frame of device type {arphrd}"
    return _by_ethertype(frame, protocol_at, behind=header_bytes)


def _by_ethertype(frame: bytes, at: int, *, behind: int | None = None) -> Found | str:
    """By the EtherType at `at`; the packet, or another tag, comes at `behind`, by default right after it."""
    start = at + 2 if behind is None else behind
    while len(frame) >= start:
        kind = int.from_bytes(frame[at : at + 2], "big")
        if kind == ETHERTYPE_IPV4:
            return Found(start, 4)
        if kind == ETHERTYPE_IPV6:
            return Found(start, 6)
        if kind not in _VLAN_TAGS:
            return f"EtherType 0x{kind:04x}" if kind >= _MIN_ETHERTYPE else "802.3 frame"
        at, start = start + 2, start + 4
    return _CUT_SHORT


def _family(frame: bytes) -> Found | str:
    """NULL and LOOP: an address family in 32 bits, in the byte order of whoever captured it or of the network."""
    if len(frame) < 4:
        return _CUT_SHORT
    family = min(int.from_bytes(frame[:4], "big"), int.from_bytes(frame[:4], "little"))
    if family == _AF_INET:
        return Found(4, 4)
    return Found(4, 6) if family in _AF_INET6 else f"address family {family}"


_LINKS: Mapping[int, Callable[[bytes], Found | str]] = {
    0: _family,  # NULL
    1: _ethernet,
    12: _raw,  # what DLT_RAW is on most systems
    14: _raw,  # and on OpenBSD
    101: _raw,
    108: _family,  # LOOP
    113: _cooked,
    228: lambda frame: Found(0, 4),
    229: lambda frame: Found(0, 6),
    276: _cooked2,
}
