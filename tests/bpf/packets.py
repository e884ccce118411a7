# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets for the fuzz: good ones with fields at random, and what goes wrong with such. All chance is the generator's.

Checksums over payloads are mostly right, but need not be: a translation changes them by difference, so that a wrong
one stays wrong.
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from clatnm.errors import ParseError
from clatnm.proto import nat64
from clatnm.proto.eam import EamTable
from tests.bpf.programs import IPV4, IPV6, LARGEST_BYTES, MACS, Clat, presentable
from tests.unit.proto import siit_packets
from tests.vectors.vector import load

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
_CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMPV6: 2}
_HEADER_BYTES = {ICMP: 8, TCP: 20, UDP: 8, ICMPV6: 8}
_ODD_PROTOCOLS = (0, 1, 2, 4, 6, 17, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 136, 255)
_LIMITS = (1259, 1260, 1261, 1280, 1281)  # of IPv4 packets without DF (RFC 7915 5.1), and the same in IPv6
_CORNERS = (
    "0.0.0.0 0.255.255.255 1.0.0.0 9.255.255.255 10.0.0.0 10.255.255.255 11.0.0.0 100.63.255.255 100.64.0.0 "
    "100.127.255.255 100.128.0.0 126.255.255.255 127.0.0.1 128.0.0.0 169.253.255.255 169.254.0.0 169.254.255.255 "
    "169.255.0.0 172.15.255.255 172.16.0.0 172.31.255.255 172.32.0.0 191.255.255.255 192.0.0.0 192.0.0.8 192.0.0.9 "
    "192.0.0.10 192.0.0.11 192.0.0.255 192.0.1.0 192.0.2.1 192.88.98.255 192.88.99.0 192.88.99.255 192.88.100.0 "
    "192.167.255.255 192.168.0.0 192.168.255.255 192.169.0.0 198.17.255.255 198.18.0.0 198.19.255.255 198.20.0.0 "
    "198.51.100.1 203.0.113.1 223.255.255.255 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255"
)
CORNERS = [IPv4Address(text).packed for text in _CORNERS.split()]
VECTORS_CLAT = Clat(clat_v4=siit_packets.CLAT_V4, clat_v6=siit_packets.CLAT_V6)
CORPUS = [(vector.direction, packet) for vector in load() for packet in vector.given]


@dataclass(frozen=True, slots=True)
class Case:
    """A packet at one of the hooks. `kind`: how it was made."""

    kind: str
    from_host: bool
    packet: bytes
    ethertype: bytes
    gso_size: int = 0
    macs: bytes = MACS


def checksum(data: bytes) -> int:
    """RFC 1071 over words of which the last may be half."""
    number = int.from_bytes(data, "big") << 8 * (len(data) & 1)
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


class Generator:
    """Packets for one CLAT."""

    def __init__(self, chance: random.Random, clat: Clat) -> None:
        self._chance = chance
        self._clat = clat
        self._embed, self._extract = nat64.embedder(clat.prefix), nat64.extractor(clat.prefix)
        self._own_v4, self._own_v6 = clat.clat_v4.packed, clat.clat_v6.packed
        self._choose_own()
        makers: list[tuple[int, Callable[[bool], Case]]] = [
            (10, self._good),
            (3, self._gso),
            (2, self._result_zero),
            (2, self._corner_address),
            (2, self._odd_header),
            (3, self._mutated),
            (2, self._cut_or_padded),
            (2, self._from_corpus),
            (1, self._odd_frame),
            (1, self._noise),
        ]
        self._makers = [maker for weight, maker in makers for _ in range(weight)]

    def case(self) -> Case:
        while True:
            chance = self._chance
            self._choose_own()
            case = chance.choice(self._makers)(chance.random() < 0.5)
            if presentable(case.packet, case.ethertype):
                return case

    def _choose_own(self) -> None:
        """Of a relay, any mapped address; at times its bits in IPv6 that do not count are not zero."""
        if not self._clat.mappings:
            return
        v4, v6 = self._chance.choice(list(self._clat.mappings))
        four = self._mapped(v4)
        six = self._clat.mappings.to_ipv6(four)
        if self._chance.random() < 0.3:
            six = v6[self._chance.randrange(v6.num_addresses)]
        assert six is not None
        self._own_v4, self._own_v6 = (self._clat.mappings.to_ipv4(six) or four).packed, six.packed

    def _mapped(self, network: IPv4Network) -> IPv4Address:
        return network[self._chance.randrange(network.num_addresses)]

    def _case(self, kind: str, from_host: bool, packet: bytes) -> Case:
        return Case(kind, from_host, packet, IPV4 if from_host else IPV6)

    def _good(self, from_host: bool) -> Case:
        name, protocol = self._chance.choice((("tcp", TCP), ("udp", UDP), ("icmp", ICMP)))
        return self._case(f"good {name}", from_host, self.packet(from_host, protocol))

    def packet(self, from_host: bool, protocol: int, *, peer: bytes | None = None, size: int | None = None) -> bytes:
        """Translated it would be, as far as sizes go."""
        peer = self._peer() if peer is None else peer
        if protocol == ICMP and not from_host:
            protocol = ICMPV6
        overhead = _HEADER_BYTES[protocol] + (20 if from_host else 40)
        message = self._message(protocol, max(0, (self._size() if size is None else size) - overhead))
        if from_host:
            packet = self._ipv4(message, protocol, peer)
            pseudo = packet[12:20] + struct.pack("!HH", protocol, len(message)) if protocol != ICMP else b""
        else:
            packet = self._ipv6(message, protocol, self._embed(peer))
            pseudo = packet[8:40] + struct.pack("!II", len(message), protocol)
        at = _CHECKSUM_AT[protocol]
        wrong = self._chance.random() < 0.1
        field = self._chance.choice((0, 1, 0xFFFF, 0x8000)) if wrong else checksum(pseudo + message)
        if protocol == UDP and not wrong:
            field = field or 0xFFFF
        at += len(packet) - len(message)
        return packet[:at] + field.to_bytes(2, "big") + packet[at + 2 :]

    def _peer(self) -> bytes:
        if self._clat.mappings and self._chance.random() < 0.1:  # hosts that are both ours
            return self._mapped(self._chance.choice(list(self._clat.mappings))[0]).packed
        while True:
            peer = self._chance.randbytes(4)
            if 0 < peer[0] < 224 and peer[0] not in (10, 100, 127, 169, 172, 192, 198) and peer != self._own_v4:
                return peer

    def _size(self) -> int:
        """Of the packet; mostly small, often about a limit."""
        chance = self._chance
        if (dice := chance.random()) < 0.6:
            return chance.randrange(28, 120)
        if dice < 0.8:
            limit = chance.choice((*_LIMITS, self._clat.ipv4_mtu_bytes, self._clat.ipv6_mtu_bytes))
            return min(limit + chance.randrange(-21, 22), LARGEST_BYTES)
        return chance.randrange(28, LARGEST_BYTES)

    def _message(self, protocol: int, payload_bytes: int) -> bytes:
        """A transport message without checksum."""
        chance = self._chance
        payload = chance.randbytes(payload_bytes)
        if protocol == TCP:
            offset = 0x50 if chance.random() < 0.7 else chance.randrange(16) << 4
            return chance.randbytes(12) + bytes((offset, chance.randrange(256))) + b"\x10\0\0\0\0\0" + payload
        if protocol == UDP:
            return chance.randbytes(4) + struct.pack("!HH", 8 + payload_bytes, 0) + payload
        echo = chance.random() < 0.5
        kind = (8 if echo else 0) if protocol == ICMP else (128 if echo else 129)
        return (
            bytes((kind, 0 if chance.random() < 0.9 else chance.randrange(256), 0, 0)) + chance.randbytes(4) + payload
        )

    def _ipv4(self, message: bytes, protocol: int, destination: bytes) -> bytes:
        chance = self._chance
        flags = chance.choice((0, 0x4000, 0x8000, 0xC000))
        head = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            chance.randrange(256),
            20 + len(message),
            chance.randrange(0x10000),
            flags,
            chance.randrange(2, 256),
            protocol,
            0,
            self._own_v4,
            destination,
        )
        return with_header_checksum(head) + message

    def _ipv6(self, message: bytes, protocol: int, source: bytes) -> bytes:
        chance = self._chance
        flow = 0x60000000 | chance.randrange(1 << 28)
        head = struct.pack("!IHBB", flow, len(message), protocol, chance.randrange(2, 256))
        return head + source + self._own_v6 + message

    def _gso(self, from_host: bool) -> Case:
        """A packet to be cut into segments; for them, an MTU is as far as it is small."""
        chance = self._chance
        protocol = TCP if chance.random() < 0.7 else UDP if chance.random() < 0.8 else ICMP
        packet = self.packet(from_host, protocol, size=chance.randrange(200, LARGEST_BYTES))
        at = (20 if from_host else 40) + _CHECKSUM_AT[UDP]
        if protocol == UDP and packet[at : at + 2] == b"\0\0":  # a partial checksum is never 0
            packet = packet[:at] + b"\0\1" + packet[at + 2 :]
        about = chance.choice((1180, 1192, 1200, 1220, 1232, 1240, 1252, self._clat.ipv6_mtu_bytes - 60))
        gso_size = max(1, about + chance.randrange(-25, 26)) if chance.random() < 0.8 else chance.randrange(1, 0x10000)
        return Case("gso", from_host, packet, IPV4 if from_host else IPV6, gso_size=gso_size)

    def _result_zero(self, from_host: bool) -> Case:
        """A checksum that the translation makes zero, in either of its two writings; or a message of zeros."""
        chance = self._chance
        protocol = chance.choice((TCP, UDP, ICMP))
        size = (20 if from_host else 40) + _HEADER_BYTES[protocol] + 2 * chance.randrange(30)
        peer = self._peer()
        packet = self.packet(from_host, protocol, peer=peer, size=size)
        upper = 20 if from_host else 40
        at = upper + _CHECKSUM_AT[protocol]
        zeros = protocol == ICMP and chance.random() < 0.5
        if zeros:  # echo reply, whose type is zero in IPv4
            packet = packet[:upper] + (b"\0" if from_host else b"\x81") + bytes(len(packet) - upper - 1)
        v4 = self._own_v4 + peer
        v6 = self._own_v6 + self._embed(peer)
        length = len(packet) - upper
        change = _sum(v6) - (_sum(v4) if protocol != ICMP else -(length + ICMPV6))
        if protocol == ICMP:
            change += 0x7800 if packet[upper] in (8, 128) else 0x8100
        field = (change if from_host else -change) % 0xFFFF
        if not field and chance.random() < 0.5:
            field = 0xFFFF
        packet = packet[:at] + field.to_bytes(2, "big") + packet[at + 2 :]
        return self._case("zeros" if zeros else "result zero", from_host, packet)

    def _corner_address(self, from_host: bool) -> Case:
        chance = self._chance
        protocol = chance.choice((TCP, UDP, ICMP))
        # at times what stands for the CLAT itself, where its address is within the prefix
        own = self._extract(self._own_v6) or self._own_v4
        peer = own if chance.random() < 0.1 else chance.choice((*CORNERS, self._own_v4))
        packet = self.packet(from_host, protocol, peer=peer)
        if from_host:
            if chance.random() < 0.2:
                packet = with_header_checksum(packet[:12] + chance.choice(CORNERS) + packet[16:])
            return self._case("corner address", from_host, packet)
        source = bytearray(packet[8:24])
        if (dice := chance.random()) < 0.2:
            source = bytearray(chance.choice((self._own_v6, bytes(16), bytes(15) + b"\1", b"\xff" + bytes(15))))
        elif dice < 0.6:  # prefix, octet u, suffix
            source[chance.randrange(16)] ^= 1 << chance.randrange(8)
        if self._clat.mappings and chance.random() < 0.3:  # a mapped sender, or one nearby
            _, v6 = chance.choice(list(self._clat.mappings))
            source = bytearray(v6[chance.randrange(v6.num_addresses)].packed)
            source[chance.randrange(16)] ^= chance.choice((0, 1))
        packet = packet[:8] + bytes(source) + packet[24:]
        if chance.random() < 0.1:
            packet = packet[:24] + chance.choice((bytes(source), b"\xff\x02" + bytes(14))) + packet[40:]
        return self._case("corner address", from_host, packet)

    def _odd_header(self, from_host: bool) -> Case:
        """One field of a good packet has a value that matters; the header checksum is right, mostly."""
        chance = self._chance
        packet = bytearray(self.packet(from_host, chance.choice((TCP, UDP, ICMP)), size=chance.randrange(60, 200)))
        upper = 20 if from_host else 40
        match chance.randrange(6):
            case 0:  # hops left
                packet[8 if from_host else 7] = chance.randrange(4)
            case 1:
                packet[9 if from_host else 6] = chance.choice(_ODD_PROTOCOLS)
                if chance.random() < 0.4:  # an echo of the other family
                    packet[9 if from_host else 6] = ICMPV6 if from_host else ICMP
                    packet[upper] = chance.choice((128, 129) if from_host else (8, 0))
            case 2:  # length
                at = 2 if from_host else 4
                size = int.from_bytes(packet[at : at + 2], "big") + chance.choice((-41, -20, -2, -1, 1, 2, 20, 0x8000))
                packet[at : at + 2] = (size & 0xFFFF).to_bytes(2, "big")
            case 3:  # version, header length, class
                packet[0] = chance.randrange(256)
            case 4:  # fragments; first half of the flow label
                packet[6 if from_host else 2] = chance.randrange(256)
            case _:  # ICMP types, ports; checksum absent
                packet[upper] = chance.choice((0, 3, 8, 11, 128, 129, 130, 133, 135, 137, 138, 143))
                if chance.random() < 0.5:
                    packet[upper + 6 : upper + 8] = b"\0\0"
        if from_host and chance.random() < 0.9:
            packet = bytearray(with_header_checksum(bytes(packet)))
        return self._case("odd header", from_host, bytes(packet))

    def _mutated(self, from_host: bool) -> Case:
        return self._case("mutated", from_host, self._mutate(self.packet(from_host, self._chance.choice((6, 17, 1)))))

    def _mutate(self, packet: bytes) -> bytes:
        chance = self._chance
        data = bytearray(packet)
        for _ in range(chance.randrange(1, 5)):
            if data:
                data[chance.randrange(min(len(data), 64))] = chance.randrange(256)
        repaired = len(data) >= 20 and data[0] >> 4 == 4 and chance.random() < 0.7
        return with_header_checksum(bytes(data)) if repaired else bytes(data)

    def _cut_or_padded(self, from_host: bool) -> Case:
        chance = self._chance
        packet = self.packet(from_host, chance.choice((TCP, UDP, ICMP)), size=chance.randrange(28, 300))
        if chance.random() < 0.5:
            return self._case("padded", from_host, packet + bytes(chance.randrange(1, 60)))
        packet = packet[: chance.randrange(20 if from_host else 40, len(packet) + 1)]
        if chance.random() < 0.5:  # and the header says so
            size = len(packet) - (0 if from_host else 40)
            at = 2 if from_host else 4
            packet = packet[:at] + size.to_bytes(2, "big") + packet[at + 2 :]
            packet = with_header_checksum(packet) if from_host else packet
        return self._case("cut", from_host, packet)

    def _from_corpus(self, _: bool) -> Case:
        direction, packet = self._chance.choice(CORPUS)
        mutated = self._chance.random() < 0.7
        return self._case("vector", direction == "4to6", self._mutate(packet) if mutated else packet)

    def _odd_frame(self, from_host: bool) -> Case:
        """A good packet behind an Ethernet header that says something else, or for another station."""
        chance = self._chance
        packet = self.packet(from_host, chance.choice((TCP, UDP, ICMP)), size=chance.randrange(60, 200))
        if not from_host and chance.random() < 0.5:
            return Case("other station", from_host, packet, IPV6, macs=b"\x02" + bytes(11))
        return Case("odd ethertype", from_host, packet, chance.choice((IPV4, IPV6, b"\x08\x06", b"\x88\x64")))

    def _noise(self, from_host: bool) -> Case:
        chance = self._chance
        data = chance.randbytes(chance.randrange(20, 200))
        if chance.random() < 0.7:
            data = (b"\x45" if from_host else b"\x60") + data[1:]
        if not from_host and chance.random() < 0.7:
            data = data[:24] + self._own_v6 + data[40:]
        return self._case("noise", from_host, data)


def with_header_checksum(packet: bytes) -> bytes:
    """An IPv4 packet whose header has the right checksum, as far as its length makes sense."""
    size = max(20, (packet[0] & 15) * 4)
    field = checksum(packet[:10] + b"\0\0" + packet[12:size])
    return packet[:10] + field.to_bytes(2, "big") + packet[12:]


def random_clat(chance: random.Random) -> Clat:
    """Any CLAT that can be; now and then one whose address is within the prefix, or that the vectors are made for."""
    if chance.random() < 0.2:
        return replace(VECTORS_CLAT, ipv6_mtu_bytes=chance.choice((1280, 1500)))
    length = chance.choice(nat64.LENGTHS)
    prefix = nat64.WELL_KNOWN
    if length != 96 or chance.random() < 0.4:
        packed = bytearray(b"\x20" + chance.randbytes(15))
        packed[8] = 0
        prefix = IPv6Network((bytes(packed), length), strict=False)
    clat_v6 = bytearray(b"\x20" + chance.randbytes(15))
    if (dice := chance.random()) < 0.1:
        size = length // 8
        clat_v6[:size] = prefix.network_address.packed[:size]
        clat_v6[8] = 0
    elif dice < 0.2:
        clat_v6[:] = nat64.embedder(prefix)(b"\x08" + chance.randbytes(3))
    own = chance.choice((IPv4Address("192.0.0.2"), IPv4Address("192.0.0.7"), IPv4Address("203.0.113.7")))
    mtu = chance.choice((1280, 1281, 1300, 1480, 1500, 2000, 3300, 9000, 65535))
    return Clat(
        clat_v4=own,
        clat_v6=IPv6Address(bytes(clat_v6)),
        prefix=prefix,
        ipv6_mtu_bytes=mtu,
        ipv4_mtu_bytes=chance.choice((mtu, min(mtu, 1260), max(68, mtu - 28), 576)),
        well_known_strict=chance.random() < 0.7,
        mappings=random_mappings(chance) if chance.random() < 0.4 else None,
        gateway=IPv6Address("fe80::1") if chance.random() < 0.5 else None,
    )


def random_mappings(chance: random.Random) -> EamTable:
    """A few prefixes of any length, some within others on one side or on both (RFC 7757 3.2)."""
    table = EamTable()
    for _ in range(chance.randrange(1, 12)):
        v4 = IPv4Network((chance.randbytes(4), chance.choice((0, 8, 16, 24, 28, 31, 32, 32))), strict=False)
        v6 = IPv6Network((b"\x20" + chance.randbytes(15), chance.randrange(97 + v4.prefixlen)), strict=False)
        if table and chance.random() < 0.5:
            outer4, outer6 = chance.choice(list(table))
            if chance.random() < 0.8:
                v4 = IPv4Network(
                    (_within(chance, outer4), min(32, outer4.prefixlen + chance.randrange(9))), strict=False
                )
            if chance.random() < 0.8:
                longest = 96 + v4.prefixlen
                inner = min(longest, outer6.prefixlen + chance.randrange(60))
                v6 = IPv6Network((_within(chance, outer6), inner), strict=False)
        with contextlib.suppress(ParseError):  # the same one again
            table = EamTable([*table, (v4, v6)])
    return table


def _within(chance: random.Random, network: IPv4Network | IPv6Network) -> int:
    return int(network.network_address) + chance.randrange(network.num_addresses)


def _sum(data: bytes) -> int:
    return int.from_bytes(data, "big") % 0xFFFF
