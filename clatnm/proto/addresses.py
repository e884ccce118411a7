# SPDX-License-Identifier: GPL-2.0-or-later
"""Which address stands for which: the mapping of RFC 7915 section 6 as a CLAT uses it, or a translator between equals.

Two sides: local addresses (the CLAT's own, an explicit mapping of RFC 7757) and remote ones (an explicit mapping,
else the NAT64 prefix of RFC 6052). Where both are alike, all addresses are remote ones.
Packed bytes in and out, since every packet comes this way.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network

from clatnm.proto import nat64
from clatnm.proto.eam import EamTable
from clatnm.proto.refusal import DropReason, Refused

_LOOPBACK_V6 = bytes(15) + b"\1"
_MAPPED_V6 = bytes(10) + b"\xff\xff"


class AddressMap:
    """Local and remote addresses across the translator. Refused leaves the methods.

    `local_to_v6` and `local_to_v4` give None for an address that is not local. symmetric: no side is the local one
    (RFC 7915 as it is, without a CLAT); they are Refused then for an address that may not be used.
    """

    def __init__(
        self, prefix: IPv6Network | None, eam: EamTable, *, well_known_strict: bool, symmetric: bool = False
    ) -> None:
        if prefix is not None:
            nat64.check_prefix(prefix)
        self._symmetric = symmetric
        self._mapped_to_v6 = eam.packed_to_v6
        self._mapped_to_v4 = eam.packed_to_v4
        self.local_to_v6: Callable[[bytes], bytes | None] = self.source_to_v6 if symmetric else eam.packed_to_v6
        self.local_to_v4: Callable[[bytes], bytes | None] = self._destination_to_v4 if symmetric else eam.packed_to_v4
        self._embed = None if prefix is None else nat64.embedder(prefix)
        self._extract = None if prefix is None else nat64.extractor(prefix)
        self._global_only = well_known_strict and prefix == nat64.WELL_KNOWN

    def source_to_v6(self, address: bytes) -> bytes:
        """The IPv6 address of an IPv4 sender: a local one, or anybody where both sides are alike."""
        if (mapped := self._mapped_to_v6(address)) is not None:
            return mapped
        if is_martian_v4(address):  # RFC 7915 4.1
            raise Refused(DropReason.SOURCE_ILLEGAL)
        if self._embed is None or not self._symmetric:
            raise Refused(DropReason.SOURCE_UNMAPPED)
        if self._global_only and not nat64.is_global_bits(int.from_bytes(address, "big")):
            raise Refused(DropReason.NOT_GLOBAL)  # RFC 6052 3.1
        return self._embed(address)

    def remote_to_v6(self, address: bytes) -> bytes:
        """The IPv6 address of a remote IPv4 host; Refused when there is none."""
        if (mapped := self._mapped_to_v6(address)) is not None:
            return mapped
        if address[0] >= 224:
            raise Refused(_multicast_or_reserved(address))
        if is_martian_v4(address):
            raise Refused(DropReason.DESTINATION_ILLEGAL)
        if self._embed is None:
            raise Refused(DropReason.DESTINATION_UNMAPPED)
        # RFC 6052 3.1: the well-known prefix does not stand for private addresses
        if self._global_only and not nat64.is_global_bits(int.from_bytes(address, "big")):
            raise Refused(DropReason.NOT_GLOBAL)
        return self._embed(address)

    def remote_to_v4(self, address: bytes) -> bytes:
        """The IPv4 address of a remote IPv6 host; Refused when there is none."""
        if (mapped := self._mapped_to_v4(address)) is not None:
            return mapped
        packed = None if self._extract is None else self._extract(address)
        if packed is None:
            illegal = not is_unicast_v6(address)
            raise Refused(DropReason.SOURCE_ILLEGAL if illegal else DropReason.SOURCE_UNMAPPED)
        if is_martian_v4(packed):  # RFC 7915 5.1: what it stands for is no source either
            raise Refused(DropReason.SOURCE_ILLEGAL)
        if self._global_only and not nat64.is_global_bits(int.from_bytes(packed, "big")):
            raise Refused(DropReason.NOT_GLOBAL)  # RFC 6052 3.1
        return packed

    def _destination_to_v4(self, address: bytes) -> bytes | None:
        """The IPv4 address of any IPv6 host; None when it has none."""
        if (mapped := self._mapped_to_v4(address)) is not None:
            return mapped
        packed = None if self._extract is None else self._extract(address)
        if packed is None:
            return None
        if packed[0] >= 224:
            raise Refused(_multicast_or_reserved(packed))
        if is_martian_v4(packed):  # RFC 1812 5.3.7
            raise Refused(DropReason.DESTINATION_ILLEGAL)
        if self._global_only and not nat64.is_global_bits(int.from_bytes(packed, "big")):
            raise Refused(DropReason.NOT_GLOBAL)  # RFC 6052 3.1
        return packed


def is_martian_v4(address: bytes) -> bool:
    """Never a host beyond this link: 0/8, 127/8, 169.254/16, 224/4, 240/4 (RFC 1812 5.3.7, RFC 3927 2.7)."""
    first = address[0]
    return first in (0, 127) or first >= 224 or (first == 169 and address[1] == 254)


def is_unicast_v6(address: bytes) -> bool:
    """A source one may answer: not multicast, unspecified, loopback or IPv4-mapped (RFC 4291 2.5, 2.7)."""
    return address[0] != 0xFF and any(address) and address != _LOOPBACK_V6 and address[:12] != _MAPPED_V6


def is_link_local_v6(address: bytes) -> bool:
    """fe80::/10 (RFC 4291 2.5.6)."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def _multicast_or_reserved(address: bytes) -> DropReason:
    if address[0] < 240 or address == b"\xff\xff\xff\xff":
        return DropReason.DESTINATION_MULTICAST
    return DropReason.DESTINATION_ILLEGAL
