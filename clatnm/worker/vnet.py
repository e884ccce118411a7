# SPDX-License-Identifier: GPL-2.0-or-later
"""The vnet header (linux/virtio_net.h) that both descriptors put before each packet, in host byte order.

It says what the kernel has left undone: a checksum to complete (NEEDS_CSUM; the field holds the pseudo header's
sum), a large packet to cut into segments (GSO). Translation moves what it points at: the IP header grows or shrinks
by 20 bytes, and offsets count from the Ethernet header where there is one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

SIZE = 10
BLANK = bytes(SIZE)  # a packet complete in itself

NEEDS_CSUM = 1  # the only flag that may be written; DATA_VALID (2) comes with received packets
GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 1, 4, 5, 0x80

# The kinds that can be translated; not UDP fragmentation (3), nobody offers to take it.
TO_IPV6: Mapping[int, int] = {GSO_TCPV4: GSO_TCPV6, GSO_TCPV4 | GSO_ECN: GSO_TCPV6 | GSO_ECN, GSO_UDP_L4: GSO_UDP_L4}
TO_IPV4: Mapping[int, int] = {after: before for before, after in TO_IPV6.items()}

TCP_CHECKSUM, UDP_CHECKSUM = 16, 6  # offsets of the checksum field in the transport header

HEADER = struct.Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset

_UDP_BYTES = 8
_TCP_LENGTH_AT = 12


def rewriter(
    *, gso: Mapping[int, int], transport_in: int, transport_out: int
) -> Callable[[bytearray, int], tuple[bytes, int] | None]:
    """A function from (buffer, offset of a vnet header) to the header for the translated packet, and its gso_size.

    `transport_in` and `transport_out` are where the transport header begins before and after, counted as the
    respective descriptor counts. None where the vnet header contradicts an IP header without options, or is of a
    kind that cannot be translated: such a packet is for the slow path.
    """
    unpack, pack = HEADER.unpack_from, HEADER.pack

    def rewrite(buf: bytearray, at: int) -> tuple[bytes, int] | None:
        flags, kind, _, size, start, offset = unpack(buf, at)
        if not flags & NEEDS_CSUM:
            return None if kind else (BLANK, 0)
        if start != transport_in or offset not in (TCP_CHECKSUM, UDP_CHECKSUM):
            return None
        if not kind:
            return pack(NEEDS_CSUM, 0, 0, 0, transport_out, offset), 0
        becomes = gso.get(kind)
        if becomes is None or size == 0 or (offset == UDP_CHECKSUM) != (kind == GSO_UDP_L4):
            return None
        # hdr_len comes as a hint (whatever was linear in memory), so the true length is written
        length = _UDP_BYTES if kind == GSO_UDP_L4 else buf[at + SIZE + start + _TCP_LENGTH_AT] >> 2 & 0x3C
        return pack(NEEDS_CSUM, becomes, transport_out + length, size, transport_out, offset), size

    return rewrite
