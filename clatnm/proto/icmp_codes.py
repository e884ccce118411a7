# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP types and codes across the translator: the tables of RFC 7915 4.2 and 5.2."""

from __future__ import annotations

from typing import NamedTuple

MIN_IPV6_MTU = 1280  # RFC 8200 5
MIN_IPV4_MTU = 68  # RFC 791 3.2

# RFC 1191 7.1, those an IPv6 link can have
_PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492)

ECHO_REPLY_V4, UNREACHABLE_V4, ECHO_REQUEST_V4, TIME_EXCEEDED_V4, PARAMETER_V4 = 0, 3, 8, 11, 12
FRAGMENTATION_NEEDED = 4  # a code of UNREACHABLE_V4
UNREACHABLE_V6, TOO_BIG_V6, TIME_EXCEEDED_V6, PARAMETER_V6, ECHO_REQUEST_V6, ECHO_REPLY_V6 = 1, 2, 3, 4, 128, 129

ECHO_TO_V6 = {ECHO_REQUEST_V4: ECHO_REQUEST_V6, ECHO_REPLY_V4: ECHO_REPLY_V6}
ECHO_TO_V4 = {v6: v4 for v4, v6 in ECHO_TO_V6.items()}

# Messages that are no errors (RFC 792, RFC 950, RFC 1256); an unknown type counts as an error, to be silent about it
_QUERIES_V4 = frozenset((0, 8, 9, 10, 13, 14, 15, 16, 17, 18))

_UNREACHABLE_TO_V6 = {0: 0, 1: 0, 3: 4, 5: 0, 6: 0, 7: 0, 8: 0, 9: 1, 10: 1, 11: 0, 12: 0, 13: 1, 15: 1}
_UNREACHABLE_TO_V4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}

# RFC 7915 4.2 figure 3 and 5.2 figure 6: the header field pointed at
_POINTER_TO_V6 = {
    0: 0,
    1: 1,
    2: 4,
    3: 4,
    8: 7,
    9: 6,
    **dict.fromkeys(range(12, 16), 8),
    **dict.fromkeys(range(16, 20), 24),
}
_POINTER_TO_V4 = {
    0: 0,
    1: 1,
    4: 2,
    5: 2,
    6: 9,
    7: 8,
    **dict.fromkeys(range(8, 24), 12),
    **dict.fromkeys(range(24, 40), 16),
}


class Mtus(NamedTuple):
    """Of the links on both sides, in bytes."""

    ipv4: int
    ipv6: int


class IcmpHeader(NamedTuple):
    """An ICMP error. `rest`: the 32 bits after the checksum; `extensible`: it may carry extensions (RFC 4884)."""

    kind: int
    code: int
    rest: int = 0
    extensible: bool = False


def is_error_v4(kind: int) -> bool:
    """An error message, or one of unknown type."""
    return kind not in _QUERIES_V4


def is_error_v6(kind: int) -> bool:
    """RFC 4443 2.1; a redirect counts as one where errors about errors are barred (RFC 4443 2.4 e.2)."""
    return kind < 128


def error_to_v6(kind: int, code: int, rest: int, *, quoted_total: int, mtus: Mtus) -> IcmpHeader | None:
    """The ICMPv6 form of an ICMPv4 error, None when there is none (RFC 7915 4.2).

    quoted_total: Total Length in the packet in error.
    """
    if kind == UNREACHABLE_V4 and code == 2:
        return IcmpHeader(PARAMETER_V6, 1, 6)  # the Next Header field
    if kind == UNREACHABLE_V4 and code == FRAGMENTATION_NEEDED:
        return IcmpHeader(TOO_BIG_V6, 0, _mtu_to_v6(rest & 0xFFFF, quoted_total, mtus))
    if kind == UNREACHABLE_V4 and code in _UNREACHABLE_TO_V6:
        return IcmpHeader(UNREACHABLE_V6, _UNREACHABLE_TO_V6[code], extensible=True)
    if kind == TIME_EXCEEDED_V4:
        return IcmpHeader(TIME_EXCEEDED_V6, code, extensible=True)
    if kind == PARAMETER_V4 and code in (0, 2) and rest >> 24 in _POINTER_TO_V6:
        return IcmpHeader(PARAMETER_V6, 0, _POINTER_TO_V6[rest >> 24])
    return None


def error_to_v4(kind: int, code: int, rest: int, *, fragment: bool, mtus: Mtus) -> IcmpHeader | None:
    """The ICMPv4 form of an ICMPv6 error, None when there is none (RFC 7915 5.2).

    fragment: the packet in error has a Fragment header.
    """
    if kind == UNREACHABLE_V6 and code in _UNREACHABLE_TO_V4:
        return IcmpHeader(UNREACHABLE_V4, _UNREACHABLE_TO_V4[code], extensible=True)
    if kind == TOO_BIG_V6:
        return IcmpHeader(UNREACHABLE_V4, FRAGMENTATION_NEEDED, _mtu_to_v4(rest, fragment, mtus))
    if kind == TIME_EXCEEDED_V6:
        return IcmpHeader(TIME_EXCEEDED_V4, code, extensible=True)
    if kind == PARAMETER_V6 and code == 1:
        return IcmpHeader(UNREACHABLE_V4, 2)
    if kind == PARAMETER_V6 and code == 0 and rest in _POINTER_TO_V4:
        return IcmpHeader(PARAMETER_V4, 0, _POINTER_TO_V4[rest] << 24)
    return None


def _mtu_to_v6(mtu: int, quoted_total: int, mtus: Mtus) -> int:
    """RFC 7915 4.2, code 4: never below 1280; 0 comes from a router older than RFC 1191."""
    if not mtu:
        mtu = next((plateau for plateau in _PLATEAUS if plateau < quoted_total), 0)
    return max(MIN_IPV6_MTU, min(mtu + 20, mtus.ipv6, mtus.ipv4 + 20))


def _mtu_to_v4(mtu: int, fragment: bool, mtus: Mtus) -> int:
    """RFC 7915 5.2, type 2: a Fragment header takes room as well."""
    growth = 28 if fragment else 20
    return max(MIN_IPV4_MTU, min(mtu - growth, mtus.ipv4, mtus.ipv6 - growth))
