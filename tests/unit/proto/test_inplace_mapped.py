# SPDX-License-Identifier: GPL-2.0-or-later
"""Many local addresses: whatever the in-place path takes equals the full translator, and it takes the simple ones."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto import inplace
from clatnm.proto.eam import EamTable
from clatnm.proto.inplace import DECLINED, InPlace
from clatnm.proto.siit import Siit, SiitConfig
from tests.unit.proto import siit_packets as pk

PREFIX = IPv6Network("2001:db8:46::/96")
# One lies within another one, and one within that; two leave bits of IPv6 over, which do not count.
TABLE = EamTable(
    (IPv4Network(v4), IPv6Network(v6))
    for v4, v6 in (
        ("192.0.2.0/24", "2001:db8:1::/120"),
        ("192.0.2.16/28", "2001:db8:2::/64"),
        ("192.0.2.17/32", "2001:db8:3::17/128"),
        ("198.51.100.0/24", "2001:db8:4:4::/62"),
    )
)
CONFIG = SiitConfig(prefix=PREFIX, eam=TABLE, ipv6_mtu_bytes=1500, ipv4_mtu_bytes=1500)
HEADROOM = inplace.HEADROOM_BYTES
HOSTS4 = st.sampled_from(
    [
        "192.0.2.1",
        "192.0.2.16",
        "192.0.2.17",
        "192.0.2.31",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.9",
        "127.0.0.1",
    ]
).map(IPv4Address)
HOSTS6 = st.sampled_from(
    [
        *(
            "2001:db8:1::1",
            "2001:db8:1::11",
            "2001:db8:2::",
            "2001:db8:2:0:1fff::",
            "2001:db8:3::17",
            "2001:db8:4:7::9",
        ),
        *(
            "2001:db8:46::203.0.113.9",
            "2001:db8:46::192.0.2.1",
            "2001:db8:46::",
            "2001:db8:9::1",
            "::",
            "2001:db8:1::1:1",
        ),
    ]
).map(IPv6Address)


def fast() -> InPlace:
    return InPlace(
        IPv4Address("192.0.0.8"),
        IPv6Address("2001:db8:1::c1a7"),
        PREFIX,
        ipv6_mtu_bytes=1500,
        ipv4_mtu_bytes=1500,
        mappings=TABLE,
    )


def run(packet: bytes, *, from_v4: bool, by: InPlace | None = None) -> bytes | None:
    translate = getattr(by or fast(), "to_ipv6" if from_v4 else "to_ipv4")
    buf = bytearray(HEADROOM) + packet
    start = translate(buf, HEADROOM, len(buf), False)
    return None if start == DECLINED else bytes(buf[start:])


def full(packet: bytes, *, from_v4: bool) -> bytes | None:
    siit = Siit(CONFIG)
    made = (siit.from_ipv4 if from_v4 else siit.from_ipv6)(packet, 0.0).forward
    return made[0] if made else None


@given(HOSTS4, HOSTS4, st.binary(max_size=40), st.sampled_from([pk.TCP, pk.UDP]))
def test_agrees_with_the_full_translator_from_ipv4(
    source: IPv4Address, destination: IPv4Address, body: bytes, protocol: int
) -> None:
    message = pk.tcp(body) if protocol == pk.TCP else pk.udp(body)
    packet = pk.summed(pk.ipv4(message, protocol, source=source, destination=destination))
    assert run(packet, from_v4=True) == full(packet, from_v4=True)


@given(HOSTS6, HOSTS6, st.binary(max_size=40), st.sampled_from([pk.TCP, pk.UDP]))
def test_agrees_with_the_full_translator_from_ipv6(
    source: IPv6Address, destination: IPv6Address, body: bytes, protocol: int
) -> None:
    message = pk.tcp(body) if protocol == pk.TCP else pk.udp(body)
    packet = pk.summed(pk.ipv6(message, protocol, source=source, destination=destination))
    assert run(packet, from_v4=False) == full(packet, from_v4=False)


def test_more_ends_than_are_remembered_are_translated_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inplace, "MAX_ENDS", 3)
    by = fast()
    for _ in range(2):
        for last in range(1, 9):
            source, destination = IPv4Address(f"192.0.2.{last}"), IPv4Address(f"203.0.113.{last}")
            packet = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source=source, destination=destination))
            made = run(packet, from_v4=True, by=by)
            assert made == full(packet, from_v4=True)
            assert made is not None
            answer = pk.ipv6(pk.udp(b"y"), pk.UDP, source=IPv6Address(made[24:40]), destination=IPv6Address(made[8:24]))
            back = run(pk.summed(answer), from_v4=False, by=by)
            assert back is not None
            assert (back[12:16], back[16:20]) == (destination.packed, source.packed)


def test_what_is_not_mapped_is_left_to_the_full_translator_and_its_answer() -> None:
    stranger = IPv4Address("10.9.9.9")
    packet = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source=stranger, destination=IPv4Address("203.0.113.1")))
    assert run(packet, from_v4=True) is None
    outcome = Siit(replace(CONFIG, icmp_source=IPv4Address("192.0.2.254"))).from_ipv4(packet, 0.0)
    assert outcome.drop == "source-unmapped"
    (answer,) = outcome.reply
    assert (answer[12:16], answer[16:20], answer[20:22]) == (bytes((192, 0, 2, 254)), stranger.packed, b"\3\x0d")
