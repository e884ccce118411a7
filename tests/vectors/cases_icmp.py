# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP types, codes and pointers (RFC 7915 4.2, 5.2), and the packets inside errors (4.3, 5.3)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.unit.proto import siit_packets as pk
from tests.vectors.vector import UDP_DATA, Config, Vector, in_v4, in_v6, out_v4, out_v6, to_v4, to_v6

TCP, UDP, ICMP, ICMPV6 = pk.TCP, pk.UDP, pk.ICMP, pk.ICMPV6

# RFC 7915 4.2: type and code -> type, code, pointer
UNREACHABLE_TO_V6 = {
    **dict.fromkeys((0, 1, 5, 6, 7, 8, 11, 12), (1, 0, 0)),
    2: (4, 1, 6),
    3: (1, 4, 0),
    **dict.fromkeys((9, 10, 13, 15), (1, 1, 0)),
}
# RFC 7915 5.2
UNREACHABLE_TO_V4 = {0: (3, 1), 1: (3, 10), 2: (3, 1), 3: (3, 1), 4: (3, 3)}
# Figures 3 and 6
POINTER_TO_V6 = [0, 1, 4, 4, None, None, None, None, 7, 6, None, None, 8, 8, 8, 8, 24, 24, 24, 24, None]
POINTER_TO_V4 = [0, 1, None, None, 2, 2, 9, 8, *[12] * 16, *[16] * 16, None]


def cases() -> Iterator[Vector]:
    yield from _errors_v4()
    yield from _errors_v6()
    yield from _mtus()
    yield from _others()
    yield from _sources()


def received_v4(body: bytes = pk.udp(UDP_DATA), protocol: int = UDP, *, ttl: int = 50, **fields: int) -> bytes:
    """A packet the host got from its peer, as it would quote it."""
    return pk.summed(in_v4(body, protocol, ttl=ttl, ident=0, **fields))


def received_v6(body: bytes = pk.udp(UDP_DATA), protocol: int = UDP, *, ttl: int = 50) -> bytes:
    """The same as the peer sent it: the TTL inside an error is left alone (RFC 7915 4.3)."""
    return pk.summed(in_v6(body, protocol, hop_limit=ttl))


def error_out_v4(kind: int, code: int, rest: int = 0, quoted: bytes = b"", **fields: str) -> bytes:
    """An ICMPv4 error from the host about what it received."""
    return pk.summed(out_v4(pk.icmp(kind, code, rest, quoted or received_v4()), ICMP, **fields))


def error_out_v6(kind: int, code: int, rest: int = 0, quoted: bytes = b"", **fields: str) -> bytes:
    return pk.summed(out_v6(pk.icmp(kind, code, rest, quoted or received_v6()), ICMPV6, **fields))


def sent_v6(body: bytes = pk.udp(UDP_DATA), protocol: int = UDP, *, ttl: int = 50) -> bytes:
    """A packet of the host's, as the network quotes it."""
    return pk.summed(out_v6(body, protocol, hop_limit=ttl))


def sent_v4(body: bytes = pk.udp(UDP_DATA), protocol: int = UDP, *, ttl: int = 50, df: bool = False) -> bytes:
    return pk.summed(out_v4(body, protocol, ttl=ttl, df=df))


def error_in_v6(kind: int, code: int, rest: int = 0, quoted: bytes = b"", **fields: str) -> bytes:
    """An ICMPv6 error from the network about what the host sent."""
    return pk.summed(in_v6(pk.icmp(kind, code, rest, quoted or sent_v6()), ICMPV6, **fields))


def error_in_v4(kind: int, code: int, rest: int = 0, quoted: bytes = b"", **fields: str) -> bytes:
    return pk.summed(in_v4(pk.icmp(kind, code, rest, quoted or sent_v4()), ICMP, **fields))


def _errors_v4() -> Iterator[Vector]:
    for code in (*range(17), 255):
        if code == 4:
            continue
        name, given = f"4to6-unreachable-{code}", error_out_v4(3, code)
        if code in UNREACHABLE_TO_V6:
            yield to_v6(name, "7915-4.2", given, forward=(error_out_v6(*UNREACHABLE_TO_V6[code]),))
        else:
            yield to_v6(name, "7915-4.2", given, drop=("icmp-type",))
    for code in (0, 1):
        yield to_v6(f"4to6-time-exceeded-{code}", "7915-4.2", error_out_v4(11, code), forward=(error_out_v6(3, code),))
    for pointer, new in enumerate(POINTER_TO_V6):
        for code in (0, 2):
            name, given = f"4to6-parameter-{code}-{pointer}", error_out_v4(12, code, pointer << 24)
            if new is None:
                yield to_v6(name, "7915-4.2", given, drop=("icmp-type",))
            else:
                yield to_v6(name, "7915-4.2", given, forward=(error_out_v6(4, 0, new),))
    for code in (1, 3):
        yield to_v6(f"4to6-parameter-{code}", "7915-4.2", error_out_v4(12, code), drop=("icmp-type",))


def _errors_v6() -> Iterator[Vector]:
    for code in (*range(8), 255):
        name, given = f"6to4-unreachable-{code}", error_in_v6(1, code)
        if code in UNREACHABLE_TO_V4:
            yield to_v4(name, "7915-5.2", given, forward=(error_in_v4(*UNREACHABLE_TO_V4[code]),))
        else:
            yield to_v4(name, "7915-5.2", given, drop=("icmp-type",))
    for code in (0, 1):
        yield to_v4(f"6to4-time-exceeded-{code}", "7915-5.2", error_in_v6(3, code), forward=(error_in_v4(11, code),))
    for pointer, new in (*enumerate(POINTER_TO_V4), (1 << 24, None)):
        name, given = f"6to4-parameter-0-{pointer}", error_in_v6(4, 0, pointer)
        if new is None:
            yield to_v4(name, "7915-5.2", given, drop=("icmp-type",))
        else:
            yield to_v4(name, "7915-5.2", given, forward=(error_in_v4(12, 0, new << 24),))
    yield to_v4("6to4-parameter-1", "7915-5.2", error_in_v6(4, 1, 6), forward=(error_in_v4(3, 2),))
    for code in (2, 3):
        yield to_v4(f"6to4-parameter-{code}", "7915-5.2", error_in_v6(4, code), drop=("icmp-type",))


def _mtus() -> Iterator[Vector]:
    plain = Config(ipv6_mtu_bytes=9000, ipv4_mtu_bytes=9000)
    for name, config, mtu, new in (
        ("1400", plain, 1400, 1420),
        ("1260", plain, 1260, 1280),
        ("1259-floor", plain, 1259, 1280),
        ("68-floor", plain, 68, 1280),
        ("next-hop-ipv6", Config(ipv4_mtu_bytes=9000), 8000, 1500),
        ("next-hop-ipv4", Config(ipv6_mtu_bytes=9000), 8000, 1520),
    ):
        given = error_out_v4(3, 4, mtu)
        yield to_v6(f"4to6-mtu-{name}", "7915-4.2", given, forward=(error_out_v6(2, 0, new),), config=config)
    # RFC 1191 7.1: a router that names no MTU; the greatest plateau below the Total Length
    jumbo = Config(ipv6_mtu_bytes=65535, ipv4_mtu_bytes=65535)
    for length, new in (
        (65535, 32020),
        (32000, 17934),
        (9000, 8186),
        (8166, 4372),
        (1493, 1512),
        (1492, 1280),
        (600, 1280),
    ):
        four, six = received_v4(pk.udp(bytes(length - 28))), received_v6(pk.udp(bytes(length - 28)))
        given = error_out_v4(3, 4, 0, four[:28])
        made = error_out_v6(2, 0, new, six[:48])
        yield to_v6(f"4to6-plateau-{length}", "1191-7.1", given, forward=(made,), config=jumbo)
    for name, config, mtu, new in (
        ("1500", plain, 1500, 1480),
        ("1280", plain, 1280, 1260),
        ("1000", plain, 1000, 980),
        ("0-floor", plain, 0, 68),
        ("huge", plain, 0xFFFFFFFF, 8980),
        ("next-hop-ipv4", Config(ipv6_mtu_bytes=9000), 8000, 1500),
        ("next-hop-ipv6", Config(ipv4_mtu_bytes=9000), 8000, 1480),
    ):
        given = error_in_v6(2, 0, mtu)
        yield to_v4(f"6to4-mtu-{name}", "7915-5.2", given, forward=(error_in_v4(3, 4, new),), config=config)
    body = sent_v6()[40:]
    quoted = out_v6(pk.fragment_header(UDP, more=True, ident=0xABCD) + body, 44, hop_limit=50)
    four = out_v4(sent_v4()[20:], UDP, ttl=50, mf=True, ident=0xABCD)
    given, made = error_in_v6(2, 0, 1400, quoted), error_in_v4(3, 4, 1372, four)
    yield to_v4("6to4-mtu-of-fragments", "7915-5.2", given, forward=(made,))


def _others() -> Iterator[Vector]:
    for kind in (1, 2, 4, 5, 6, 7, 9, 10, 13, 14, 15, 16, 17, 18, 30, 40, 42, 43, 255):
        given = pk.summed(out_v4(pk.icmp(kind, 0, 0, received_v4()), ICMP))
        yield to_v6(f"4to6-icmp-{kind}", "7915-4.2", given, drop=("icmp-type",))
    for kind in (0, 5, 100, 127, 130, 131, 132, 133, 134, 135, 136, 137, 138, 143, 160, 255):
        given = pk.summed(in_v6(pk.icmp(kind, 0, 0, sent_v6()), ICMPV6))
        yield to_v4(f"6to4-icmp-{kind}", "7915-5.2", given, drop=("icmp-type",))
    wrong = error_out_v4(3, 1)
    yield to_v6("4to6-error-checksum", "792", wrong[:22] + b"\1\2" + wrong[24:], drop=("checksum",))
    wrong = error_in_v6(1, 0)
    yield to_v4("6to4-error-checksum", "4443-2.3", wrong[:42] + b"\1\2" + wrong[44:], drop=("checksum",))
    yield to_v6("4to6-icmp-short", "792", out_v4(b"\x08" + bytes(6), ICMP), drop=("truncated",))
    yield to_v4("6to4-icmp-short", "4443-2.1", in_v6(b"\x80" + bytes(6), ICMPV6), drop=("truncated",))
    given = pk.summed(out_v4(pk.icmp(8, 5, 1), ICMP))
    made = pk.summed(out_v6(pk.icmp(128, 5, 1), ICMPV6))
    yield to_v6("4to6-echo-code", "7915-4.2", given, forward=(made,), simple=True)


def _sources() -> Iterator[Vector]:
    """RFC 7915 4.1: no source is illegal in an error; RFC 6791: nor unmapped."""
    for source in ("127.0.0.1", "0.0.0.0", "172.17.0.1", "10.0.0.1", "203.0.113.9"):
        given = error_out_v4(11, 0, source=source)
        yield to_v6(f"4to6-error-from-{source}", "7915-4.1", given, forward=(error_out_v6(3, 0),))
    for source in ("2001:db8:99::1", "fe80::1", "fd00::1", "2001:db8:1::1"):
        given = error_in_v6(3, 0, source=source)
        yield to_v4(f"6to4-error-from-{source}", "6791", given, forward=(error_in_v4(11, 0, source="192.0.0.8"),))
    for source in ("ff02::1", "::", "::1", "::ffff:8.8.8.8"):
        given = error_in_v6(3, 0, source=source)
        yield to_v4(f"6to4-error-from-{source}", "7915-5.1", given, drop=("source-illegal",))
    given = error_in_v6(3, 0, source="64:ff9b::10.0.0.1")
    yield to_v4("6to4-error-from-private", "6052-3.1", given, drop=("not-global",))
