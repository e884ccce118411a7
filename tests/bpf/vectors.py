# SPDX-License-Identifier: GPL-2.0-or-later
"""The vectors of tests/vectors as the programs take them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.bpf.programs import IPV4, IPV6, Clat, presentable
from tests.vectors.vector import Config, Vector, load

VECTORS = [vector for vector in load() if vector.config.prefix is not None]


def clat(config: Config, gateway: IPv6Address | None) -> Clat:
    assert config.prefix is not None
    return Clat(
        clat_v4=IPv4Address(config.clat_v4),
        clat_v6=IPv6Address(config.clat_v6),
        prefix=IPv6Network(config.prefix),
        ipv4_mtu_bytes=config.ipv4_mtu_bytes,
        ipv6_mtu_bytes=config.ipv6_mtu_bytes,
        well_known_strict=config.well_known_strict,
        gateway=gateway,
    )


def usable(vector: Vector) -> list[bytes]:
    return [packet for packet in vector.given if presentable(packet, IPV4 if vector.direction == "4to6" else IPV6)]


def without_ident(packet: bytes) -> bytes:
    """See README.md of the vectors: for whoever cannot set where identifications start."""
    return packet if packet[6] & 0x40 else packet[:4] + packet[6:10] + packet[12:]
