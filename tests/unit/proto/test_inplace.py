# SPDX-License-Identifier: GPL-2.0-or-later
"""The in-place fast path: what it makes of what it accepts, and that what it declines stays untouched."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto import inplace, nat64
from clatnm.proto.inplace import DECLINED, InPlace
from tests.unit.proto import siit_packets as pk

HEAD = 64
PREFIXES = [nat64.WELL_KNOWN, IPv6Network("2001:db8:64::/96"), IPv6Network("2001:db8:64::/48")]


def make(prefix: IPv6Network = nat64.WELL_KNOWN, mtu: int = 1500, ident: int = 7, strict: bool = True) -> InPlace:
    return InPlace(
        pk.CLAT_V4,
        pk.CLAT_V6,
        prefix,
        ipv6_mtu_bytes=mtu,
        ipv4_mtu_bytes=mtu,
        well_known_strict=strict,
        first_ident=ident,
    )


def run(fast: InPlace, packet: bytes, *, partial: bool = False, gso_size: int = 0) -> bytes | None:
    """The translated packet, or None when declined; checks that nothing around it changes."""
    buf = bytearray(b"\xa5" * HEAD + packet + b"\x5a" * 8)
    before, end = bytes(buf), HEAD + len(packet)
    to_v6 = packet[:1] != b"" and packet[0] >> 4 == 4
    start = (fast.to_ipv6 if to_v6 else fast.to_ipv4)(buf, HEAD, end, partial, gso_size)
    if start == DECLINED:
        assert buf == before
        return None
    assert start == HEAD + (-20 if to_v6 else 20)
    assert buf[: min(start, HEAD)] == before[: min(start, HEAD)]
    assert buf[end:] == before[end:]
    return bytes(buf[start:end])


messages = st.one_of(
    st.builds(lambda body: (pk.TCP, pk.tcp(body)), st.binary(max_size=40)),
    st.builds(lambda body: (pk.UDP, pk.udp(body)), st.binary(max_size=40)),
    st.builds(
        lambda reply, rest, body: (pk.ICMP, pk.icmp(0 if reply else 8, 0, rest, body)),
        st.booleans(),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
    ),
)
global_v4 = st.integers(0x01000000, 0xDFFFFFFF).map(IPv4Address).filter(nat64.is_global)


@given(
    prefix=st.sampled_from(PREFIXES),
    peer=global_v4,
    message=messages,
    fields=st.fixed_dictionaries(
        {
            "tos": st.integers(0, 255),
            "ttl": st.integers(2, 255),
            "df": st.booleans(),
            "ident": st.integers(0, 0xFFFF),
        }
    ),
)
def test_to_ipv6_and_back_keeps_everything_but_two_hops(
    prefix: IPv6Network, peer: IPv4Address, message: tuple[int, bytes], fields: dict[str, int]
) -> None:
    protocol, body = message
    sent = pk.summed(pk.ipv4(body, protocol, destination=peer, **fields))  # type: ignore[arg-type]
    fast = make(prefix)
    six = run(fast, sent)
    assert six is not None
    pk.check(six)
    flow, _, _, hop_limit = struct.unpack_from("!IHBB", six)
    assert (flow, hop_limit) == (0x60000000 | fields["tos"] << 20, fields["ttl"] - 1)
    assert six[8:40] == pk.CLAT_V6.packed + nat64.embed(prefix, peer).packed

    echoed = pk.summed(six[:7] + b"\xff" + six[24:40] + six[8:24] + six[40:])
    four = run(fast, echoed)
    assert four is not None
    pk.check(four)
    assert (four[1], four[6:8], four[8]) == (fields["tos"], b"\0\0", 254)
    assert four[12:20] == peer.packed + pk.CLAT_V4.packed
    changed = {pk.TCP: slice(16, 18), pk.UDP: slice(6, 8), pk.ICMP: slice(2, 4)}[protocol]
    received = bytearray(four[20:])
    received[changed] = body[changed]
    assert received == body


@given(message=messages.filter(lambda m: m[0] != pk.ICMP), peer=global_v4, word=st.integers(0, 0xFFFF))
def test_partial_checksum_becomes_the_other_pseudo_header(
    message: tuple[int, bytes], peer: IPv4Address, word: int
) -> None:
    protocol, body = message
    at = pk.CHECKSUM_AT[protocol]
    four = pk.ipv4(body, protocol, destination=peer)
    pseudo = pk.plain_sum(four[12:20] + struct.pack("!HH", protocol, len(body)))
    partial = four[: 20 + at] + struct.pack("!H", pseudo) + four[22 + at :]
    six = run(make(), partial, partial=True)
    assert six is not None
    # Finishing a partial checksum is summing over the message with the field as it is.
    (finished,) = struct.unpack("!H", struct.pack("!H", 0xFFFF - pk.plain_sum(six[40:])))
    whole = six[: 40 + at] + struct.pack("!H", finished or 0xFFFF) + six[42 + at :]
    pk.check(whole)


def test_partial_checksum_to_ipv4() -> None:
    six = pk.ipv6(pk.udp(b"x"), pk.UDP)
    pseudo = pk.plain_sum(six[8:40] + struct.pack("!II", 9, pk.UDP))
    four = run(make(), six[:46] + struct.pack("!H", pseudo) + six[48:], partial=True)
    assert four is not None
    assert (
        struct.unpack_from("!H", four, 26)[0] % 0xFFFF == pk.plain_sum(four[12:20] + struct.pack("!HH", 17, 9)) % 0xFFFF
    )


def test_partial_zero_udp_field_is_no_missing_checksum() -> None:
    assert run(make(), pk.ipv4(pk.udp(b"x", field=0), pk.UDP), partial=True) is not None


def good_v4(**over: object) -> bytes:
    return pk.summed(pk.ipv4(pk.tcp(b"data"), pk.TCP, **over))  # type: ignore[arg-type]


def good_v6(**over: object) -> bytes:
    return pk.summed(pk.ipv6(pk.tcp(b"data"), pk.TCP, **over))  # type: ignore[arg-type]


def edit(packet: bytes, at: int, value: bytes) -> bytes:
    return packet[:at] + value + packet[at + len(value) :]


DECLINES = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\x45", id="one-byte"),
    pytest.param(good_v4()[:27], id="short"),
    pytest.param(good_v4() + b"\0", id="padding"),
    pytest.param(good_v4()[:-1], id="truncated"),
    pytest.param(edit(good_v4(), 10, b"\0\0"), id="rfc1812-5.2.2-header-checksum"),
    pytest.param(good_v4(ttl=1), id="rfc7915-4.1-ttl-1"),
    pytest.param(good_v4(ttl=0), id="rfc7915-4.1-ttl-0"),
    pytest.param(good_v4(options=b"\x83\x03\x04\x00"), id="rfc7915-4.1-source-route"),
    pytest.param(good_v4(options=b"\x01\x01\x01\x00"), id="rfc7915-4.1-options"),
    pytest.param(good_v4(mf=True), id="first-fragment"),
    pytest.param(good_v4(offset=8), id="last-fragment"),
    pytest.param(good_v4(source="192.0.0.3"), id="source-not-clat"),
    pytest.param(good_v4(destination="10.0.0.1"), id="rfc6052-3.1-private"),
    pytest.param(good_v4(destination="224.0.0.1"), id="multicast"),
    pytest.param(good_v4(destination="255.255.255.255"), id="broadcast"),
    pytest.param(good_v4(destination="127.0.0.1"), id="loopback"),
    pytest.param(good_v4(destination="169.254.1.1"), id="link-local"),
    pytest.param(good_v4(destination="0.0.0.0"), id="unspecified"),
    pytest.param(good_v4(destination=pk.CLAT_V4), id="own-address"),
    pytest.param(pk.ipv4(pk.udp(b"x"), pk.UDP), id="rfc7915-4.5-udp-checksum-zero"),
    pytest.param(pk.ipv4(bytes(20), 47), id="gre"),
    pytest.param(pk.ipv4(bytes(19), pk.TCP), id="tcp-too-short"),
    pytest.param(pk.summed(pk.ipv4(pk.icmp(3, 3, 0, bytes(28)), pk.ICMP)), id="icmp-error"),
    pytest.param(pk.summed(pk.ipv4(pk.icmp(13), pk.ICMP)), id="icmp-timestamp"),
    pytest.param(pk.summed(pk.ipv4(pk.udp(bytes(1453)), pk.UDP)), id="rfc7915-4.1-too-big"),
    pytest.param(b"\x60" + bytes(46), id="v6-short"),
    pytest.param(good_v6() + b"\0", id="v6-padding"),
    pytest.param(good_v6()[:-1], id="v6-truncated"),
    pytest.param(edit(good_v6(), 0, b"\x50"), id="v6-version"),
    pytest.param(good_v6(hop_limit=1), id="rfc7915-5.1-hop-limit-1"),
    pytest.param(good_v6(hop_limit=0), id="rfc7915-5.1-hop-limit-0"),
    pytest.param(good_v6(destination="2001:db8:1::1"), id="v6-not-ours"),
    pytest.param(good_v6(source="2001:db8::1"), id="v6-source-outside-prefix"),
    pytest.param(good_v6(source="64:ff9b::10.0.0.1"), id="rfc6052-3.1-v6-private"),
    pytest.param(good_v6(source="64:ff9b::127.0.0.1"), id="v6-loopback-inside"),
    pytest.param(good_v6(source="64:ff9b::192.0.0.2"), id="v6-own-address-inside"),
    pytest.param(good_v6(source=pk.CLAT_V6), id="v6-own-source"),
    pytest.param(pk.ipv6(pk.udp(b"x"), pk.UDP), id="rfc8200-8.1-udp-checksum-zero"),
    pytest.param(pk.ipv6(pk.fragment_header(pk.TCP) + pk.tcp(), 44), id="v6-fragment"),
    pytest.param(pk.ipv6(bytes(8) + pk.tcp(), 0), id="v6-hop-by-hop"),
    pytest.param(pk.ipv6(pk.icmp(135, 0, 0, bytes(16)), pk.ICMPV6), id="neighbour-solicitation"),
    pytest.param(pk.summed(pk.ipv6(pk.icmp(2, 0, 1280, bytes(48)), pk.ICMPV6)), id="packet-too-big"),
    pytest.param(pk.summed(pk.ipv6(pk.udp(bytes(1473)), pk.UDP)), id="v6-too-big"),
]


@pytest.mark.parametrize("packet", DECLINES)
def test_declines_untouched(packet: bytes) -> None:
    assert run(make(), packet) is None


@pytest.mark.parametrize("packet", [good_v4(), good_v6()], ids=["ipv4", "ipv6"])
def test_accepts_what_the_declined_were_made_from(packet: bytes) -> None:
    assert run(make(), packet) is not None


def test_declines_without_headroom() -> None:
    packet = bytearray(bytes(19) + good_v4())
    assert make().to_ipv6(packet, 19, len(packet), False) == DECLINED


def test_declines_partial_icmp() -> None:
    assert run(make(), pk.summed(pk.ipv4(pk.icmp(8), pk.ICMP)), partial=True) is None
    assert run(make(), pk.summed(pk.ipv6(pk.icmp(128), pk.ICMPV6)), partial=True) is None


def test_private_destination_passes_when_not_strict() -> None:
    assert run(make(strict=False), good_v4(destination="10.0.0.1")) is not None
    assert run(make(strict=False), good_v6(source="64:ff9b::10.0.0.1")) is not None
    assert run(make(IPv6Network("64:ff9b:1::/48")), good_v4(destination="10.0.0.1")) is not None  # RFC 8215


@pytest.mark.parametrize(("size", "flags"), [(1280, b"\0\0"), (1281, b"\x40\0")], ids=["1280", "1281"])
def test_df_follows_size(size: int, flags: bytes) -> None:
    """RFC 7915 5.1: DF is clear up to 1260 bytes of IPv4, with an identification of its own."""
    fast = make(ident=0xFFFF)
    packet = pk.summed(pk.ipv6(pk.udp(bytes(size - 48)), pk.UDP))
    first, second = run(fast, packet), run(fast, packet)
    assert first is not None
    assert second is not None
    assert first[6:8] == flags
    assert (first[4:6], second[4:6]) == ((b"\xff\xff", b"\0\0") if flags == b"\0\0" else (b"\0\0", b"\0\0"))


def gso(total: int, *, v6: bool, protocol: int = pk.TCP) -> bytes:
    body = pk.tcp(bytes(total - 20)) if protocol == pk.TCP else pk.udp(bytes(total - 8))
    return pk.ipv6(body, protocol) if v6 else pk.ipv4(body, protocol, df=True)


@pytest.mark.parametrize("protocol", [pk.TCP, pk.UDP], ids=["tcp", "udp"])
def test_gso_packet_is_bound_by_its_segments(protocol: int) -> None:
    """40 + 20 (or 8) + gso_size is what leaves the uplink."""
    fits = 1500 - 40 - (20 if protocol == pk.TCP else 8)
    packet = gso(60000, v6=False, protocol=protocol)
    assert run(make(), packet, partial=True, gso_size=fits) is not None
    assert run(make(), packet, partial=True, gso_size=fits + 1) is None
    assert run(make(), packet, partial=True, gso_size=0) is None
    assert run(make(), packet, partial=False, gso_size=fits) is None


def test_gso_packet_to_ipv4_takes_df_from_its_segments() -> None:
    fast = make(ident=100)
    small = run(fast, gso(12000, v6=True), partial=True, gso_size=1220)
    large = run(fast, gso(12000, v6=True), partial=True, gso_size=1221)
    after = run(fast, good_v6())
    assert small is not None
    assert large is not None
    assert after is not None
    assert (small[4:8], large[4:8]) == (b"\0\x64\0\0", b"\0\0\x40\0")
    assert struct.unpack_from("!H", after, 4)[0] >= 100 + 12000 // 1220 + 1  # the segments have numbers of their own


def test_largest_packets_meet_the_limit_of_ipv4() -> None:
    assert run(make(), gso(65515, v6=False), partial=True, gso_size=1400) is not None
    assert run(make(), gso(65515, v6=True), partial=True, gso_size=1400) is not None
    assert run(make(), gso(65516, v6=True), partial=True, gso_size=1400) is None


def test_remembers_a_bounded_number_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inplace, "MAX_PEERS", 4)
    fast = make()
    for last in (*range(1, 20), *range(1, 20)):
        four, six = IPv4Address(f"8.8.8.{last}"), IPv6Address(f"64:ff9b::8.8.8.{last}")
        there = run(fast, good_v4(destination=four))
        back = run(fast, good_v6(source=six))
        assert there is not None
        assert back is not None
        assert (there[24:40], back[12:16]) == (six.packed, four.packed)
    for method in (fast.to_ipv6, fast.to_ipv4):
        caches = [
            len(inner.cell_contents)
            for cell in method.__closure__  # type: ignore[attr-defined]
            if callable(cell.cell_contents)
            for inner in cell.cell_contents.__closure__ or ()
            if isinstance(inner.cell_contents, dict)
        ]
        assert caches
        assert all(size <= 4 for size in caches)


@given(st.binary(max_size=120), st.booleans(), st.integers(0, 65535))
def test_never_raises_and_never_touches_noise(data: bytes, partial: bool, gso_size: int) -> None:
    run(make(), data, partial=partial, gso_size=gso_size)


@given(st.sampled_from([good_v4(), good_v6()]), st.integers(0, 59), st.integers(0, 255))
def test_never_raises_on_mutated_packets(packet: bytes, at: int, value: int) -> None:
    out = run(make(), edit(packet, at, bytes([value])))
    if out is not None:
        assert len(out) == len(packet) + (20 if packet[0] >> 4 == 4 else -20)
