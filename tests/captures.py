# SPDX-License-Identifier: GPL-2.0-or-later
"""Two captures of the same traffic, on both sides of a translator: off line, each becomes the other."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from clatnm import pcapfile
from clatnm.cli.main import main
from clatnm.proto.frames import find_ip

ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
_NEIGHBOUR_DISCOVERY = range(133, 138)


@dataclass(frozen=True)
class Captures:
    """tun: IPv4 as the host has it. uplink: IPv6 as the network has it."""

    tun: Path
    uplink: Path


def packets(file: Path) -> list[bytes]:
    """The IP packets of a capture, without the link layer and its padding."""
    found = []
    with file.open("rb") as stream:
        for record in pcapfile.read(stream).records:
            place = find_ip(record.link, record.data)
            assert not isinstance(place, str), place
            packet = record.data[place.at :]
            size = (
                struct.unpack_from("!H", packet, 2)[0]
                if place.version == 4
                else 40 + int.from_bytes(packet[4:6], "big")
            )
            assert len(packet) >= size
            found.append(packet[:size])
    return found


def compare(captures: Captures, directory: Path, *, clat_v4: str, clat_v6: str, prefix: str) -> None:
    """AssertionError unless both directions come out as the real translator made them, byte for byte.

    Two things it cannot know and are left out: identifications where DF is clear, and how fragmented ICMP towards
    IPv4 was cut.
    """
    pair = ("--clat-v4-addr", clat_v4, "--clat-v6-addr", clat_v6)
    for options in (pair, ("--eam", f"{clat_v4}={clat_v6}")):
        made = {}
        for side in ("tun", "uplink"):
            output = directory / f"{side}.translated.pcap"
            argv = ["pcap", "--plat-prefix", prefix, "--ipv6-mtu", "1500", *options, str(getattr(captures, side))]
            assert main([*argv, str(output)]) == 0
            made[side] = packets(output)
        sent = [packet for packet in packets(captures.uplink) if _is_from(packet, clat_v6)]
        assert [packet for packet in made["tun"] if _is_from(packet, clat_v6)] == sent
        assert {packet[6] for packet in sent} == {TCP, UDP, ICMPV6, FRAGMENT}
        received = _comparable(packets(captures.tun), clat_v4)
        assert _comparable(made["uplink"], clat_v4) == [packet for packet in received if not _is_our_error(packet)]
        assert {packet[9] for packet in received} == {TCP, UDP, ICMP}
        _assert_errors_are_the_same(packets(captures.tun), made["tun"])


def _is_from(packet: bytes, v6: str) -> bool:
    """Translated traffic of the CLAT's: IPv6 from it, but its own neighbour discovery."""
    if packet[0] >> 4 != 6 or packet[8:24] != IPv6Address(v6).packed:
        return False
    return not (packet[6] == ICMPV6 and packet[40] in _NEIGHBOUR_DISCOVERY)


def _comparable(given: list[bytes], v4: str) -> list[bytes]:
    """IPv4 to the host, in order, ICMP fragments joined, without identifications that were made up."""
    result: list[bytes] = []
    joined: dict[bytes, bytes] = {}
    for packet in given:
        if packet[0] >> 4 != 4 or packet[16:20] != IPv4Address(v4).packed:
            continue
        flags = int.from_bytes(packet[6:8], "big")
        if packet[9] == ICMP and flags & 0x3FFF:
            joined[packet[4:6]] = joined.get(packet[4:6], b"") + packet[20:]
            if flags & 0x2000:
                continue
            packet = packet[:20] + joined.pop(packet[4:6])
            packet = packet[:2] + len(packet).to_bytes(2, "big") + packet[4:6] + b"\0\0" + packet[8:]
        if not flags & 0x4000:
            packet = packet[:4] + b"\0\0" + packet[6:10] + b"\0\0" + packet[12:]
        result.append(packet)
    return result


def _is_our_error(packet: bytes) -> bool:
    return packet[12:16] == IPv4Address("192.0.0.8").packed


def _assert_errors_are_the_same(seen: list[bytes], made: list[bytes]) -> None:
    """The real translator said "time exceeded" once; off line it is said again, of the same packet."""
    real = Counter(packet for packet in seen if packet[9] == ICMP and packet[20] == 11)
    assert sum(real.values()) == 1
    assert Counter(packet for packet in made if packet[0] >> 4 == 4 and packet[20] == 11) >= real
