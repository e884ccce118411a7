# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain RFC 7915, without a CLAT: each address by its mapping, else by the prefix, in either direction."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto import nat64
from clatnm.proto.eam import EamTable
from clatnm.proto.siit import DropReason, Siit, SiitConfig
from tests.unit.proto import siit_packets as pk

PREFIX = IPv6Network("2001:db8:64::/96")
EAM = EamTable(
    [
        (IPv4Network("192.0.2.0/28"), IPv6Network("2001:db8:e::/124")),
        (IPv4Network("192.0.2.3/32"), IPv6Network("2001:db8:f::3/128")),
    ]
)
CONFIG = SiitConfig(prefix=PREFIX, eam=EAM, ipv6_mtu_bytes=1280, ipv4_mtu_bytes=0xFFFF, symmetric=True)
WELL_KNOWN = replace(CONFIG, prefix=nat64.WELL_KNOWN)
NO_PREFIX = replace(CONFIG, prefix=None)

# Longest match first, then the prefix (RFC 7757 3.3, RFC 7915 6)
ADDRESSES = [
    pytest.param("192.0.2.5", "2001:db8:e::5", id="rfc7757-3.3-prefix"),
    pytest.param("192.0.2.3", "2001:db8:f::3", id="rfc7757-3.3-longest"),
    pytest.param("192.0.2.16", "2001:db8:64::192.0.2.16", id="rfc6052-outside-the-mapping"),
    pytest.param("10.1.2.3", "2001:db8:64::10.1.2.3", id="rfc6052-private"),
]


@pytest.mark.parametrize(("v4", "v6"), ADDRESSES)
def test_symmetric_address_is_translated_in_every_place(v4: str, v6: str) -> None:
    other_v4, other_v6 = "198.51.100.9", "2001:db8:64::198.51.100.9"
    for sent, expected in (((v4, other_v4), (v6, other_v6)), ((other_v4, v4), (other_v6, v6))):
        four = pk.summed(pk.ipv4(pk.tcp(b"data"), pk.TCP, source=sent[0], destination=sent[1]))
        (six,) = Siit(CONFIG).from_ipv4(four, 0.0).forward
        assert (IPv6Address(six[8:24]), IPv6Address(six[24:40])) == tuple(map(IPv6Address, expected))
        pk.check(six)
        (back,) = Siit(CONFIG).from_ipv6(six, 0.0).forward
        assert (IPv4Address(back[12:16]), IPv4Address(back[16:20])) == tuple(map(IPv4Address, sent))
        pk.check(back)
        assert back[20:] == four[20:]


@pytest.mark.parametrize(
    ("config", "source", "destination", "reason", "answered"),
    [
        pytest.param(CONFIG, "127.0.0.1", "8.8.8.8", "source-illegal", False, id="rfc7915-4.1-loopback"),
        pytest.param(CONFIG, "224.0.0.1", "8.8.8.8", "source-illegal", False, id="rfc7915-4.1-multicast"),
        pytest.param(CONFIG, "8.8.8.8", "224.0.0.1", "destination-multicast", False, id="multicast"),
        pytest.param(CONFIG, "8.8.8.8", "127.0.0.1", "destination-illegal", True, id="loopback"),
        pytest.param(WELL_KNOWN, "10.0.0.1", "8.8.8.8", "not-global", True, id="rfc6052-3.1-source"),
        pytest.param(WELL_KNOWN, "8.8.8.8", "10.0.0.1", "not-global", True, id="rfc6052-3.1-destination"),
        pytest.param(NO_PREFIX, "8.8.8.8", "192.0.2.3", "source-unmapped", True, id="rfc7757-source"),
        pytest.param(NO_PREFIX, "192.0.2.3", "8.8.8.8", "destination-unmapped", True, id="rfc7757-destination"),
    ],
)
def test_symmetric_refuses_ipv4(config: SiitConfig, source: str, destination: str, reason: str, answered: bool) -> None:
    packet = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source=source, destination=destination))
    outcome = Siit(config).from_ipv4(packet, 0.0)
    assert (outcome.forward, outcome.drop, bool(outcome.reply)) == ((), reason, answered)


@pytest.mark.parametrize(
    ("config", "source", "destination", "reason", "answered"),
    [
        pytest.param(CONFIG, "2001:db8::1", "{p}8.8.8.8", "source-unmapped", True, id="rfc7915-5.1-source"),
        pytest.param(CONFIG, "{p}8.8.8.8", "2001:db8::1", "destination-unmapped", False, id="destination"),
        pytest.param(CONFIG, "{p}127.0.0.1", "{p}8.8.8.8", "source-illegal", False, id="source-loopback"),
        pytest.param(CONFIG, "{p}8.8.8.8", "{p}127.0.0.1", "destination-illegal", False, id="loopback"),
        pytest.param(CONFIG, "{p}8.8.8.8", "{p}240.0.0.1", "destination-illegal", False, id="reserved"),
        pytest.param(CONFIG, "{p}8.8.8.8", "{p}224.0.0.1", "destination-multicast", False, id="multicast"),
        pytest.param(CONFIG, "{p}8.8.8.8", "{p}8.8.8.8", "loop", False, id="to-itself"),
        pytest.param(WELL_KNOWN, "64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8", "not-global", False, id="rfc6052-3.1"),
        pytest.param(WELL_KNOWN, "64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1", "not-global", False, id="rfc6052-3.1-to"),
        pytest.param(NO_PREFIX, "2001:db8:e::1", "{p}8.8.8.8", "destination-unmapped", False, id="rfc7757"),
    ],
)
def test_symmetric_refuses_ipv6(config: SiitConfig, source: str, destination: str, reason: str, answered: bool) -> None:
    source, destination = (text.format(p="2001:db8:64::") for text in (source, destination))
    packet = pk.summed(pk.ipv6(pk.udp(b"x"), pk.UDP, source=source, destination=destination))
    outcome = Siit(config).from_ipv6(packet, 0.0)
    assert (outcome.forward, outcome.drop, bool(outcome.reply)) == ((), reason, answered)


def test_symmetric_error_quotes_a_packet_between_prefix_addresses() -> None:
    """RFC 7915 4.3: the packet inside goes the other way, by the same mapping."""
    quoted = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source="8.8.8.8", destination="10.0.0.7"))
    error = pk.summed(pk.ipv4(pk.icmp(3, 3, 0, quoted), pk.ICMP, source="10.0.0.7", destination="8.8.8.8"))
    (six,) = Siit(CONFIG).from_ipv4(error, 0.0).forward
    pk.check(six)
    inner = six[48:]
    assert IPv6Address(inner[8:24]) == IPv6Address("2001:db8:64::8.8.8.8")
    assert IPv6Address(inner[24:40]) == IPv6Address("2001:db8:64::10.0.0.7")
    (back,) = Siit(CONFIG).from_ipv6(six, 0.0).forward
    pk.check(back)
    assert back[12:20] + back[28:] == error[12:20] + pk.with_ident(quoted, 0)


def test_symmetric_error_from_untranslatable_routers_is_kept() -> None:
    quoted = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source="8.8.8.8", destination="192.0.2.3"))
    error = pk.summed(pk.ipv4(pk.icmp(11, 0, 0, quoted), pk.ICMP, source="10.9.9.9", destination="8.8.8.8"))
    (six,) = Siit(WELL_KNOWN).from_ipv4(error, 0.0).forward
    assert IPv6Address(six[8:24]) == IPv6Address("2001:db8:f::3")
    quoted = pk.summed(pk.ipv6(pk.udp(b"x"), pk.UDP, source="64:ff9b::8.8.8.8", destination="2001:db8:f::3"))
    error = pk.icmp(3, 0, 0, quoted)
    error = pk.summed(pk.ipv6(error, pk.ICMPV6, source="2001:db8:77::1", destination="64:ff9b::8.8.8.8"))
    (four,) = Siit(replace(WELL_KNOWN, icmp_source=IPv4Address("198.51.100.77"))).from_ipv6(error, 0.0).forward
    assert IPv4Address(four[12:16]) == IPv4Address("198.51.100.77")


v4_hosts = st.ip_addresses(v=4).filter(lambda ip: 0 < int(ip) >> 24 < 224 and int(ip) >> 24 not in (127, 169))


@given(v4_hosts, v4_hosts, st.binary(max_size=40), st.sampled_from(nat64.LENGTHS))
def test_symmetric_there_and_back_again(one: IPv4Address, other: IPv4Address, body: bytes, length: int) -> None:
    prefix = IPv6Network((int(IPv6Address("2001:db8::")) >> 96 << 96, length))
    config = replace(CONFIG, prefix=prefix)
    packet = pk.summed(pk.ipv4(pk.tcp(body), pk.TCP, source=one, destination=other, ttl=9))
    outcome = Siit(config).from_ipv4(packet, 0.0)
    if one == other:
        assert outcome.drop is DropReason.LOOP
        return
    (back,) = Siit(config).from_ipv6(outcome.forward[0], 0.0).forward
    assert back[12:] == packet[12:]
    pk.check(back)
