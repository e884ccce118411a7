# SPDX-License-Identifier: GPL-2.0-or-later
"""Every vector of tests/vectors through the programs: the simple ones become what they say, no other is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network

import pytest

from tests.bpf.compare import Comparison
from tests.bpf.programs import IPV4, IPV6, Kind, Programs, missing, presentable
from tests.bpf.vectors import VECTORS, clat, usable, without_ident
from tests.vectors.vector import Config, Vector, load

pytestmark = [pytest.mark.root, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

GATEWAYS = [pytest.param(IPv6Address("fe80::1"), id="gateway"), pytest.param(None, id="on-link")]


@pytest.fixture(scope="module")
def programs() -> Iterator[Callable[[Config, IPv6Address | None], Programs]]:
    loaded: dict[tuple[Config, IPv6Address | None], Programs] = {}

    def of(config: Config, gateway: IPv6Address | None) -> Programs:
        if (config, gateway) not in loaded:
            loaded[config, gateway] = Programs(clat(config, gateway))
        return loaded[config, gateway]

    yield of
    for each in loaded.values():
        each.close()


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("vector", [pytest.param(vector, id=f"rfc{vector.rfc}-{vector.name}") for vector in VECTORS])
def test_translates_the_simple_ones_alone(
    vector: Vector, gateway: IPv6Address | None, programs: Callable[[Config, IPv6Address | None], Programs]
) -> None:
    hooks = programs(vector.config, gateway)
    translate = hooks.from_host if vector.direction == "4to6" else hooks.from_network
    results = [translate(packet) for packet in usable(vector)]
    assert [result.kind is Kind.TRANSLATED for result in results] == [vector.simple] * len(results)
    if not vector.simple:
        return
    (result,), (expected,) = results, vector.forward
    if vector.direction == "4to6":
        assert result.packet == expected
    else:
        assert without_ident(result.packet) == without_ident(expected)
        assert not int.from_bytes(result.packet[:20], "big") % 0xFFFF


def test_simple_vectors_are_many_and_of_every_kind() -> None:
    """What the test above would not notice if it went missing."""
    simple = [vector for vector in VECTORS if vector.simple]
    prefixes = {IPv6Network(str(vector.config.prefix)).prefixlen for vector in simple}
    assert prefixes == {32, 40, 48, 56, 64, 96}
    assert {vector.direction for vector in simple} == {"4to6", "6to4"}
    assert {vector.config.well_known_strict for vector in simple} == {True, False}
    assert len({vector.config.ipv6_mtu_bytes for vector in simple}) > 1
    assert not [vector for vector in load() if vector.simple and vector.config.prefix is None]


def test_few_vectors_cannot_be_run() -> None:
    """Packets without a whole network header, and those larger than a page; none of them is simple."""
    left_out = [vector for vector in VECTORS if len(usable(vector)) < len(vector.given)]
    assert not [vector for vector in left_out if vector.simple]
    assert 0 < len(left_out) < len(VECTORS) // 20, [vector.name for vector in left_out]


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("mtu", [1280, 1500, 9000])
def test_all_vectors_agree_under_any_config(length: int, strict: bool, mtu: int) -> None:
    """Whatever the vectors were made for: their packets are good examples for any other CLAT."""
    prefix = IPv6Network("64:ff9b::/96") if length == 96 else IPv6Network((0x20010DB8 << 96, length))
    config = Config(prefix=str(prefix), well_known_strict=strict, ipv6_mtu_bytes=mtu, ipv4_mtu_bytes=mtu - 20)
    comparison = Comparison(clat(config, None))
    try:
        for vector in VECTORS:
            for packet in vector.given:
                if presentable(packet, IPV4):
                    comparison.from_host(packet)
                if presentable(packet, IPV6):
                    comparison.from_network(packet)
    finally:
        comparison.close()
