# SPDX-License-Identifier: GPL-2.0-or-later
"""What the translator keeps between packets: its limits, its identifications, its fragments, its configuration."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from clatnm.errors import ParseError
from clatnm.proto import nat64
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.fragments import TIMEOUT_S
from clatnm.proto.icmp_answers import TokenBucket
from clatnm.proto.siit import DropReason, Outcome, Siit, SiitConfig
from tests.unit.proto import siit_packets as pk

CONFIG = SiitConfig(
    prefix=nat64.WELL_KNOWN,
    eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)]),
    ipv6_mtu_bytes=1500,
    ipv4_mtu_bytes=1500,
)
FROM_HOST = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP))
FROM_NET = pk.summed(pk.ipv6(pk.udp(b"x"), pk.UDP))
EXPIRED = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, ttl=1))
EXPIRED_V6 = pk.summed(pk.ipv6(pk.udp(b"x"), pk.UDP, hop_limit=1))


def test_errors_are_limited_per_side() -> None:
    """RFC 4443 2.4 f, RFC 1812 4.3.2.8."""
    siit = Siit(replace(CONFIG, icmp_errors_per_second=10, icmp_error_burst=5))
    replies = [len(siit.from_ipv4(EXPIRED, 100.0).reply) for _ in range(20)]
    assert replies == [1] * 5 + [0] * 15
    assert siit.from_ipv4(EXPIRED, 100.0).drop is DropReason.HOP_LIMIT
    assert len(siit.from_ipv6(EXPIRED_V6, 100.0).reply) == 1  # the other side has its own
    assert sum(len(siit.from_ipv4(EXPIRED, 100.2).reply) for _ in range(20)) == 2
    assert sum(len(siit.from_ipv4(EXPIRED, 1000.0).reply) for _ in range(20)) == 5


def test_errors_can_be_turned_off() -> None:
    siit = Siit(replace(CONFIG, icmp_errors_per_second=0))
    assert siit.from_ipv4(EXPIRED, 0.0) == Outcome(drop=DropReason.HOP_LIMIT)
    assert siit.from_ipv6(EXPIRED_V6, 1e6) == Outcome(drop=DropReason.HOP_LIMIT)


def test_bucket_survives_a_clock_going_back() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert bucket.take(51.0)


def test_identifications_count_up_and_wrap() -> None:
    siit = Siit(CONFIG, first_ident=0xFFFF)
    idents = [siit.from_ipv6(FROM_NET, 0.0).forward[0][4:6] for _ in range(3)]
    assert idents == [b"\xff\xff", b"\0\0", b"\0\1"]


def test_pieces_of_a_packet_share_an_identification() -> None:
    """RFC 7915 5.1.1."""
    siit = Siit(replace(CONFIG, ipv4_mtu_bytes=600), first_ident=9)
    made = siit.from_ipv6(pk.summed(pk.ipv6(pk.udp(bytes(1200)), pk.UDP)), 0.0).forward
    assert [packet[4:6] for packet in made] == [b"\0\x09"] * 3
    assert siit.from_ipv6(FROM_NET, 0.0).forward[0][4:6] == b"\0\x0a"


def test_takes_views_of_buffers() -> None:
    siit = Siit(CONFIG)
    buf = bytearray(b"junk" + FROM_HOST)
    assert siit.from_ipv4(memoryview(buf)[4:], 0.0) == Siit(CONFIG).from_ipv4(FROM_HOST, 0.0)
    assert siit.from_ipv6(memoryview(bytearray(FROM_NET)), 0.0).forward


def test_fragments_wait_and_expire() -> None:
    siit = Siit(CONFIG)
    assert siit.next_deadline() is None
    first = pk.ipv4(bytes(16), pk.ICMP, mf=True, ident=1)
    assert siit.from_ipv4(first, 5.0) == Outcome()
    assert siit.next_deadline() == 5.0 + TIMEOUT_S
    assert siit.expire(5.0 + TIMEOUT_S) == 1
    assert siit.next_deadline() is None


def test_other_fragments_do_not_wait() -> None:
    siit = Siit(CONFIG)
    assert siit.from_ipv4(pk.ipv4(bytes(16), 47, mf=True), 0.0).forward
    assert siit.next_deadline() is None


def test_reconfigure_changes_the_next_packet() -> None:
    siit = Siit(CONFIG)
    before = siit.from_ipv4(FROM_HOST, 0.0).forward[0]
    siit.reconfigure(replace(CONFIG, prefix=IPv6Network("2001:db8:64::/96")))
    after = siit.from_ipv4(FROM_HOST, 0.0).forward[0]
    assert before[24:40] == pk.PEER_V6.packed
    assert after[24:40] == IPv6Address("2001:db8:64::8.8.8.8").packed
    assert siit.from_ipv6(FROM_NET, 0.0).drop is DropReason.SOURCE_UNMAPPED
    siit.reconfigure(replace(CONFIG, prefix=None))
    assert siit.from_ipv4(FROM_HOST, 0.0).drop is DropReason.DESTINATION_UNMAPPED


def test_reconfigure_keeps_waiting_fragments() -> None:
    siit = Siit(CONFIG)
    echo = pk.summed(pk.ipv4(pk.icmp(8, 0, 1, bytes(16)), pk.ICMP))[20:]
    siit.from_ipv4(pk.ipv4(echo[:8], pk.ICMP, mf=True, ident=1), 0.0)
    siit.reconfigure(replace(CONFIG, prefix=IPv6Network("2001:db8:64::/96")))
    (made,) = siit.from_ipv4(pk.ipv4(echo[8:], pk.ICMP, offset=8, ident=1), 0.0).forward
    assert made[24:40] == IPv6Address("2001:db8:64::8.8.8.8").packed
    pk.check(made)


def test_icmp_source_can_be_chosen() -> None:
    siit = Siit(replace(CONFIG, icmp_source=IPv4Address("192.0.0.7")))
    (reply,) = siit.from_ipv4(EXPIRED, 0.0).reply
    assert reply[12:16] == IPv4Address("192.0.0.7").packed


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"ipv6_mtu_bytes": 1279}, id="rfc8200-5"),
        pytest.param({"ipv4_mtu_bytes": 67}, id="rfc791-3.2"),
        pytest.param({"ipv4_mtu_bytes": 65536}, id="rfc791-3.1"),
    ],
)
def test_config_refuses(wrong: dict[str, int]) -> None:
    with pytest.raises(ParseError):
        replace(CONFIG, **wrong)  # type: ignore[arg-type]


def test_illegal_prefix_is_refused() -> None:
    with pytest.raises(ParseError):
        Siit(replace(CONFIG, prefix=IPv6Network("2001:db8::/44")))


def test_edge_relay_serves_several_addresses() -> None:
    """RFC 7756 3: service addresses on hosts; RFC 7757 maps both, and one to the other."""
    pairs = [("198.51.100.1/32", "2001:db8:1::80/128"), ("198.51.100.16/28", "2001:db8:2::/124")]
    eam = EamTable((IPv4Network(v4), IPv6Network(v6)) for v4, v6 in pairs)
    siit = Siit(replace(CONFIG, eam=eam, prefix=IPv6Network("2001:db8:46::/96")))
    for v4, v6 in (("198.51.100.1", "2001:db8:1::80"), ("198.51.100.20", "2001:db8:2::4")):
        six = pk.summed(pk.ipv6(pk.tcp(), pk.TCP, source="2001:db8:46::203.0.113.5", destination=v6))
        (four,) = siit.from_ipv6(six, 0.0).forward
        assert (four[12:16], four[16:20]) == (IPv4Address("203.0.113.5").packed, IPv4Address(v4).packed)
        pk.check(four)
        back = pk.summed(pk.ipv4(pk.tcp(), pk.TCP, source=v4, destination="203.0.113.5"))
        (six,) = siit.from_ipv4(back, 0.0).forward
        assert (six[8:24], six[24:40]) == (IPv6Address(v6).packed, IPv6Address("2001:db8:46::203.0.113.5").packed)
        pk.check(six)
    neighbour = pk.summed(pk.ipv4(pk.tcp(), pk.TCP, source="198.51.100.1", destination="198.51.100.20"))
    (six,) = siit.from_ipv4(neighbour, 0.0).forward
    assert six[24:40] == IPv6Address("2001:db8:2::4").packed
    assert siit.from_ipv6(six, 0.0).forward


def test_every_type_and_code_has_one_fate() -> None:
    """RFC 7915 4.2, 5.2: a message of our own checksum is translated or refused for its type, never anything else."""
    siit = Siit(replace(CONFIG, icmp_errors_per_second=0))
    fates = {DropReason.ICMP_TYPE, None}
    quoted_v4 = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source=pk.PEER_V4, destination=pk.CLAT_V4))
    quoted_v6 = pk.summed(pk.ipv6(pk.udp(b"x"), pk.UDP, source=pk.CLAT_V6, destination=pk.PEER_V6))
    passed = {4: set(), 6: set()}  # type: dict[int, set[int]]
    for kind in range(256):
        for code in (0, 1, 2, 3, 4, 15, 16, 255):
            four = siit.from_ipv4(pk.summed(pk.ipv4(pk.icmp(kind, code, 0, quoted_v4), pk.ICMP)), 0.0)
            six = siit.from_ipv6(pk.summed(pk.ipv6(pk.icmp(kind, code, 0, quoted_v6), pk.ICMPV6)), 0.0)
            for family, outcome in ((4, four), (6, six)):
                assert outcome.drop in fates
                for packet in outcome.forward:
                    pk.check(packet)
                    passed[family].add(kind)
    assert passed == {4: {0, 3, 8, 11, 12}, 6: {1, 2, 3, 4, 128, 129}}


@pytest.mark.parametrize(("piece", "largest"), [(1472 - 24, 1500), (1232, 1280), (552, 1280)])
def test_joined_ping_leaves_in_pieces_no_larger_than_it_came_in(piece: int, largest: int) -> None:
    """The host may have learnt that the path takes no more; 1280 any path takes (RFC 8200 5)."""
    siit = Siit(CONFIG)
    whole = pk.summed(pk.ipv4(pk.icmp(8, body=bytes(4000)), pk.ICMP))[20:]
    sent: tuple[bytes, ...] = ()
    for start in range(0, len(whole), piece):
        part = whole[start : start + piece]
        more = start + piece < len(whole)
        sent = siit.from_ipv4(pk.ipv4(part, pk.ICMP, offset=start, mf=more, ident=7), 0.0).forward
    assert len(sent) > 1
    assert max(map(len, sent)) <= largest
    assert sum(len(packet) - 48 for packet in sent) == len(whole)
