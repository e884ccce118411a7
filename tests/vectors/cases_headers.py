# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 7915 4.1 and 5.1: headers, protocols, addresses, checksums."""

from __future__ import annotations

import struct
from collections.abc import Iterator

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
SYN = struct.pack("!HHIIBBHHH4s", 40000, 443, 1, 0, 0x60, 2, 64240, 0, 0, bytes.fromhex("020405b4"))

# Names, protocol numbers and messages of transports whose checksums cover the pseudo header
SUMMED = [
    ("tcp", TCP, pk.tcp(b"GET / HTTP/1.0\r\n\r\n")),
    ("tcp-syn", TCP, SYN),
    ("tcp-odd", TCP, pk.tcp(b"odd")),
    ("udp", UDP, pk.udp(UDP_DATA)),
    ("udp-odd", UDP, pk.udp(b"odd")),
    ("udp-empty", UDP, pk.udp()),
    ("udp-lite", pk.UDP_LITE, pk.udp(UDP_DATA)),
    ("dccp", pk.DCCP, struct.pack("!HHBBHII", 4000, 5000, 4, 0, 0, 1, 2) + UDP_DATA),
]
# RFC 7915 4.5: all others pass as they are
OPAQUE = [
    ("ipip", 4),
    ("6in4", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("none", 59),
    ("sctp", 132),
    ("experimental", 253),
    ("reserved", 255),
]


def cases() -> Iterator[Vector]:
    yield from _transports()
    yield from _fields()
    yield from _checksums()
    yield from _prefixes()
    yield from _options()
    yield from _extensions()


def _transports() -> Iterator[Vector]:
    for name, protocol, body in SUMMED:
        simple = protocol in (TCP, UDP)
        four, six = pk.summed(out_v4(body, protocol)), pk.summed(out_v6(body, protocol))
        yield to_v6(f"4to6-{name}", "7915-4.5", four, forward=(six,), simple=simple)
        six, four = pk.summed(in_v6(body, protocol)), pk.summed(in_v4(body, protocol))
        yield to_v4(f"6to4-{name}", "7915-5.5", six, forward=(four,), simple=simple)
    for name, protocol in OPAQUE:
        body = bytes(range(40))
        yield to_v6(f"4to6-{name}", "7915-4.5", out_v4(body, protocol), forward=(out_v6(body, protocol),))
        yield to_v4(f"6to4-{name}", "7915-5.5", in_v6(body, protocol), forward=(in_v4(body, protocol),))
    for name, kind4, kind6 in (("echo-request", 8, 128), ("echo-reply", 0, 129)):
        for size in (0, 1, 56):
            body, rest = bytes(range(size)), 0xBEEF0001
            four = pk.summed(out_v4(pk.icmp(kind4, 0, rest, body), ICMP))
            six = pk.summed(out_v6(pk.icmp(kind6, 0, rest, body), ICMPV6))
            yield to_v6(f"4to6-{name}-{size}", "7915-4.2", four, forward=(six,), simple=True)
            six = pk.summed(in_v6(pk.icmp(kind6, 0, rest, body), ICMPV6))
            four = pk.summed(in_v4(pk.icmp(kind4, 0, rest, body), ICMP))
            yield to_v4(f"6to4-{name}-{size}", "7915-5.2", six, forward=(four,), simple=True)


def _fields() -> Iterator[Vector]:
    def udp_v4(**fields: int) -> bytes:
        return pk.summed(out_v4(pk.udp(UDP_DATA), UDP, **fields))

    def udp_v6(**fields: int) -> bytes:
        return pk.summed(in_v6(pk.udp(UDP_DATA), UDP, **fields))

    def made_v6(**fields: int) -> bytes:
        return pk.summed(out_v6(pk.udp(UDP_DATA), UDP, **fields))

    def made_v4(**fields: int) -> bytes:
        return pk.summed(in_v4(pk.udp(UDP_DATA), UDP, **fields))

    for tos in (0x01, 0x02, 0x03, 0x10, 0x28, 0xB8, 0xBB, 0xE0, 0xFF):
        yield to_v6(
            f"4to6-tos-{tos:02x}", "7915-4.1", udp_v4(tos=tos), forward=(made_v6(traffic_class=tos),), simple=True
        )
        yield to_v4(
            f"6to4-class-{tos:02x}", "7915-5.1", udp_v6(traffic_class=tos), forward=(made_v4(tos=tos),), simple=True
        )
    for ttl in (2, 255):
        yield to_v6(f"4to6-ttl-{ttl}", "7915-4.1", udp_v4(ttl=ttl), forward=(made_v6(hop_limit=ttl - 1),), simple=True)
        yield to_v4(
            f"6to4-hop-limit-{ttl}", "7915-5.1", udp_v6(hop_limit=ttl), forward=(made_v4(ttl=ttl - 1),), simple=True
        )
    for ttl in (0, 1):
        four, six = udp_v4(ttl=ttl), udp_v6(hop_limit=ttl)
        yield to_v6(f"4to6-ttl-{ttl}", "7915-4.1", four, drop=("hop-limit",), reply=(error_v4(11, 0, 0, four),))
        yield to_v4(f"6to4-hop-limit-{ttl}", "7915-5.1", six, drop=("hop-limit",), reply=(error_v6(3, 0, 0, six),))
    yield to_v6("4to6-df", "7915-4.1", udp_v4(df=True), forward=(made_v6(),), simple=True)
    yield to_v6("4to6-ident", "7915-4.1", udp_v4(ident=0xABCD), forward=(made_v6(),), simple=True)
    yield to_v4("6to4-flow-label", "7915-5.1", udp_v6(flow=0xABCDE), forward=(made_v4(),), simple=True)
    yield to_v6("4to6-padding", "894", udp_v4() + bytes(18), forward=(made_v6(),))
    yield to_v4("6to4-padding", "2464", udp_v6() + bytes(18), forward=(made_v4(),))
    for size, df, ident in ((1280, False, None), (1281, True, 0)):
        body = bytes(size - 48)
        six = pk.summed(in_v6(pk.udp(body), UDP))
        four = pk.summed(in_v4(pk.udp(body), UDP, df=df, **({} if ident is None else {"ident": ident})))
        yield to_v4(f"6to4-size-{size}", "7915-5.1", six, forward=(four,), simple=True)


def _checksums() -> Iterator[Vector]:
    def ending(protocol: int, wanted: int, family: int) -> bytes:
        """A message whose right checksum in that family is `wanted` (0xffff stands for a sum of zero)."""
        make = out_v6 if family == 6 else in_v4
        for word in range(0x10000):
            body = struct.pack("!H", word)
            message = pk.udp(body) if protocol == UDP else pk.tcp(body)
            packet = pk.summed(make(message, protocol))
            at = len(packet) - len(message) + pk.CHECKSUM_AT[protocol]
            if packet[at : at + 2] == struct.pack("!H", wanted):
                return message
        raise LookupError(wanted)

    for name, protocol, wanted in (("udp-ffff", UDP, 0xFFFF), ("tcp-0000", TCP, 0)):
        message = ending(protocol, wanted, 6)
        four, six = pk.summed(out_v4(message, protocol)), pk.summed(out_v6(message, protocol))
        yield to_v6(f"4to6-becomes-{name}", "8200-8.1", four, forward=(six,), simple=True)
        message = ending(protocol, wanted, 4)
        six, four = pk.summed(in_v6(message, protocol)), pk.summed(in_v4(message, protocol))
        yield to_v4(f"6to4-becomes-{name}", "768", six, forward=(four,), simple=True)

    zero = out_v4(pk.udp(UDP_DATA), UDP)
    yield to_v6("4to6-udp-zero-checksum", "7915-4.5", zero, forward=(pk.summed(out_v6(pk.udp(UDP_DATA), UDP)),))
    trailing = pk.summed(out_v6(pk.udp(UDP_DATA), UDP))[40:] + b"trailer"
    yield to_v6(
        "4to6-udp-zero-checksum-trailing-data",
        "7915-4.5",
        out_v4(pk.udp(UDP_DATA) + b"trailer", UDP),
        forward=(out_v6(trailing, UDP),),
    )
    for name, length in (("short", 7), ("long", 25)):
        body = struct.pack("!HHHH", 1, 2, length, 0) + bytes(16)
        yield to_v6(f"4to6-udp-zero-checksum-length-{name}", "768", out_v4(body, UDP), drop=("malformed",))
    unsummed = in_v6(pk.udp(UDP_DATA), UDP)
    yield to_v4("6to4-udp-zero-checksum", "6935", unsummed, forward=(in_v4(pk.udp(UDP_DATA), UDP),))
    # An echo reply of zeros: only 0xffff makes it verify.
    six = pk.summed(in_v6(pk.icmp(129, 0, 0, bytes(8)), ICMPV6))
    four = in_v4(b"\0\0\xff\xff" + bytes(12), ICMP)
    yield to_v4("6to4-echo-reply-all-zero", "1071", six, forward=(four,), simple=True)
    wrong = pk.summed(out_v4(pk.udp(UDP_DATA), UDP))
    wrong = wrong[:-1] + bytes([wrong[-1] ^ 1])
    right = pk.summed(out_v6(pk.udp(UDP_DATA), UDP))
    yield to_v6("4to6-wrong-stays-wrong", "1624", wrong, forward=(right[:-1] + bytes([right[-1] ^ 1]),), simple=True)
    bad_head = pk.summed(out_v4(pk.udp(UDP_DATA), UDP))
    yield to_v6("4to6-header-checksum", "1812-5.2.2", bad_head[:10] + b"\0\0" + bad_head[12:], drop=("checksum",))


# RFC 6052 2.4
PREFIXES = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
]


def _prefixes() -> Iterator[Vector]:
    for prefix, address in PREFIXES:
        config = Config(prefix=prefix)
        length = prefix.partition("/")[2]
        for name, protocol, body in SUMMED[:1] + SUMMED[3:4]:
            four = pk.summed(out_v4(body, protocol, destination="192.0.2.33"))
            six = pk.summed(out_v6(body, protocol, destination=address))
            yield to_v6(f"4to6-len{length}-{name}", "6052-2.4", four, forward=(six,), simple=True, config=config)
            six = pk.summed(in_v6(body, protocol, source=address))
            four = pk.summed(in_v4(body, protocol, source="192.0.2.33"))
            yield to_v4(f"6to4-len{length}-{name}", "6052-2.4", six, forward=(four,), simple=True, config=config)
    body, config = pk.udp(UDP_DATA), Config(prefix="2001:db8:122::/48")
    six = pk.summed(in_v6(body, UDP, source="2001:db8:122:c000:2:21ff:ffff:ffff"))
    four = pk.summed(in_v4(body, UDP, source="192.0.2.33"))
    yield to_v4("6to4-suffix-ignored", "6052-2.2", six, forward=(four,), simple=True, config=config)
    six = pk.summed(in_v6(body, UDP, source="2001:db8:122:c000:102:2100::"))
    reply = error_v6(1, 1, 0, six, to="2001:db8:122:c000:102:2100::")
    yield to_v4("6to4-octet-u", "6052-2.2", six, drop=("source-unmapped",), reply=(reply,), config=config)


def _options() -> Iterator[Vector]:
    body = pk.udp(UDP_DATA)
    six = pk.summed(out_v6(body, UDP))
    kept = {
        "nop": b"\1\1\1\0",
        "record-route": bytes([7, 11, 8, 198, 51, 100, 2]) + bytes(5),
        "timestamp": bytes([68, 20, 13, 1, 198, 51, 100, 2]) + bytes(12),
        "full": b"\1" * 40,
        "expired-source-route": bytes([131, 11, 12]) + bytes(9),
        "expired-strict-route": bytes([1, 137, 7, 8, 1, 2, 3, 4]),
        "nonsense": b"\x82\0\x83\3",
        "cut-short": b"\1\1\1\x83",
        "source-route-behind-end": b"\0\x83\7\4\1\2\3\4",
    }
    for name, options in kept.items():
        yield to_v6(f"4to6-options-{name}", "7915-4.1", pk.summed(out_v4(body, UDP, options=options)), forward=(six,))
    routed = {
        "loose": b"\1\x83\7\4\1\2\3\4",
        "strict": b"\x89\7\4\1\2\3\4\0",
        "second": b"\x82\4\1\1\x83\7\4\1\2\3\4\0",
    }
    for name, options in routed.items():
        four = pk.summed(out_v4(body, UDP, options=options))
        reply = error_v4(3, 5, 0, four)
        yield to_v6(f"4to6-source-route-{name}", "7915-4.1", four, drop=("source-route",), reply=(reply,))


def _extensions() -> Iterator[Vector]:
    body = pk.summed(in_v6(pk.udp(UDP_DATA), UDP))[40:]
    four = pk.summed(in_v4(pk.udp(UDP_DATA), UDP))

    def chain(*headers: tuple[int, bytes], last: int = UDP) -> bytes:
        """Extension headers given as (number, body without its Next Header octet)."""
        numbers = [number for number, _ in headers] + [last]
        joined = b"".join(bytes([after]) + rest for (_, rest), after in zip(headers, numbers[1:], strict=True))
        return in_v6(joined + body, numbers[0])

    pad, long = b"\0\1\4" + bytes(4), b"\1\1\14" + bytes(12)
    done, undone = b"\0\0\0" + bytes(4), b"\2\0\1" + bytes(20)
    kept = {
        "hop-by-hop": [(0, pad)],
        "destination": [(60, long)],
        "routing-done": [(43, done)],
        "chain": [(0, pad), (60, pad), (43, done), (60, long)],
        "eight": [(60, pad)] * 8,
    }
    for name, headers in kept.items():
        yield to_v4(f"6to4-skips-{name}", "7915-5.1", chain(*headers), forward=(four,))
    nothing = in_v6(b"\x3b" + pad, 0)
    yield to_v4("6to4-skips-to-nothing", "7915-5.1", nothing, forward=(in_v4(b"", 59),))
    for name, headers, pointer in (("first", [(43, undone)], 43), ("second", [(0, pad), (43, undone)], 51)):
        six = chain(*headers)
        reply = error_v6(4, 0, pointer, six)
        yield to_v4(f"6to4-segments-left-{name}", "7915-5.1", six, drop=("routing-header",), reply=(reply,))
    yield to_v4("6to4-nine-extensions", "8504-5.3", chain(*[(60, pad)] * 9), drop=("malformed",))
    yield to_v4("6to4-extension-header-too-long", "8200-4.2", in_v6(b"\x2f\xff" + body, 60), drop=("truncated",))
    yield to_v4("6to4-extension-header-cut", "8200-4.2", in_v6(b"\x11\0\1\4", 60), drop=("truncated",))
    for number in (0, 43, 44, 51, 60, 135, 139, 140):
        six = in_v6(pk.fragment_header(number, more=True) + bytes([UDP]) + pad + body, 44)
        reply = error_v6(1, 1, 0, six)
        yield to_v4(f"6to4-behind-fragment-{number}", "7915-5.1.1", six, drop=("late-extension",), reply=(reply,))
    six = in_v6(pk.fragment_header(50, more=True, ident=0x10203) + bytes(64), 44)
    esp = in_v4(bytes(64), 50, mf=True, ident=0x0203)
    yield to_v4("6to4-behind-fragment-esp", "7915-5.1.1", six, forward=(esp,))
