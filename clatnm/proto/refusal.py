# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a packet is not translated."""

from __future__ import annotations

from clatnm.compat import StrEnum


class DropReason(StrEnum):
    """Each refusal of the translator; the value is the name of its counter."""

    TRUNCATED = "truncated"  # shorter than its own headers say
    MALFORMED = "malformed"  # header fields that cannot be
    CHECKSUM = "checksum"  # IPv4 header, or an ICMP error, does not sum up

    SOURCE_ILLEGAL = "source-illegal"  # multicast, loopback and the like (RFC 7915 4.1, 5.1)
    SOURCE_UNMAPPED = "source-unmapped"  # no address of ours, or outside the NAT64 prefix
    DESTINATION_ILLEGAL = "destination-illegal"
    DESTINATION_MULTICAST = "destination-multicast"  # or broadcast
    DESTINATION_UNMAPPED = "destination-unmapped"
    NOT_GLOBAL = "not-global"  # private IPv4 in the well-known prefix (RFC 6052 3.1)
    LOOP = "loop"  # from us to us

    HOP_LIMIT = "hop-limit"
    SOURCE_ROUTE = "source-route"
    ROUTING_HEADER = "routing-header"
    LATE_EXTENSION = "late-extension"  # an extension header behind the Fragment header (RFC 7915 5.1.1)
    PROTOCOL = "protocol"  # a number that means something else in the other family
    GROUP_MANAGEMENT = "group-management"  # IGMP (RFC 7915 4.2)
    TOO_BIG = "too-big"
    UDP_ZERO_CHECKSUM = "udp-zero-checksum"  # in a first fragment (RFC 7915 4.5)
    TINY_FRAGMENT = "tiny-fragment"  # hides the transport header (RFC 1858)

    ICMP_TYPE = "icmp-type"  # has no counterpart (RFC 7915 4.2, 5.2)
    ICMP_INNER = "icmp-inner"  # the packet inside an ICMP error cannot be translated

    REASSEMBLY_OVERLAP = "reassembly-overlap"  # RFC 5722
    REASSEMBLY_DUPLICATE = "reassembly-duplicate"
    REASSEMBLY_MALFORMED = "reassembly-malformed"
    REASSEMBLY_FULL = "reassembly-full"


class Refused(Exception):  # noqa: N818 - not an error: the answer "no", on its way out of nested calls
    """A packet is refused; never leaves the translator.

    `info` fills the last 32 bits of the ICMP header of the answer: an MTU or a pointer.
    """

    def __init__(self, reason: DropReason, info: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.info = info
