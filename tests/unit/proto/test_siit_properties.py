# SPDX-License-Identifier: GPL-2.0-or-later
"""Properties of the translator over generated, mutated and random packets."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from clatnm.proto import nat64
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.inplace import DECLINED, InPlace
from clatnm.proto.siit import Outcome, Siit, SiitConfig
from tests.unit.proto import siit_packets as pk
from tests.vectors.vector import load

CONFIG = SiitConfig(
    prefix=nat64.WELL_KNOWN,
    eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6)]),
    ipv6_mtu_bytes=1280,
    ipv4_mtu_bytes=1280,
    icmp_errors_per_second=1e9,
    icmp_error_burst=10**9,
)
# The other end of the path: our peer's IPv4 address is behind it, ours is known to it.
PLAT = replace(CONFIG, eam=EamTable([host_pair(pk.CLAT_V4, pk.CLAT_V6), host_pair(pk.PEER_V4, pk.PEER_V6)]))
CORPUS = [(vector.direction, packet) for vector in load() for packet in vector.given if packet]

bodies = st.binary(max_size=60)
messages = st.one_of(
    st.builds(lambda body: (pk.TCP, pk.tcp(body)), bodies),
    st.builds(lambda body: (pk.UDP, pk.udp(body)), bodies),
    st.builds(lambda body: (pk.UDP_LITE, pk.udp(body)), bodies),
    st.builds(lambda body: (pk.DCCP, bytes(12) + body), bodies),
    st.builds(
        lambda kind, rest, body: (pk.ICMP, pk.icmp(kind, 0, rest, body)),
        st.sampled_from([0, 8]),
        st.integers(0, 2**32 - 1),
        bodies,
    ),
)
opaque = st.tuples(st.sampled_from([4, 41, 47, 50, 51, 59, 89, 132, 253, 255]), bodies)
fields = st.fixed_dictionaries(
    {
        "tos": st.integers(0, 255),
        "ttl": st.integers(3, 255),
        "ident": st.integers(0, 0xFFFF),
        "df": st.booleans(),
        "destination": st.sampled_from(["8.8.8.8", "1.1.1.1", "198.51.100.200"]).map(IPv4Address),
    }
)


def sound(outcome: Outcome, packet: bytes, from_v4: bool) -> None:
    """What any packet whatever may lead to."""
    assert not (outcome.drop and outcome.forward)
    assert outcome.drop or not outcome.reply
    for made in outcome.forward:
        assert len(made) <= 1280
        assert made[0] >> 4 == (6 if from_v4 else 4)
        if from_v4:
            assert struct.unpack_from("!H", made, 4)[0] == len(made) - 40
        else:
            assert struct.unpack_from("!H", made, 2)[0] == len(made)
            assert pk.plain_sum(made[:20]) == 0xFFFF
    for reply in outcome.reply:
        pk.check(reply)
        assert len(reply) <= (576 if from_v4 else 1280)
        assert (reply[16:20], reply[24:40])[not from_v4] == (packet[12:16], packet[8:24])[not from_v4]


def run(siit: Siit, packet: bytes, now: float = 0.0) -> Outcome:
    """By the version the packet claims."""
    from_v4 = packet[:1] != b"" and packet[0] >> 4 == 4
    outcome = (siit.from_ipv4 if from_v4 else siit.from_ipv6)(packet, now)
    sound(outcome, packet, from_v4)
    return outcome


@given(st.lists(st.binary(max_size=200), max_size=5), st.sampled_from([0x45, 0x46, 0x4F, 0x60, None]))
@settings(max_examples=200)
def test_random_bytes_never_raise(packets: list[bytes], first: int | None) -> None:
    siit = Siit(CONFIG)
    for packet in packets:
        data = packet if first is None or not packet else bytes([first]) + packet[1:]
        sound(siit.from_ipv4(data, 0.0), data, True)
        sound(siit.from_ipv6(data, 0.0), data, False)


def mutate(packet: bytes, changes: list[tuple[int, int]], size: int | None) -> bytes:
    data = bytearray(packet if size is None else packet[:size].ljust(size, b"\0"))
    for at, value in changes:
        if data:
            data[at % len(data)] = value
    return bytes(data)


def resummed(packet: bytes) -> bytes:
    """The packet with checksums made right again where that is possible, so that mutations get past them."""
    try:
        if packet[0] >> 4 == 4:
            size = (packet[0] & 15) * 4
            head = packet[:10] + b"\0\0" + packet[12:size]
            packet = head[:10] + struct.pack("!H", 0xFFFF - pk.plain_sum(head)) + head[12:] + packet[size:]
        return pk.summed(packet)
    except (struct.error, IndexError, KeyError):
        return packet


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CORPUS),
            st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=4),
            st.none() | st.integers(0, 120),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=600, deadline=None)
def test_mutated_packets_never_raise_and_paths_agree(
    steps: list[tuple[tuple[str, bytes], list[tuple[int, int]], int | None, bool]],
) -> None:
    siit = Siit(CONFIG)
    for (direction, packet), changes, size, repair in steps:
        data = mutate(packet, changes, size)
        if repair and data:
            data = resummed(data)
        agree(data, direction == "4to6")
        translate = siit.from_ipv4 if direction == "4to6" else siit.from_ipv6
        sound(translate(data, 0.0), data, direction == "4to6")


def agree(packet: bytes, from_v4: bool) -> bool:
    """If the in-place path accepts a packet, it makes what the translator makes. Did it accept?"""
    fast = InPlace(pk.CLAT_V4, pk.CLAT_V6, nat64.WELL_KNOWN, ipv6_mtu_bytes=1280, ipv4_mtu_bytes=1280, first_ident=5)
    buf = bytearray(bytes(20) + packet)
    start = (fast.to_ipv6 if from_v4 else fast.to_ipv4)(buf, 20, len(buf), False)
    if start == DECLINED:
        assert buf[20:] == packet
        return False
    siit = Siit(CONFIG, first_ident=5)
    outcome = (siit.from_ipv4 if from_v4 else siit.from_ipv6)(packet, 0.0)
    assert outcome.forward == (bytes(buf[start:]),)
    return True


@given(messages, fields, st.binary(max_size=30), st.integers(0, 0xFFFFF))
def test_in_place_path_agrees_on_generated_packets(
    message: tuple[int, bytes], fields: dict[str, int], tail: bytes, flow: int
) -> None:
    protocol, body = message
    simple = protocol in (pk.TCP, pk.UDP, pk.ICMP)
    four = pk.summed(pk.ipv4(body, protocol, **fields))  # type: ignore[arg-type]
    assert agree(four, True) is simple
    assert agree(four + tail, True) is (simple and not tail)
    if protocol == pk.ICMP:
        protocol, body = pk.ICMPV6, bytes([128 if body[0] else 129]) + body[1:]
    six = pk.summed(pk.ipv6(body, protocol, hop_limit=fields["ttl"], traffic_class=fields["tos"], flow=flow))
    assert agree(six, False) is simple


def canonical(packet: bytes) -> bytes:
    """An ICMPv4 checksum of 0xffff is 0 in one's complement, and either verifies but for a message of zeros."""
    if packet[9] == pk.ICMP and packet[22:24] == b"\xff\xff":
        return packet[:22] + b"\0\0" + packet[24:]
    return packet


@given(messages | opaque, fields)
def test_there_and_back_again_changes_nothing(message: tuple[int, bytes], fields: dict[str, int]) -> None:
    """CLAT and PLAT in a row: the same IPv4 packet two hops on, but for DF and identification (RFC 7915 5.1)."""
    protocol, body = message
    four = pk.ipv4(body, protocol, **{**fields, "destination": pk.PEER_V4})  # type: ignore[arg-type]
    if protocol in pk.CHECKSUM_AT:
        four = pk.summed(four)
    (six,) = run(Siit(CONFIG), four).forward
    pk.check(six)
    (back,) = run(Siit(PLAT, first_ident=fields["ident"]), six).forward
    pk.check(back)
    assert pk.transport_sum(back) == pk.transport_sum(four)
    assert (back[1], back[4:8], back[8], back[9]) == (four[1], four[4:6] + b"\0\0", four[8] - 2, four[9])
    assert canonical(back)[12:] == canonical(four)[12:]


@given(messages | opaque, fields, st.integers(1, 40), st.data())
def test_fragments_come_out_as_the_whole_would(
    message: tuple[int, bytes], fields: dict[str, int], chunk: int, data: st.DataObject
) -> None:
    """However a datagram is cut, what arrives joins to what it would have been in one piece."""
    protocol, body = message
    body = body.ljust(24, b"\0")
    four = pk.ipv4(body, protocol, **fields)  # type: ignore[arg-type]
    if protocol in pk.CHECKSUM_AT:
        four = pk.summed(four)
    (whole,) = run(Siit(CONFIG), four).forward
    cuts = [0, *range(24, len(body), chunk * 8), len(body)]  # the transport header stays in one piece
    parts = [
        pk.ipv4(four[20 + start : 20 + end], protocol, **{**fields, "offset": start, "mf": end < len(body)})
        for start, end in pairwise(cuts)
        if end > start
    ]
    siit = Siit(CONFIG)
    joined = bytearray(len(whole) - 40)
    for part in data.draw(st.permutations(parts)):
        outcome = run(siit, part)
        assert outcome.drop is None
        for made in outcome.forward:
            _, at, _ = pk.upper(made)
            offset = struct.unpack_from("!H", made, 42)[0] & 0xFFF8 if made[6] == 44 else 0
            joined[offset : offset + len(made) - at] = made[at:]
    assert joined == whole[40:]


@given(st.sampled_from([pk.UDP, pk.TCP, pk.ICMP, 47]), st.integers(1000, 9000), st.integers(1280, 1500))
@settings(max_examples=60)
def test_large_packets_are_cut_to_the_mtu(protocol: int, size: int, mtu: int) -> None:
    body = {pk.UDP: pk.udp(bytes(size)), pk.TCP: pk.tcp(bytes(size)), pk.ICMP: pk.icmp(8, 0, 1, bytes(size))}.get(
        protocol, bytes(size)
    )
    four = pk.ipv4(body, protocol, ident=0xABCD)
    four = pk.summed(four) if protocol in pk.CHECKSUM_AT else four
    made = Siit(replace(CONFIG, ipv6_mtu_bytes=mtu)).from_ipv4(four, 0.0).forward
    (whole,) = Siit(replace(CONFIG, ipv6_mtu_bytes=65535)).from_ipv4(four, 0.0).forward
    if len(whole) <= mtu:
        assert made == (whole,)
        return
    assert all(len(packet) <= mtu and packet[6] == 44 for packet in made)
    assert b"".join(packet[48:] for packet in made) == whole[40:]
    assert [packet[43] & 1 for packet in made] == [1] * (len(made) - 1) + [0]


quoted_v4 = st.builds(
    lambda message, size: pk.ipv4(message[1], message[0], source=pk.PEER_V4, destination=pk.CLAT_V4)[: 20 + size],
    messages | opaque,
    st.integers(0, 80),
)
errors_v4 = st.tuples(st.sampled_from([3, 11, 12]), st.integers(0, 16), st.integers(0, 2**32 - 1))


@given(quoted_v4, errors_v4, st.binary(max_size=60), st.booleans())
@settings(max_examples=300)
def test_errors_translate_to_sound_errors(
    quoted: bytes, error: tuple[int, int, int], extension: bytes, extended: bool
) -> None:
    kind, code, rest = error
    if extended:
        quoted, rest = quoted.ljust(128, b"\0"), rest & 0xFF00FFFF | 32 << 16
    four = pk.summed(pk.ipv4(pk.icmp(kind, code, rest, quoted + extension), pk.ICMP))
    outcome = run(Siit(CONFIG), four)
    for six in outcome.forward:
        pk.check(six)
        inner = six[48:]
        assert inner[0] >> 4 == 6
        assert inner[8:40] == pk.PEER_V6.packed + pk.CLAT_V6.packed
        # and the PLAT makes an error about the same packet of it
        again = run(Siit(PLAT), six)
        for back in again.forward:
            pk.check(back)
            assert back[28:30] == b"\x45\0"
            assert back[40:48] == quoted[12:20]


@given(st.sampled_from(nat64.LENGTHS), st.integers(0x01000000, 0xDFFFFFFF), messages)
def test_all_prefix_lengths_sum_up(length: int, peer: int, message: tuple[int, bytes]) -> None:
    address = IPv4Address(peer)
    if not nat64.is_global(address):
        return
    prefix = IPv6Network((0x20010DB8 << 96, length))
    config = replace(CONFIG, prefix=prefix)
    four = pk.summed(pk.ipv4(message[1], message[0], destination=address))
    (six,) = run(Siit(config), four).forward
    pk.check(six)
    assert six[24:40] == nat64.embed(prefix, address).packed
    protocol, body = message
    if protocol == pk.ICMP:
        protocol, body = pk.ICMPV6, bytes([128 if body[0] else 129]) + body[1:]
    back = pk.summed(pk.ipv6(body, protocol, source=nat64.embed(prefix, address)))
    (again,) = run(Siit(config), back).forward
    pk.check(again)
    assert again[12:16] == address.packed


def test_run_reads_both_versions() -> None:
    """The helper above picks the direction; a mistake there would hollow out every property."""
    directions: list[Callable[[bytes, float], Outcome]] = [Siit(CONFIG).from_ipv4, Siit(CONFIG).from_ipv6]
    packets = [pk.summed(pk.ipv4(pk.udp(), pk.UDP)), pk.summed(pk.ipv6(pk.udp(), pk.UDP))]
    for translate, packet in zip(directions, packets, strict=True):
        assert run(Siit(CONFIG), packet) == translate(packet, 0.0)
        assert run(Siit(CONFIG), packet).forward
