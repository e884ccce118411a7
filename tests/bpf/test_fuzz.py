# SPDX-License-Identifier: GPL-2.0-or-later
"""Some thousand generated packets through the programs and the translator; `make fuzz` takes a million."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network

import pytest

from clatnm.proto.nat64 import LENGTHS, WELL_KNOWN, embed
from tests.bpf.compare import Comparison, DisagreementError
from tests.bpf.fuzz import accepted, fuzz, table
from tests.bpf.packets import CORNERS, ICMP, TCP, VECTORS_CLAT, Generator
from tests.bpf.programs import Kind, Programs, Result, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

PACKETS = 6000


@pytest.mark.parametrize("seed", [pytest.param(1, id="same-every-time"), pytest.param(None, id="another-every-time")])
def test_programs_and_translator_agree(seed: int | None) -> None:
    """A failure tells the seed: `python -m tests.bpf.fuzz PACKETS SEED` has it again."""
    summary = fuzz(random.SystemRandom().randrange(1 << 32) if seed is None else seed, PACKETS)
    assert summary.total() == PACKETS
    assert accepted(summary) > 0.3, table(summary)
    for direction in ("ipv4 to ipv6", "ipv6 to ipv4"):
        made = {kind for where, kind, done in summary if where == direction and done is Kind.TRANSLATED}
        assert made >= {"good tcp", "good udp", "good icmp", "gso", "result zero", "zeros", "mutated"}, table(summary)


PREFIXES = [IPv6Network((0x20010DB8 << 96, length)) for length in LENGTHS]


@pytest.mark.parametrize("prefix", [WELL_KNOWN, *PREFIXES], ids=str)
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
def test_every_corner_address_has_the_same_fate(prefix: IPv6Network, strict: bool) -> None:
    """RFC 6052 3.1, RFC 1812 5.3.7: first and last of each range that has no hosts, and their neighbours."""
    clat = replace(VECTORS_CLAT, prefix=prefix, well_known_strict=strict)
    generator = Generator(random.Random(1), clat)
    comparison = Comparison(clat)
    fates: list[Kind] = []
    try:
        for address in (*CORNERS, clat.clat_v4.packed):
            for protocol in (TCP, ICMP):
                there = comparison.from_host(generator.packet(True, protocol, peer=address, size=100))
                back = comparison.from_network(generator.packet(False, protocol, peer=address, size=120))
                assert there is back, IPv4Address(address)
                fates.append(there)
    finally:
        comparison.close()
    assert set(fates) == {Kind.TRANSLATED, Kind.TO_PROCESS}


@pytest.mark.parametrize("prefix", [WELL_KNOWN, *PREFIXES], ids=str)
def test_nothing_goes_from_the_clat_to_itself(prefix: IPv6Network) -> None:
    """RFC 7915 6 with a CLAT address that is itself an embedded one: such a packet would go round for ever."""
    peer = IPv4Address("8.8.8.8").packed
    clat = replace(VECTORS_CLAT, prefix=prefix, clat_v6=embed(prefix, IPv4Address(peer)))
    generator = Generator(random.Random(1), clat)
    comparison = Comparison(clat)
    try:
        assert comparison.from_host(generator.packet(True, TCP, peer=peer, size=100)) is Kind.TO_PROCESS
        assert comparison.from_network(generator.packet(False, TCP, peer=peer, size=120)) is Kind.TO_PROCESS
        other = IPv4Address("8.8.4.4").packed
        assert comparison.from_host(generator.packet(True, TCP, peer=other, size=100)) is Kind.TRANSLATED
        assert comparison.from_network(generator.packet(False, TCP, peer=other, size=120)) is Kind.TRANSLATED
    finally:
        comparison.close()


def broken(packet: bytes) -> Result:
    return Result(Kind.TRANSLATED, packet[:-1] + bytes([packet[-1] ^ 1]))


@pytest.mark.parametrize("method", ["from_host", "from_network"])
@pytest.mark.parametrize("wrong", ["a bit", "declined", "not ours"])
def test_comparison_notices(method: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself, with programs that get it wrong."""
    right = getattr(Programs, method)

    def mistaken(self: Programs, packet: bytes, **how: object) -> Result:
        result: Result = right(self, packet, **how)
        assert result.kind is Kind.TRANSLATED
        return broken(result.packet) if wrong == "a bit" else Result(Kind(wrong.replace("declined", "to the process")))

    monkeypatch.setattr(Programs, method, mistaken)
    comparison = Comparison(VECTORS_CLAT)
    try:
        packet = Generator(random.Random(1), VECTORS_CLAT).packet(method == "from_host", TCP, size=100)
        with pytest.raises(DisagreementError, match="programs"):
            getattr(comparison, method)(packet)
    finally:
        comparison.close()
