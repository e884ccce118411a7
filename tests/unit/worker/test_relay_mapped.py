# SPDX-License-Identifier: GPL-2.0-or-later
"""An Edge Relay beside another program that translates: which addresses may be ends of its traffic."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest
from test_relay import Bench
from worker_packets import CLAT_V6, ICMPV6, PEER_V6, UDP, filled, ipv6, udp, verifies

from clatnm.proto.eam import EamTable
from clatnm.worker.relay import PROGRAM_V6
from clatnm.worker.vnet import BLANK


@pytest.fixture
def edge() -> Iterator[Bench]:
    """An Edge Relay's, for two addresses; the other one is nobody's."""
    bench = Bench(mappings=EamTable((IPv4Network(f"192.0.2.{n}"), IPv6Network(f"2001:db8:1::20{n}")) for n in (1, 2)))
    yield bench
    bench.close()


@pytest.mark.parametrize(("own", "mapped"), [("2001:db8:1::202", True), ("2001:db8:1::203", False)])
def test_mapped_addresses_alone_are_ends_of_translated_traffic(edge: Bench, own: str, mapped: bool) -> None:
    here = IPv6Address(own)
    there = ipv6(filled(udp(b"x"), UDP, here, PEER_V6), UDP, source=here, destination=PEER_V6)
    back = ipv6(filled(udp(b"y"), UDP, PEER_V6, here), UDP, destination=here)
    assert edge.made(there) == ([BLANK + edge.front + there] if mapped else [], [])
    assert edge.back(back) == ([BLANK + back] if mapped else [])
    assert edge.counters.to_ipv6.drops == ({} if mapped else {"source-unmapped": 1})
    assert edge.counters.to_ipv4.drops == {}  # heard by chance, and the host's


@pytest.mark.parametrize(("about", "source"), [("2001:db8:1::202", "2001:db8:1::202"), ("2001:db8:9::9", str(CLAT_V6))])
def test_error_of_the_program_goes_out_in_the_name_of_the_address_it_is_about(
    edge: Bench, about: str, source: str
) -> None:
    """RFC 4443 2.2."""
    error = struct.pack("!BBHI", 3, 0, 0, 0) + ipv6(udp(b"x"), UDP, destination=IPv6Address(about))
    packet = ipv6(filled(error, ICMPV6, PROGRAM_V6, PEER_V6), ICMPV6, source=PROGRAM_V6, destination=PEER_V6)
    (frame,), _ = edge.made(packet)
    sent = frame[len(BLANK) + len(edge.front) :]
    assert verifies(sent)
    assert sent[8:24] == IPv6Address(source).packed
