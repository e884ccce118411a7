# SPDX-License-Identifier: GPL-2.0-or-later
"""The Internet checksum (RFC 1071), its incremental update (RFC 1624) and pseudo headers.

A one's complement sum is kept as a number modulo 0xffff. Big-endian bytes read as one integer are congruent to
the sum of their 16-bit words, because 2**16 leaves 1 modulo 0xffff; so Python's integers do the summing in C.

Two fields look alike and are not: a full checksum holds the complement of the sum, while a partial one (a vnet
header says NEEDS_CSUM) holds the plain sum of the pseudo header, to be finished by whoever sends the packet.
"""

from __future__ import annotations

from typing import TypeAlias

Bytes: TypeAlias = "bytes | bytearray | memoryview"

_UDP = 17


def word_sum(data: Bytes) -> int:
    """The one's complement sum of the 16-bit words, 0 to 0xffff; 0 only for all-zero data. Odd data is padded."""
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    return number % 0xFFFF or (0xFFFF if number else 0)


def finish(total: int) -> int:
    """The checksum field of data whose words sum to `total`, its own field taken as zero (RFC 1071 1)."""
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def checksum(data: Bytes) -> int:
    """The checksum of data without a pseudo header (IPv4 header, ICMPv4); 0 says that a filled-in one is right."""
    return finish(word_sum(data))


def pseudo_sum(source: Bytes, destination: Bytes, length: int, protocol: int) -> int:
    """The sum of a pseudo header: packed addresses of one family, segment length in bytes (RFC 768, RFC 8200 8.1)."""
    return word_sum(source) + word_sum(destination) + (length >> 16) + (length & 0xFFFF) + protocol


def transport_checksum(source: Bytes, destination: Bytes, protocol: int, segment: Bytes) -> int:
    """The checksum of a segment whose own field is zero; 0xffff in place of 0 for UDP (RFC 768, RFC 8200 8.1).

    With the field filled in, 0 (UDP: 0xffff) says that it is right.
    """
    field = finish(pseudo_sum(source, destination, len(segment), protocol) + word_sum(segment))
    return field or 0xFFFF if protocol == _UDP else field


def update(field: int, delta: int) -> int:
    """A full checksum after its words changed by `delta` = new sum - old sum (RFC 1624 3, equation 3).

    ~(~field + delta), and the complement is the negative modulo 0xffff.
    """
    return (field - delta) % 0xFFFF


def update_nonzero(field: int, delta: int) -> int:
    """`update` with 0xffff, its equal in one's complement, in place of 0.

    For UDP 0 says "no checksum" (RFC 768, RFC 8200 8.1); an ICMPv4 echo reply that is all zero needs 0xffff to verify.
    """
    return (field - delta) % 0xFFFF or 0xFFFF


def update_partial(field: int, delta: int) -> int:
    """A partial checksum (the pseudo header's sum, not complemented) after that sum changed by `delta`."""
    return (field + delta) % 0xFFFF
