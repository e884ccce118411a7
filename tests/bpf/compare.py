# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs against the translator: what they make of a packet has to be what `Siit` makes of it.

They may leave a packet to the process, and do so for exactly those that `InPlace` leaves to `Siit`: else traffic that
should be fast would silently be slow.
"""

from __future__ import annotations

from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.inplace import DECLINED, InPlace
from clatnm.proto.siit import Siit, SiitConfig
from tests.bpf.programs import IPV4, IPV6, Clat, Kind, Programs

_ICMPV6 = 58
_NEIGHBOUR_DISCOVERY = range(130, 138)  # with MLD
_HOST = bytes(6)
_CHECKSUM_AT = {6: 16, 17: 6}


class DisagreementError(AssertionError):
    """Somebody is wrong; the text says who says what."""


class Comparison:
    """One CLAT, translated by the programs and by `clatnm.proto`. Close it."""

    def __init__(self, clat: Clat) -> None:
        self.clat = clat
        self._table = _table(clat)
        self._programs = Programs(clat)
        self._fast = InPlace(
            clat.clat_v4,
            clat.clat_v6,
            clat.prefix,
            ipv6_mtu_bytes=clat.ipv6_mtu_bytes,
            ipv4_mtu_bytes=clat.ipv4_mtu_bytes,
            well_known_strict=clat.well_known_strict,
            mappings=clat.mappings,
        )
        self._full = _siit(clat, clat.ipv6_mtu_bytes, clat.ipv4_mtu_bytes)
        self._unbound = _siit(clat, 0xFFFF, 0xFFFF)

    def close(self) -> None:
        self._programs.close()

    def from_host(self, packet: bytes, *, ethertype: bytes = IPV4, gso_size: int = 0) -> Kind:
        """What the programs do with it. DisagreementError."""
        got = self._programs.from_host(packet, ethertype=ethertype, gso_size=gso_size)
        expected = self._in_place(packet, to_ipv6=True, gso_size=gso_size) if ethertype == IPV4 else None
        if (got.kind is Kind.TRANSLATED) is not (expected is not None):
            raise DisagreementError(f"programs: {got}, in-place: {_hex(expected)}")
        if expected is not None:
            self._equal(packet, got.packet, expected, to_ipv6=True, gso_size=gso_size)
        return got.kind

    def from_network(
        self, packet: bytes, *, ethertype: bytes = IPV6, gso_size: int = 0, macs: bytes = bytes(12)
    ) -> Kind:
        """What the programs do with it. DisagreementError."""
        got = self._programs.from_network(packet, ethertype=ethertype, gso_size=gso_size, macs=macs)
        ours = ethertype == IPV6 and macs[:6] == _HOST and self._is_ours(packet)
        expected = self._in_place(packet, to_ipv6=False, gso_size=gso_size) if ours else None
        wanted = Kind.TRANSLATED if expected is not None else Kind.TO_PROCESS if ours else Kind.NOT_OURS
        if got.kind is not wanted:
            raise DisagreementError(f"programs: {got}, but it should be {wanted}; in-place: {_hex(expected)}")
        if expected is not None:
            self._equal(packet, got.packet, expected, to_ipv6=False, gso_size=gso_size)
        return got.kind

    def _is_ours(self, packet: bytes) -> bool:
        if len(packet) < 40 or self._table.packed_to_v4(packet[24:40]) is None:
            return False
        return not (packet[6] == _ICMPV6 and len(packet) > 40 and packet[40] in _NEIGHBOUR_DISCOVERY)

    def _in_place(self, packet: bytes, *, to_ipv6: bool, gso_size: int) -> bytes | None:
        buf = bytearray(bytes(20) + packet)
        translate = self._fast.to_ipv6 if to_ipv6 else self._fast.to_ipv4
        start = translate(buf, 20, len(buf), gso_size > 0, gso_size)
        return None if start == DECLINED else bytes(buf[start:])

    def _equal(self, packet: bytes, got: bytes, fast: bytes, *, to_ipv6: bool, gso_size: int) -> None:
        """The packet as a test run has it is not partial: with GSO, its checksum is that of a whole translation."""
        siit = self._unbound if gso_size else self._full
        outcome = (siit.from_ipv4 if to_ipv6 else siit.from_ipv6)(packet, 0.0)
        if len(outcome.forward) != 1:
            raise DisagreementError(f"programs: {got.hex()}, translator: {outcome}")
        (full,) = outcome.forward
        header = 40 if to_ipv6 else 20
        if gso_size:
            at = header + _CHECKSUM_AT[got[6] if to_ipv6 else got[9]]
            fast = fast[:at] + full[at : at + 2] + fast[at + 2 :]
            full = fast[:header] + full[header:]  # of a GSO packet, its segments' size decides on DF
        if not to_ipv6:
            got, fast, full = _without_ident(got), _without_ident(fast), _without_ident(full)
        if not got == fast == full:
            raise DisagreementError(f"programs:   {got.hex()}\nin-place:   {fast.hex()}\ntranslator: {full.hex()}")


def _table(clat: Clat) -> EamTable:
    return EamTable([host_pair(clat.clat_v4, clat.clat_v6)]) if clat.mappings is None else clat.mappings


def _siit(clat: Clat, ipv6_mtu_bytes: int, ipv4_mtu_bytes: int) -> Siit:
    return Siit(
        SiitConfig(
            prefix=clat.prefix,
            eam=_table(clat),
            ipv6_mtu_bytes=ipv6_mtu_bytes,
            ipv4_mtu_bytes=ipv4_mtu_bytes,
            well_known_strict=clat.well_known_strict,
        )
    )


def _without_ident(packet: bytes) -> bytes:
    """An IPv4 packet whose identification anybody may choose, without that; its header checksum has to be right."""
    if packet[6] & 0x40 or len(packet) < 20:
        return packet
    if int.from_bytes(packet[:20], "big") % 0xFFFF:
        raise DisagreementError(f"wrong header checksum: {packet.hex()}")
    return packet[:4] + b"\0\0" + packet[6:10] + b"\0\0" + packet[12:]


def _hex(packet: bytes | None) -> str:
    return "declined" if packet is None else packet.hex()
