# SPDX-License-Identifier: GPL-2.0-or-later
"""One test vector: packets into the translator, and all that has to come out. See README.md here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.proto import siit_packets as pk

FILE = Path(__file__).with_name("siit.jsonl")

FIRST_IDENT = 0x1234

# A datagram of either family, its transport checksum right
UDP_DATA = b"clatnm test data"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A CLAT; see `clatnm.proto.siit.SiitConfig`."""

    clat_v4: str = str(pk.CLAT_V4)
    clat_v6: str = str(pk.CLAT_V6)
    prefix: str | None = "64:ff9b::/96"
    ipv6_mtu_bytes: int = 1500
    ipv4_mtu_bytes: int = 1500
    well_known_strict: bool = True


@dataclass(frozen=True, kw_only=True)
class Vector:
    """Packets given one after the other, and everything that comes of them, in order."""

    name: str
    rfc: str
    direction: str
    given: tuple[bytes, ...]
    forward: tuple[bytes, ...] = ()
    reply: tuple[bytes, ...] = ()
    drop: tuple[str, ...] = ()
    simple: bool = False
    config: Config = field(default_factory=Config)

    def to_json(self) -> str:
        record: dict[str, Any] = asdict(self)
        for key in ("given", "forward", "reply"):
            record[key] = [packet.hex() for packet in record[key]]
        return json.dumps(record)

    @classmethod
    def from_json(cls, line: str) -> Vector:
        record = json.loads(line)
        for key in ("given", "forward", "reply"):
            record[key] = tuple(bytes.fromhex(packet) for packet in record[key])
        record["drop"] = tuple(record["drop"])
        record["config"] = Config(**record["config"])
        return cls(**record)


def load() -> list[Vector]:
    return [Vector.from_json(line) for line in FILE.read_text().splitlines()]


def to_v6(name: str, rfc: str, *given: bytes, **expected: Any) -> Vector:
    return Vector(name=name, rfc=rfc, direction="4to6", given=given, **expected)


def to_v4(name: str, rfc: str, *given: bytes, **expected: Any) -> Vector:
    return Vector(name=name, rfc=rfc, direction="6to4", given=given, **expected)


def out_v4(body: bytes, protocol: int, **fields: Any) -> bytes:
    """IPv4 as the host sends it: from the CLAT address to the peer."""
    return pk.ipv4(body, protocol, **fields)


def out_v6(body: bytes, protocol: int, **fields: Any) -> bytes:
    """The same in IPv6, one hop later."""
    return pk.ipv6(body, protocol, **{"source": pk.CLAT_V6, "destination": pk.PEER_V6, "hop_limit": 63, **fields})


def in_v6(body: bytes, protocol: int, **fields: Any) -> bytes:
    """IPv6 as the network delivers it: from the peer to the CLAT address."""
    return pk.ipv6(body, protocol, **fields)


def in_v4(body: bytes, protocol: int, **fields: Any) -> bytes:
    """The same in IPv4, one hop later, with a generated identification; `ident` and `df` tell otherwise."""
    swapped = {"source": pk.PEER_V4, "destination": pk.CLAT_V4, "ttl": 63, "ident": FIRST_IDENT}
    return pk.ipv4(body, protocol, **{**swapped, **fields})


def error_v4(kind: int, code: int, rest: int, quoted: bytes, *, ident: int = 0) -> bytes:
    """An ICMPv4 error of the translator's own, to the host."""
    body = pk.icmp(kind, code, rest, quoted[: 576 - 28])
    return pk.summed(pk.ipv4(body, pk.ICMP, source="192.0.0.8", destination=pk.CLAT_V4, ttl=64, tos=0xC0, ident=ident))


def error_v6(kind: int, code: int, rest: int, quoted: bytes, *, to: str = str(pk.PEER_V6)) -> bytes:
    """An ICMPv6 error of the translator's own, to the network."""
    body = pk.icmp(kind, code, rest, quoted[: 1280 - 48])
    return pk.summed(pk.ipv6(body, pk.ICMPV6, source=pk.CLAT_V6, destination=to, hop_limit=64))
