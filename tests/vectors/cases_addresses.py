# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses and protocols that are refused, and who gets to know (RFC 7915 4.4, 5.4, RFC 6052 3.1)."""

from __future__ import annotations

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

UDP, ICMP, ICMPV6 = pk.UDP, pk.ICMP, pk.ICMPV6
NSP = Config(prefix="2001:db8:64::/96")
LENIENT = Config(well_known_strict=False)


def cases() -> Iterator[Vector]:
    yield from _destinations_v4()
    yield from _sources_v4()
    yield from _addresses_v6()
    yield from _protocols()
    yield from _no_errors_about()
    yield from _malformed()


def udp_v4(**fields: str) -> bytes:
    return pk.summed(out_v4(pk.udp(UDP_DATA), UDP, **fields))


def udp_v6(**fields: str) -> bytes:
    return pk.summed(in_v6(pk.udp(UDP_DATA), UDP, **fields))


def _destinations_v4() -> Iterator[Vector]:
    private = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.0.3")
    for address in private:
        four = udp_v4(destination=address)
        reply = error_v4(3, 13, 0, four)
        yield to_v6(f"4to6-well-known-{address}", "6052-3.1", four, drop=("not-global",), reply=(reply,))
        for name, config, prefix in (("own-prefix", NSP, "2001:db8:64::"), ("lenient", LENIENT, "64:ff9b::")):
            made = pk.summed(out_v6(pk.udp(UDP_DATA), UDP, destination=prefix + address))
            yield to_v6(f"4to6-{name}-{address}", "6052-3.1", four, forward=(made,), simple=True, config=config)
    local = Config(prefix="64:ff9b:1::/48")
    made = pk.summed(out_v6(pk.udp(UDP_DATA), UDP, destination="64:ff9b:1:a00:0:100::"))
    yield to_v6(
        "4to6-local-use-10.0.0.1", "8215", udp_v4(destination="10.0.0.1"), forward=(made,), simple=True, config=local
    )
    for address in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "240.0.0.1", "255.255.255.254"):
        four = udp_v4(destination=address)
        reply = error_v4(3, 13, 0, four)
        yield to_v6(f"4to6-to-{address}", "1812-5.3.7", four, drop=("destination-illegal",), reply=(reply,), config=NSP)
    for address in ("224.0.0.1", "239.255.255.250", "255.255.255.255"):
        yield to_v6(
            f"4to6-to-{address}", "7915-1.2", udp_v4(destination=address), drop=("destination-multicast",), config=NSP
        )
    yield to_v6("4to6-to-own", "7757-4", udp_v4(destination=str(pk.CLAT_V4)), drop=("loop",))
    four = udp_v4()
    reply = error_v4(3, 13, 0, four)
    nowhere = Config(prefix=None)
    yield to_v6("4to6-no-prefix", "7915-4.4", four, drop=("destination-unmapped",), reply=(reply,), config=nowhere)


def _sources_v4() -> Iterator[Vector]:
    for address in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.3.4"):
        yield to_v6(f"4to6-from-{address}", "7915-4.1", udp_v4(source=address), drop=("source-illegal",))
    for address in ("192.0.0.1", "172.17.0.2", "8.8.4.4"):
        four = udp_v4(source=address)
        body = pk.icmp(3, 13, 0, four)
        reply = pk.summed(pk.ipv4(body, ICMP, source="192.0.0.8", destination=address, tos=0xC0))
        yield to_v6(f"4to6-from-{address}", "7915-4.4", four, drop=("source-unmapped",), reply=(reply,))
    given = pk.summed(out_v4(pk.icmp(8, 0, 1), ICMP, source="127.0.0.1"))
    yield to_v6("4to6-echo-from-127.0.0.1", "7915-4.1", given, drop=("source-illegal",))


def _addresses_v6() -> Iterator[Vector]:
    for address in ("2001:db8:1::1", "2001:db8:1::c1a8", "ff02::1", "::1", "fe80::c1a7"):
        yield to_v4(f"6to4-to-{address}", "7915-5.6", udp_v6(destination=address), drop=("destination-unmapped",))
    for address in ("2001:db8:9::1", "fd00::1", "64:ff9b:0:1::8.8.8.8"):
        six = udp_v6(source=address)
        reply = error_v6(1, 1, 0, six, to=address)
        yield to_v4(f"6to4-from-{address}", "6052-5.1", six, drop=("source-unmapped",), reply=(reply,))
    yield to_v4("6to4-from-fe80::1", "7915-5.4", udp_v6(source="fe80::1"), drop=("source-unmapped",))
    for address in ("::", "::1", "ff02::1", "::ffff:8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b::224.0.0.1", "64:ff9b::"):
        yield to_v4(f"6to4-from-{address}", "7915-5.1", udp_v6(source=address), drop=("source-illegal",))
    for address in ("10.0.0.1", "192.168.1.1", "100.64.0.1"):
        six = udp_v6(source="64:ff9b::" + address)
        yield to_v4(f"6to4-well-known-{address}", "6052-3.1", six, drop=("not-global",))
        four = pk.summed(in_v4(pk.udp(UDP_DATA), UDP, source=address))
        yield to_v4(f"6to4-lenient-{address}", "6052-3.1", six, forward=(four,), simple=True, config=LENIENT)
    yield to_v4("6to4-from-own", "7757-4", udp_v6(source=str(pk.CLAT_V6)), drop=("loop",))
    yield to_v4("6to4-from-own-embedded", "7757-4", udp_v6(source="2001:db8:64::192.0.0.2"), drop=("loop",), config=NSP)


def _protocols() -> Iterator[Vector]:
    """Numbers that would turn into extension headers, or into ICMP of the wrong family."""
    for number in (0, 43, 44, 58, 60):
        four = out_v4(bytes(32), number)
        reply = error_v4(3, 13, 0, four)
        yield to_v6(f"4to6-protocol-{number}", "7915-4.1", four, drop=("protocol",), reply=(reply,))
    six = in_v6(bytes(32), 1)
    yield to_v4("6to4-protocol-1", "7915-5.1", six, drop=("protocol",), reply=(error_v6(1, 1, 0, six),))
    yield to_v6("4to6-igmp", "7915-4.2", out_v4(bytes(8), 2), drop=("group-management",))
    yield to_v4("6to4-igmp", "7915-5.2", in_v6(bytes(8), 2), drop=("group-management",))


def _no_errors_about() -> Iterator[Vector]:
    """RFC 1812 4.3.2.7, RFC 4443 2.4 e, RFC 7915 5.4."""
    inner = pk.summed(in_v4(pk.udp(UDP_DATA), UDP))
    four = pk.summed(out_v4(pk.icmp(3, 1, 0, inner), ICMP, ttl=1))
    yield to_v6("4to6-silent-about-error", "1812-4.3.2.7", four, drop=("hop-limit",))
    four = pk.summed(out_v4(pk.icmp(99), ICMP, ttl=1))
    yield to_v6("4to6-silent-about-unknown-icmp", "1122-3.2.2", four, drop=("hop-limit",))
    four = pk.summed(out_v4(pk.icmp(8), ICMP, ttl=1))
    yield to_v6("4to6-answers-echo", "1812-4.3.2.7", four, drop=("hop-limit",), reply=(error_v4(11, 0, 0, four),))
    for kind in (0, 13, 14, 15, 16, 17, 18):
        four = pk.summed(out_v4(pk.icmp(kind), ICMP, ttl=1))
        reply = error_v4(11, 0, 0, four)
        yield to_v6(f"4to6-answers-query-{kind}", "1812-4.3.2.7", four, drop=("hop-limit",), reply=(reply,))
    four = out_v4(bytes(16), UDP, ttl=1, offset=64)
    yield to_v6("4to6-silent-about-later-fragment", "1812-4.3.2.7", four, drop=("hop-limit",))
    for address in ("224.0.0.5", "225.1.2.3", "239.255.255.250", "255.255.255.255"):
        four = pk.summed(out_v4(pk.udp(UDP_DATA), UDP, ttl=1, destination=address))
        yield to_v6(f"4to6-silent-about-{address}", "1812-4.3.2.7", four, drop=("hop-limit",))
    quoted = pk.summed(out_v6(pk.udp(UDP_DATA), UDP))
    six = pk.summed(in_v6(pk.icmp(1, 0, 0, quoted), ICMPV6, hop_limit=1))
    yield to_v4("6to4-silent-about-error", "4443-2.4", six, drop=("hop-limit",))
    six = pk.summed(in_v6(pk.icmp(137, 0, 0, bytes(32)), ICMPV6, hop_limit=1))
    yield to_v4("6to4-silent-about-redirect", "4443-2.4", six, drop=("hop-limit",))
    six = pk.summed(in_v6(pk.icmp(128), ICMPV6, hop_limit=1))
    yield to_v4("6to4-answers-echo", "4443-3.3", six, drop=("hop-limit",), reply=(error_v6(3, 0, 0, six),))
    six = pk.summed(in_v6(pk.icmp(128), ICMPV6, source="2001:db8:9::1"))
    yield to_v4("6to4-silent-about-icmp", "7915-5.4", six, drop=("source-unmapped",))
    six = in_v6(pk.fragment_header(UDP, offset=64) + bytes(16), 44, hop_limit=1)
    yield to_v4("6to4-silent-about-later-fragment", "4443-2.4", six, drop=("hop-limit",))
    large = pk.summed(out_v4(pk.udp(bytes(1400)), UDP, ttl=1))
    yield to_v6("4to6-answer-576", "1812-4.3.2.3", large, drop=("hop-limit",), reply=(error_v4(11, 0, 0, large),))
    large = pk.summed(in_v6(pk.udp(bytes(1400)), UDP, hop_limit=1))
    yield to_v4("6to4-answer-1280", "4443-2.4", large, drop=("hop-limit",), reply=(error_v6(3, 0, 0, large),))
    four = pk.summed(out_v4(pk.udp(UDP_DATA), UDP, ttl=1))
    yield to_v6(
        "4to6-answer-without-padding", "894", four + bytes(18), drop=("hop-limit",), reply=(error_v4(11, 0, 0, four),)
    )


def _malformed() -> Iterator[Vector]:
    four, six = udp_v4(), udp_v6()
    refused = {
        "empty": (b"", "truncated"),
        "19-bytes": (four[:19], "truncated"),
        "cut": (four[:-1], "truncated"),
        "version-5": (b"\x55" + four[1:], "malformed"),
        "version-6": (six, "malformed"),
        "header-16": (b"\x44" + four[1:], "malformed"),
        "total-below-header": (four[:2] + b"\0\x13" + four[4:], "malformed"),
        "total-zero": (four[:2] + b"\0\0" + four[4:], "malformed"),
        "options-cut": (b"\x4f" + four[1:3] + b"\x3c" + four[4:], "truncated"),
    }
    for name, (packet, reason) in refused.items():
        yield to_v6(f"4to6-{name}", "1812-5.2.2", packet, drop=(reason,))
    refused = {
        "empty": (b"", "truncated"),
        "39-bytes": (six[:39], "truncated"),
        "cut": (six[:-1], "truncated"),
        "version-4": (four.ljust(60), "malformed"),
        "jumbo": (six[:4] + b"\0\0\0" + six[7:40] + b"\x11\0\xc2\4\0\1\0\0" + bytes(60), "truncated"),
    }
    for name, (packet, reason) in refused.items():
        yield to_v4(f"6to4-{name}", "8200-3", packet, drop=(reason,))
