# SPDX-License-Identifier: GPL-2.0-or-later
"""What is inside ICMP errors: RFC 7915 4.3 and 5.3, truncation, and extensions (RFC 4884)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.unit.proto import siit_packets as pk
from tests.vectors.cases_icmp import (
    error_in_v4,
    error_in_v6,
    error_out_v4,
    error_out_v6,
    received_v4,
    received_v6,
    sent_v4,
    sent_v6,
)
from tests.vectors.vector import UDP_DATA, Vector, in_v4, in_v6, out_v4, out_v6, to_v4, to_v6

TCP, UDP, ICMP, ICMPV6 = pk.TCP, pk.UDP, pk.ICMP, pk.ICMPV6
EXTENSION = bytes.fromhex("2000dfff") + bytes(16)  # opaque to us


def cases() -> Iterator[Vector]:
    yield from _transports()
    yield from _fragments()
    yield from _truncated()
    yield from _refused()
    yield from _extensions_v4()
    yield from _extensions_v6()


def _transports() -> Iterator[Vector]:
    for name, protocol, body in (
        ("tcp", TCP, pk.tcp(b"inner")),
        ("udp", UDP, pk.udp(b"inner")),
        ("dccp", pk.DCCP, bytes(16)),
        ("udp-lite", pk.UDP_LITE, pk.udp(b"inner")),
    ):
        given, made = (
            error_out_v4(3, 1, 0, received_v4(body, protocol)),
            error_out_v6(1, 0, 0, received_v6(body, protocol)),
        )
        yield to_v6(f"4to6-quoted-{name}", "7915-4.3", given, forward=(made,))
        given, made = error_in_v6(1, 0, 0, sent_v6(body, protocol)), error_in_v4(3, 1, 0, sent_v4(body, protocol))
        yield to_v4(f"6to4-quoted-{name}", "7915-5.3", given, forward=(made,))
    for name, kind4, kind6 in (("request", 8, 128), ("reply", 0, 129)):
        four, six = pk.icmp(kind4, 0, 5, b"inner"), pk.icmp(kind6, 0, 5, b"inner")
        given, made = error_out_v4(3, 1, 0, received_v4(four, ICMP)), error_out_v6(1, 0, 0, received_v6(six, ICMPV6))
        yield to_v6(f"4to6-quoted-echo-{name}", "7915-4.3", given, forward=(made,))
        given, made = error_in_v6(1, 0, 0, sent_v6(six, ICMPV6)), error_in_v4(3, 1, 0, sent_v4(four, ICMP))
        yield to_v4(f"6to4-quoted-echo-{name}", "7915-5.3", given, forward=(made,))
    for name, protocol in (("gre", 47), ("esp", 50)):
        given = error_out_v4(3, 1, 0, in_v4(bytes(30), protocol, ttl=50, ident=0))
        made = error_out_v6(1, 0, 0, in_v6(bytes(30), protocol, hop_limit=50))
        yield to_v6(f"4to6-quoted-{name}", "7915-4.3", given, forward=(made,))
    # TTL, TOS and options of the packet inside: kept, kept, gone
    given = error_out_v4(11, 0, 0, received_v4(ttl=0, tos=0xB8, options=b"\x83\7\4\1\2\3\4\0"))  # type: ignore[arg-type]
    made = error_out_v6(3, 0, 0, pk.summed(in_v6(pk.udp(UDP_DATA), UDP, hop_limit=0, traffic_class=0xB8)))
    yield to_v6("4to6-quoted-ttl-tos-options", "7915-4.3", given, forward=(made,))
    six = out_v6(b"\x11\0\1\4" + bytes(4) + sent_v6()[40:], 60, hop_limit=1, traffic_class=0xB8)
    four = pk.summed(out_v4(pk.udp(UDP_DATA), UDP, ttl=1, tos=0xB8))
    yield to_v4("6to4-quoted-extension", "7915-5.3", error_in_v6(3, 0, 0, six), forward=(error_in_v4(11, 0, 0, four),))
    given = error_out_v4(3, 1, 0, in_v4(pk.udp(UDP_DATA), UDP, ttl=50))
    yield to_v6("4to6-quoted-udp-zero-checksum", "7915-4.5", given, forward=(error_out_v6(1, 0),))


def _fragments() -> Iterator[Vector]:
    head, tail = received_v4()[20:28], bytes(24)
    for name, offset, more, part, new in (
        ("first", 0, True, head, received_v6()[40:48]),
        ("last", 16, False, tail, tail),
    ):
        four = in_v4(part, UDP, ttl=50, ident=0xABCD, offset=offset, mf=more)
        six = in_v6(pk.fragment_header(UDP, offset=offset, more=more, ident=0xABCD) + new, 44, hop_limit=50)
        yield to_v6(
            f"4to6-quoted-fragment-{name}",
            "7915-4.3",
            error_out_v4(3, 1, 0, four),
            forward=(error_out_v6(1, 0, 0, six),),
        )
    four = in_v4(b"\x08" + bytes(15), ICMP, ttl=50, ident=0xABCD, mf=True)
    six = in_v6(pk.fragment_header(ICMPV6, more=True, ident=0xABCD) + b"\x80" + bytes(15), 44, hop_limit=50)
    yield to_v6(
        "4to6-quoted-fragment-echo", "7915-4.3", error_out_v4(3, 1, 0, four), forward=(error_out_v6(1, 0, 0, six),)
    )


def _truncated() -> Iterator[Vector]:
    for name, protocol, body in (("udp", UDP, pk.udp(bytes(1000))), ("tcp", TCP, pk.tcp(bytes(1000)))):
        for size in (0, 4, 8, 18, 40):
            four, six = received_v4(body, protocol)[: 20 + size], received_v6(body, protocol)[: 40 + size]
            given, made = error_out_v4(3, 1, 0, four), error_out_v6(1, 0, 0, six)
            yield to_v6(f"4to6-cut-{name}-{size}", "792", given, forward=(made,))
            six, four = sent_v6(body, protocol)[: 40 + size], sent_v4(body, protocol)[: 20 + size]
            given, made = error_in_v6(1, 0, 0, six), error_in_v4(3, 1, 0, four)
            yield to_v4(f"6to4-cut-{name}-{size}", "4443-2.4", given, forward=(made,))
    # Half a checksum cannot be changed
    four = received_v4(pk.tcp(bytes(100)), TCP)[: 20 + 17]
    six = received_v6(pk.tcp(bytes(100)), TCP)[:40] + four[20:]
    yield to_v6("4to6-cut-tcp-17", "792", error_out_v4(3, 1, 0, four), forward=(error_out_v6(1, 0, 0, six),))
    # RFC 4443 2.4 c and RFC 1812 4.3.2.3: 1280 and 576 bytes, and the packet inside says how long it was
    body = pk.udp(bytes(1400))
    given = error_out_v4(3, 1, 0, received_v4(body, UDP))
    made = error_out_v6(1, 0, 0, received_v6(body, UDP)[:1232])
    yield to_v6("4to6-error-1280", "4443-2.4", given, forward=(made,))
    given = error_in_v6(1, 0, 0, sent_v6(body, UDP)[:1232])
    made = error_in_v4(3, 1, 0, sent_v4(body, UDP, df=True)[:548])
    yield to_v4("6to4-error-576", "1812-4.3.2.3", given, forward=(made,))


def _refused() -> Iterator[Vector]:
    inner_error_v4 = in_v4(pk.icmp(3, 1, 0, bytes(28)), ICMP, ttl=50)
    quoted_v4 = {
        "icmp-error": pk.summed(inner_error_v4),
        "timestamp": pk.summed(in_v4(pk.icmp(13, 0, 0, bytes(12)), ICMP, ttl=50)),
        "nothing": b"\x45",
        "header-cut": received_v4()[:19],
        "options-cut": received_v4(options=b"\1" * 20)[:30],  # type: ignore[arg-type]
        "ipv6": received_v6(),
        "igmp": in_v4(bytes(8), 2, ttl=50),
        "hop-by-hop": in_v4(bytes(8), 0, ttl=50),
        "not-to-us": pk.summed(pk.ipv4(pk.udp(), UDP, source=pk.PEER_V4, destination="192.0.0.3")),
        "from-private": pk.summed(pk.ipv4(pk.udp(), UDP, source="10.0.0.1", destination=pk.CLAT_V4)),
        "from-multicast": pk.summed(pk.ipv4(pk.udp(), UDP, source="224.0.0.1", destination=pk.CLAT_V4)),
    }
    for name, quoted in quoted_v4.items():
        yield to_v6(f"4to6-quoted-refused-{name}", "7915-4.3", error_out_v4(3, 1, 0, quoted), drop=("icmp-inner",))
    quoted_v6 = {
        "icmp-error": pk.summed(out_v6(pk.icmp(1, 0, 0, bytes(48)), ICMPV6)),
        "solicitation": pk.summed(out_v6(pk.icmp(135, 0, 0, bytes(16)), ICMPV6)),
        "nothing": b"\x60",
        "header-cut": sent_v6()[:39],
        "extension-cut": out_v6(b"\x11\0\1\4", 60),
        "ipv4": sent_v4(),
        "icmpv4": out_v6(bytes(8), ICMP),
        "behind-fragment": out_v6(pk.fragment_header(60) + bytes(16), 44),
        "longer-than-ipv4": sent_v6()[:4] + b"\xff\xec" + sent_v6()[6:],
        "not-from-us": pk.summed(pk.ipv6(pk.udp(), UDP, source="2001:db8:1::2", destination=pk.PEER_V6)),
        "to-elsewhere": pk.summed(pk.ipv6(pk.udp(), UDP, source=pk.CLAT_V6, destination="2001:db8::1")),
        "to-private": pk.summed(pk.ipv6(pk.udp(), UDP, source=pk.CLAT_V6, destination="64:ff9b::10.0.0.1")),
    }
    for name, quoted in quoted_v6.items():
        yield to_v4(f"6to4-quoted-refused-{name}", "7915-5.3", error_in_v6(1, 0, 0, quoted), drop=("icmp-inner",))


def _extended_v4(make: object, quoted: bytes, units: int, extension: bytes) -> bytes:
    assert callable(make)
    packet: bytes = make(3, 3, units << 16, quoted + extension)
    return packet


def _extended_v6(make: object, quoted: bytes, units: int, extension: bytes) -> bytes:
    assert callable(make)
    packet: bytes = make(1, 4, units << 24, quoted + extension)
    return packet


def _extensions_v4() -> Iterator[Vector]:
    def vector(
        name: str, size: int, units: int, extension: int, *, cut: int, new_units: int, kept: bool = True
    ) -> Vector:
        """Payload bytes inside; length attributes before and after, and how much of the inner packet stays."""
        body, tail = pk.udp(bytes(size)), EXTENSION.ljust(extension, b"\xee")[:extension]
        four = received_v4(body).ljust(units * 4, b"\0")
        six = received_v6(body)[:cut].ljust(new_units * 8, b"\0")
        given = _extended_v4(error_out_v4, four, units, tail)
        return to_v6(name, "4884", given, forward=(_extended_v6(error_out_v6, six, new_units, tail if kept else b""),))

    yield vector("4to6-extension", 100, 32, 20, cut=148, new_units=19)
    yield vector("4to6-extension-padding", 60, 32, 20, cut=108, new_units=16)
    yield vector("4to6-extension-below-minimum", 20, 12, 20, cut=68, new_units=16)
    yield vector("4to6-extension-1280", 544, 143, 640, cut=592, new_units=74)
    yield vector("4to6-extension-cuts-quoted", 552, 145, 640, cut=592, new_units=74)
    yield vector("4to6-extension-longest-quoted", 992, 255, 200, cut=1032, new_units=129)
    yield vector("4to6-extension-longest", 992, 255, 1104, cut=128, new_units=16)
    yield vector("4to6-extension-too-long", 100, 32, 1105, cut=148, new_units=0, kept=False)
    four, six = received_v4(pk.udp(bytes(100))), received_v6(pk.udp(bytes(100)))
    for name, kind, code, rest, new in (
        ("too-big", 3, 4, 1400, (2, 0, 1420)),
        ("protocol", 3, 2, 0, (4, 1, 6)),
        ("parameter", 12, 0, 8 << 24, (4, 0, 7)),
    ):
        # Packet Too Big and Parameter Problem have no room for a length in ICMPv6
        given = error_out_v4(kind, code, rest | 32 << 16, four + EXTENSION)
        yield to_v6(f"4to6-extension-of-{name}", "4884-4", given, forward=(error_out_v6(*new, six),))
    given = error_out_v4(11, 0, 32 << 16, four + EXTENSION)
    made = error_out_v6(3, 0, 19 << 24, six.ljust(152, b"\0") + EXTENSION)
    yield to_v6("4to6-extension-of-time-exceeded", "4884-4", given, forward=(made,))
    # No extension behind the length: nothing to keep
    given, made = error_out_v4(3, 3, 32 << 16, four), error_out_v6(1, 4, 0, six)
    yield to_v6("4to6-extension-missing", "4884", given, forward=(made,))
    # Before RFC 4884 extensions came without a length: what is behind the quoted packet is no part of it
    given = error_out_v4(3, 3, 0, received_v4().ljust(128, b"\0") + EXTENSION)
    yield to_v6("4to6-extension-without-length", "4884-5", given, forward=(error_out_v6(1, 4),))


def _extensions_v6() -> Iterator[Vector]:
    def vector(
        name: str, size: int, units: int, extension: int, *, cut: int, new_units: int, kept: bool = True
    ) -> Vector:
        body, tail = pk.udp(bytes(size)), EXTENSION.ljust(extension, b"\xee")[:extension]
        df = size + 28 > 1260
        six = sent_v6(body).ljust(units * 8, b"\0")
        four = sent_v4(body, df=df)[:cut].ljust(new_units * 4, b"\0")
        given = _extended_v6(error_in_v6, six, units, tail)
        return to_v4(name, "4884", given, forward=(_extended_v4(error_in_v4, four, new_units, tail if kept else b""),))

    yield vector("6to4-extension", 80, 16, 20, cut=108, new_units=32)
    yield vector("6to4-extension-padding", 61, 16, 20, cut=89, new_units=32)
    yield vector("6to4-extension-576", 480, 66, 40, cut=508, new_units=127)
    yield vector("6to4-extension-cuts-quoted", 1144, 149, 40, cut=508, new_units=127)
    yield vector("6to4-extension-longest", 80, 16, 420, cut=108, new_units=32)
    yield vector("6to4-extension-too-long", 80, 16, 421, cut=108, new_units=0, kept=False)
    yield vector("6to4-extension-both-too-long", 528, 72, 521, cut=548, new_units=0, kept=False)
    six, four = sent_v6(pk.udp(bytes(80))), sent_v4(pk.udp(bytes(80)))
    given = error_in_v6(3, 0, 16 << 24, six + EXTENSION)
    made = error_in_v4(11, 0, 32 << 16, four.ljust(128, b"\0") + EXTENSION)
    yield to_v4("6to4-extension-of-time-exceeded", "4884-4", given, forward=(made,))
    # These 32 bits are all MTU
    given, made = error_in_v6(2, 0, 16 << 24, six + EXTENSION), error_in_v4(3, 4, 1480, four)
    yield to_v4("6to4-mtu-looks-like-length", "4443-3.2", given, forward=(made,))
