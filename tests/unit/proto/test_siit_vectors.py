# SPDX-License-Identifier: GPL-2.0-or-later
"""Every vector of tests/vectors through the translator, and the simple ones through the in-place path."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.inplace import DECLINED, InPlace
from clatnm.proto.siit import Siit, SiitConfig
from tests.unit.proto import siit_packets as pk
from tests.vectors import build
from tests.vectors.vector import FILE, FIRST_IDENT, Vector, load

VECTORS = [pytest.param(vector, id=f"rfc{vector.rfc}-{vector.name}") for vector in load()]


def make_siit(vector: Vector) -> Siit:
    config = vector.config
    return Siit(
        SiitConfig(
            prefix=None if config.prefix is None else IPv6Network(config.prefix),
            eam=EamTable([host_pair(IPv4Address(config.clat_v4), IPv6Address(config.clat_v6))]),
            ipv6_mtu_bytes=config.ipv6_mtu_bytes,
            ipv4_mtu_bytes=config.ipv4_mtu_bytes,
            well_known_strict=config.well_known_strict,
        ),
        first_ident=FIRST_IDENT,
    )


def make_inplace(vector: Vector) -> InPlace | None:
    config = vector.config
    if config.prefix is None:
        return None
    return InPlace(
        IPv4Address(config.clat_v4),
        IPv6Address(config.clat_v6),
        IPv6Network(config.prefix),
        ipv6_mtu_bytes=config.ipv6_mtu_bytes,
        ipv4_mtu_bytes=config.ipv4_mtu_bytes,
        well_known_strict=config.well_known_strict,
        first_ident=FIRST_IDENT,
    )


def test_file_is_what_the_cases_make() -> None:
    assert FILE.read_text() == build.text(), "run: python -m tests.vectors"


def test_names_are_unique() -> None:
    names = [vector.name for vector in load()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("vector", VECTORS)
def test_translates_as_the_vector_says(vector: Vector) -> None:
    siit = make_siit(vector)
    translate = siit.from_ipv4 if vector.direction == "4to6" else siit.from_ipv6
    outcomes = [translate(packet, 0.0) for packet in vector.given]
    drops = tuple(str(outcome.drop) for outcome in outcomes if outcome.drop is not None)
    assert drops == vector.drop
    assert [packet.hex() for outcome in outcomes for packet in outcome.forward] == [p.hex() for p in vector.forward]
    assert [packet.hex() for outcome in outcomes for packet in outcome.reply] == [p.hex() for p in vector.reply]


@pytest.mark.parametrize("vector", VECTORS)
def test_in_place_takes_the_simple_ones_alone(vector: Vector) -> None:
    fast = make_inplace(vector)
    if fast is None:
        assert not vector.simple
        return
    for packet in vector.given:
        buf = bytearray(bytes(20) + packet)
        before = bytes(buf)
        translate = fast.to_ipv6 if vector.direction == "4to6" else fast.to_ipv4
        start = translate(buf, 20, len(buf), False)
        if vector.simple:
            assert bytes(buf[start:]) == vector.forward[0]
        else:
            assert start == DECLINED
            assert buf == before


# A wrong checksum, none, and one that does not span the whole payload
UNSUMMED = ("4to6-wrong-stays-wrong", "6to4-udp-zero-checksum", "4to6-udp-zero-checksum-trailing-data")


@pytest.mark.parametrize("vector", [param for param in VECTORS if not str(param.id).endswith(UNSUMMED)])
def test_vector_itself_is_sound(vector: Vector) -> None:
    """What a vector expects has right lengths and checksums, by a sum of its own."""
    for packet in vector.forward + vector.reply:
        pk.check(packet)
