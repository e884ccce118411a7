# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments and sizes: RFC 7915 1.4, 4.1, 5.1.1, RFC 5722, RFC 6946, and fragmented ICMP."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.unit.proto import siit_packets as pk
from tests.vectors.vector import (
    UDP_DATA,
    Config,
    Vector,
    error_v4,
    error_v6,
    in_v4,
    in_v6,
    out_v4,
    out_v6,
    to_v4,
    to_v6,
)

TCP, UDP, ICMP, ICMPV6 = pk.TCP, pk.UDP, pk.ICMP, pk.ICMPV6
SMALL = Config(ipv6_mtu_bytes=1280)
IDENT = 0xABCD


def cases() -> Iterator[Vector]:
    yield from _one_by_one()
    yield from _tiny()
    yield from _too_big_v4()
    yield from _too_big_v6()
    yield from _icmp()
    yield from _icmp_refused()


def split(message: bytes, *at: int) -> list[tuple[int, bool, bytes]]:
    """(offset, more, piece) with cuts at those offsets."""
    edges = [0, *at, len(message)]
    return [(start, end < len(message), message[start:end]) for start, end in pairwise(edges)]


def fragments_v4(message: bytes, protocol: int, *at: int, **fields: int) -> tuple[bytes, ...]:
    """From the host, all with the identification `IDENT`."""
    return tuple(
        out_v4(piece, protocol, mf=more, offset=offset, ident=IDENT, **fields)
        for offset, more, piece in split(message, *at)
    )


def fragments_v6(message: bytes, protocol: int, *at: int, ident: int = IDENT) -> tuple[bytes, ...]:
    """To the network."""
    return tuple(
        out_v6(pk.fragment_header(protocol, offset=offset, more=more, ident=ident) + piece, 44)
        for offset, more, piece in split(message, *at)
    )


def arriving_v6(message: bytes, protocol: int, *at: int, ident: int = 0x1000 << 16 | IDENT) -> tuple[bytes, ...]:
    """From the network."""
    return tuple(
        in_v6(pk.fragment_header(protocol, offset=offset, more=more, ident=ident) + piece, 44)
        for offset, more, piece in split(message, *at)
    )


def arriving_v4(message: bytes, protocol: int, *at: int) -> tuple[bytes, ...]:
    """To the host."""
    return tuple(
        in_v4(piece, protocol, mf=more, offset=offset, ident=IDENT) for offset, more, piece in split(message, *at)
    )


def sent(message: bytes, protocol: int) -> bytes:
    """The message with the checksum it has between the host's addresses, from the host."""
    return pk.summed(out_v4(message, protocol))[20:]


def sent_v6(message: bytes, protocol: int) -> bytes:
    return pk.summed(out_v6(message, protocol))[40:]


def _one_by_one() -> Iterator[Vector]:
    for name, protocol, body in (("udp", UDP, pk.udp(bytes(range(200)))), ("tcp", TCP, pk.tcp(bytes(range(200))))):
        cuts = (104, 152)
        four = fragments_v4(sent(body, protocol), protocol, *cuts)
        six = fragments_v6(sent_v6(body, protocol), protocol, *cuts)
        for part, given, made in zip(("first", "middle", "last"), four, six, strict=True):
            yield to_v6(f"4to6-fragment-{name}-{part}", "7915-4.1", given, forward=(made,))
        four_df = fragments_v4(sent(body, protocol), protocol, *cuts, df=True)
        yield to_v6(f"4to6-fragment-{name}-df", "7915-4", four_df[0], forward=(six[0],))
        arriving = arriving_v6(pk.summed(in_v6(body, protocol))[40:], protocol, *cuts)
        made_v4 = arriving_v4(pk.summed(in_v4(body, protocol))[20:], protocol, *cuts)
        for part, given, made in zip(("first", "middle", "last"), arriving, made_v4, strict=True):
            yield to_v4(f"6to4-fragment-{name}-{part}", "7915-5.1.1", given, forward=(made,))
    for name, protocol in (("gre", 47), ("sctp", 132)):
        pieces = fragments_v6(bytes(64), protocol, 32)
        yield to_v6(f"4to6-fragment-{name}", "7915-4.5", *fragments_v4(bytes(64), protocol, 32), forward=pieces)
    yield from _atomic()
    last = bytes(3)  # ends at byte 65515, the last one of an IPv4 datagram
    six = (in_v6(pk.fragment_header(47, offset=65512, ident=IDENT) + last, 44),)
    yield to_v4("6to4-fragment-at-64k", "791", *six, forward=(in_v4(last, 47, offset=65512, ident=IDENT),))
    six = (out_v6(pk.fragment_header(47, offset=65512, ident=IDENT) + last, 44),)
    yield to_v6("4to6-fragment-at-64k", "791", out_v4(last, 47, offset=65512, ident=IDENT), forward=six)
    beyond = in_v6(pk.fragment_header(47, offset=65512) + bytes(4), 44)
    yield to_v4("6to4-fragment-past-64k", "791", beyond, drop=("malformed",))
    yield to_v6("4to6-fragment-past-64k", "791", out_v4(bytes(4), 47, offset=65512), drop=("malformed",))
    beyond = in_v6(pk.fragment_header(UDP, offset=0xFFF8) + bytes(16), 44)
    yield to_v4("6to4-fragment-behind-64k", "791", beyond, drop=("malformed",))
    yield to_v6("4to6-fragment-behind-64k", "791", out_v4(bytes(16), UDP, offset=0xFFF8), drop=("malformed",))
    yield to_v4("6to4-fragment-header-cut", "8200-4.5", in_v6(bytes(7), 44), drop=("truncated",))


def _atomic() -> Iterator[Vector]:
    """RFC 6946: a Fragment header and no fragments; the identification survives (RFC 7915 5.1.1)."""
    message = pk.udp(UDP_DATA)
    six = arriving_v6(pk.summed(in_v6(message, UDP))[40:], UDP)
    four = in_v4(pk.summed(in_v4(message, UDP))[20:], UDP, ident=IDENT)
    yield to_v4("6to4-atomic-udp", "6946", *six, forward=(four,))
    echo = pk.icmp(128, 0, 7, bytes(32))
    six = arriving_v6(pk.summed(in_v6(echo, ICMPV6))[40:], ICMPV6)
    four = in_v4(pk.summed(in_v4(pk.icmp(8, 0, 7, bytes(32)), ICMP))[20:], ICMP, ident=IDENT)
    yield to_v4("6to4-atomic-echo", "6946", *six, forward=(four,))
    body = bytes(1400)
    given = in_v6(pk.fragment_header(47, ident=IDENT) + body, 44)
    yield to_v4("6to4-atomic-large", "7915-5.1.1", given, forward=(in_v4(body, 47, ident=IDENT),))


def _tiny() -> Iterator[Vector]:
    for name, protocol, size in (("tcp", TCP, 16), ("tcp-8", TCP, 8), ("dccp", pk.DCCP, 8), ("empty", UDP, 0)):
        yield to_v6(f"4to6-tiny-{name}", "1858", out_v4(bytes(size), protocol, mf=True), drop=("tiny-fragment",))
        six = in_v6(pk.fragment_header(protocol, more=True) + bytes(size), 44)
        yield to_v4(f"6to4-tiny-{name}", "1858", six, drop=("tiny-fragment",))
    yield to_v6("4to6-tcp-offset-8", "3128", out_v4(bytes(24), TCP, offset=8), drop=("tiny-fragment",))
    yield to_v4(
        "6to4-tcp-offset-8", "3128", in_v6(pk.fragment_header(TCP, offset=8) + bytes(24), 44), drop=("tiny-fragment",)
    )
    yield to_v6("4to6-tcp-short", "793", out_v4(bytes(19), TCP), drop=("truncated",))
    yield to_v4("6to4-udp-short", "768", in_v6(bytes(7), UDP), drop=("truncated",))
    zero = pk.udp(bytes(56))
    first, last = fragments_v4(zero, UDP, 32)
    reply = error_v4(3, 13, 0, first)
    yield to_v6("4to6-udp-zero-checksum-first", "7915-4.5", first, drop=("udp-zero-checksum",), reply=(reply,))
    yield to_v6("4to6-udp-zero-checksum-last", "7915-4.5", last, forward=fragments_v6(zero, UDP, 32)[1:])


def _too_big_v4() -> Iterator[Vector]:
    for name, config, mtu in (("1280", SMALL, 1280), ("1500", Config(), 1500)):
        body = pk.udp(bytes(mtu - 48))
        four, six = sent(body, UDP), sent_v6(body, UDP)
        yield to_v6(
            f"4to6-fits-{name}", "7915-4.1", out_v4(four, UDP), forward=(out_v6(six, UDP),), simple=True, config=config
        )
        body = pk.udp(bytes(mtu - 47))
        four, six = sent(body, UDP), sent_v6(body, UDP)
        room = (mtu - 48) // 8 * 8
        yield to_v6(
            f"4to6-cut-{name}",
            "7915-4.1",
            out_v4(four, UDP, ident=IDENT),
            forward=fragments_v6(six, UDP, room),
            config=config,
        )
        given = out_v4(four, UDP, df=True)
        reply = error_v4(3, 4, mtu - 20, given)
        yield to_v6(f"4to6-df-{name}", "7915-4.1", given, drop=("too-big",), reply=(reply,), config=config)
    body = pk.udp(bytes(4000))
    pieces = fragments_v6(sent_v6(body, UDP), UDP, 1232, 2464, 3696)
    yield to_v6("4to6-cut-many", "7915-4.1", out_v4(sent(body, UDP), UDP, ident=IDENT), forward=pieces, config=SMALL)
    echo = pk.summed(out_v4(pk.icmp(8, 0, 7, bytes(1480)), ICMP, df=True))
    yield to_v6("4to6-df-echo", "7915-4.1", echo, drop=("too-big",), reply=(error_v4(3, 4, 1480, echo),))
    # A fragment cut again keeps its place; with DF its sender has to leave room for the Fragment header as well.
    message = bytes(1304)
    given = out_v4(message, 47, mf=True, offset=1304, ident=IDENT)
    made = tuple(
        out_v6(pk.fragment_header(47, offset=1304 + at, more=True, ident=IDENT) + message[at:end], 44)
        for at, end in ((0, 1232), (1232, 1304))
    )
    yield to_v6("4to6-cut-fragment", "7915-4.1", given, forward=made, config=SMALL)
    given = out_v4(bytes(1240), 47, df=True, mf=True, ident=IDENT)
    yield to_v6(
        "4to6-df-fragment",
        "7915-4.1",
        given,
        drop=("too-big",),
        reply=(error_v4(3, 4, 1252, given),),
        config=SMALL,
    )


def _too_big_v6() -> Iterator[Vector]:
    config = Config(ipv4_mtu_bytes=1400)
    for size, fits in ((1420, True), (1421, False)):
        six = pk.summed(in_v6(pk.udp(bytes(size - 48)), UDP))
        four = pk.summed(in_v4(pk.udp(bytes(size - 48)), UDP, df=True, ident=0))
        if fits:
            yield to_v4(f"6to4-fits-{size}", "7915-1.4", six, forward=(four,), simple=True, config=config)
        else:
            reply = error_v6(2, 0, 1420, six)
            yield to_v4(f"6to4-too-big-{size}", "7915-1.4", six, drop=("too-big",), reply=(reply,), config=config)
    six = in_v6(pk.fragment_header(47, more=True, ident=IDENT) + bytes(1384), 44)
    reply = error_v6(2, 0, 1420, six)
    yield to_v4("6to4-too-big-fragment", "7915-1.4", six, drop=("too-big",), reply=(reply,), config=config)
    # RFC 7915 5.1.1: what a sender may take for granted in IPv6 is cut in IPv4
    config, body = Config(ipv4_mtu_bytes=1000), pk.udp(bytes(1232))
    message = pk.summed(in_v4(body, UDP))[20:]
    made = tuple(in_v4(piece, UDP, mf=more, offset=offset) for offset, more, piece in split(message, 976))
    yield to_v4("6to4-cut-1280", "7915-5.1.1", pk.summed(in_v6(body, UDP)), forward=made, config=config)
    six = pk.summed(in_v6(pk.udp(bytes(1233)), UDP))
    reply = error_v6(2, 0, 1280, six)
    yield to_v4("6to4-too-big-1281", "7915-1.4", six, drop=("too-big",), reply=(reply,), config=config)


def _icmp() -> Iterator[Vector]:
    data = bytes(range(256)) * 12
    echo_v4, echo_v6 = sent(pk.icmp(8, 0, 7, data), ICMP), sent_v6(pk.icmp(128, 0, 7, data), ICMPV6)
    given = fragments_v4(echo_v4, ICMP, 1480, 2960)
    made = fragments_v6(echo_v6, ICMPV6, 1448, 2896)
    for name, order in (("in-order", (0, 1, 2)), ("backwards", (2, 1, 0)), ("shuffled", (1, 2, 0))):
        yield to_v6(f"4to6-joined-echo-{name}", "7915-1.2", *(given[i] for i in order), forward=made)
    df = fragments_v4(echo_v4, ICMP, 1480, 2960, df=True)
    yield to_v6("4to6-joined-echo-df", "7915-1.2", *df, forward=made)
    yield to_v6("4to6-joined-echo-twice", "8200-4.5", given[0], *given, forward=made, drop=("reassembly-duplicate",))
    reply_v6 = pk.summed(in_v6(pk.icmp(129, 0, 7, data), ICMPV6))[40:]
    reply_v4 = pk.summed(in_v4(pk.icmp(0, 0, 7, data), ICMP))[20:]
    six, four = arriving_v6(reply_v6, ICMPV6, 1448, 2896), arriving_v4(reply_v4, ICMP, 1480, 2960)
    yield to_v4("6to4-joined-echo", "7915-1.2", *six, forward=four)
    yield to_v4("6to4-joined-echo-backwards", "7915-1.2", *six[::-1], forward=four)
    small = pk.summed(in_v6(pk.icmp(129, 0, 7, bytes(100)), ICMPV6))[40:]
    four = (in_v4(pk.summed(in_v4(pk.icmp(0, 0, 7, bytes(100)), ICMP))[20:], ICMP, ident=IDENT),)
    yield to_v4("6to4-joined-small", "7915-1.2", *arriving_v6(small, ICMPV6, 48), forward=four)


def _icmp_refused() -> Iterator[Vector]:
    message = sent(pk.icmp(8, 0, 7, bytes(120)), ICMP)
    first, middle, last = fragments_v4(message, ICMP, 40, 80)
    over = out_v4(message[32:72], ICMP, mf=True, offset=32, ident=IDENT)
    overlap, malformed = "reassembly-overlap", "reassembly-malformed"
    # RFC 5722 3: all of the datagram goes, what comes later too
    yield to_v6("4to6-overlap", "5722", first, over, middle, last, drop=(overlap,) * 3)
    changed = out_v4(bytes(40), ICMP, mf=True, offset=0, ident=IDENT)
    yield to_v6("4to6-overlap-same-place", "5722", first, changed, last, drop=(overlap,) * 2)
    odd = out_v4(message[:39], ICMP, mf=True, ident=IDENT)
    yield to_v6("4to6-joined-odd", "8200-4.5", odd, drop=(malformed,))
    yield to_v6("4to6-joined-empty", "791", out_v4(b"", ICMP, mf=True, ident=IDENT), drop=(malformed,))
    beyond = out_v4(bytes(8), ICMP, mf=True, offset=160, ident=IDENT)
    yield to_v6("4to6-joined-beyond-end", "815", last, beyond, drop=(malformed,))
    yield to_v6("4to6-joined-before-end", "815", beyond, last, drop=(malformed,))
    other = out_v4(bytes(8), ICMP, offset=160, ident=IDENT)
    yield to_v6("4to6-joined-two-ends", "815", last, other, drop=(malformed,))
    stamp = sent(pk.icmp(13, 0, 7, bytes(12)), ICMP)
    yield to_v6("4to6-joined-timestamp", "7915-4.2", *fragments_v4(stamp, ICMP, 8), drop=("icmp-type",))
