# SPDX-License-Identifier: GPL-2.0-or-later
"""Nonsense on every input: it is counted, it costs no memory, and the next packet is translated as ever."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator

import pytest

from clatnm.proto.checksum import checksum, transport_checksum
from tests.e2e.datapath import traffic
from tests.e2e.datapath.driver import CLAT_V4, Driven
from tests.e2e.datapath.rig import CLAT, HOST_MAC, NEAR_MAC, SERVER, SERVER6, Place, Rig, alive, resident_kib

SEEDS = (7915, None)
"""None: another one each time."""
FRAMES = 1500
MOST_GROWTH_KIB = 4096
SOL_PACKET, PACKET_VNET_HDR = 263, 15
IPV4, IPV6, ANY = 0x0800, 0x86DD, 0x0003
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
HEADERS = (0, ICMP, TCP, UDP, 41, 43, FRAGMENT, 47, 50, 51, ICMPV6, 59, 60, 132, 135, 255)
ETHERNET = bytes.fromhex((HOST_MAC + NEAR_MAC).replace(":", "") + "86dd")


@pytest.fixture(scope="module")
def driven(rig: Rig, backend: str) -> Iterator[Driven]:
    with Driven(rig, backend) as made:
        traffic.ping(rig.host)
        yield made


@pytest.fixture(params=SEEDS, ids=("same", "fresh"))
def dice(request: pytest.FixtureRequest) -> random.Random:
    seed = random.SystemRandom().randrange(1 << 32) if request.param is None else request.param
    print(f"seed {seed}")  # a failure shows it
    return random.Random(seed)


def segment(protocol: int, pseudo: tuple[bytes, bytes] | None, data: bytes) -> bytes:
    """A right TCP, UDP or echo message."""
    if protocol == UDP:
        head, at = b"\x10\0\x10\1" + (8 + len(data)).to_bytes(2, "big") + b"\0\0", 6
    elif protocol == TCP:
        head, at = b"\x10\0\x10\1" + bytes(8) + b"\x50\x10\xff\xff" + bytes(4), 16
    else:
        head, at = bytes((8 if protocol == ICMP else 128, 0, 0, 0, 1, 1, 1, 1)), 2
    total = checksum(head + data) if pseudo is None else transport_checksum(*pseudo, protocol, head + data)
    return head[:at] + total.to_bytes(2, "big") + head[at + 2 :] + data


def good_ipv6(dice: random.Random) -> bytes:
    protocol = dice.choice((TCP, UDP, ICMPV6))
    body = segment(protocol, (SERVER6.packed, CLAT.packed), dice.randbytes(dice.randrange(200)))
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes((protocol, 64))
    return head + SERVER6.packed + CLAT.packed + body


def good_ipv4(dice: random.Random) -> bytes:
    protocol = dice.choice((TCP, UDP, ICMP))
    pseudo = None if protocol == ICMP else (CLAT_V4.packed, SERVER.packed)
    body = segment(protocol, pseudo, dice.randbytes(dice.randrange(200)))
    head = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + b"\0\0\0\0" + bytes((64, protocol)) + b"\0\0"
    head += CLAT_V4.packed + SERVER.packed
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def random_ipv6(dice: random.Random) -> bytes:
    """To the CLAT address, of some protocol, from the prefix or not; the rest is noise."""
    source = dice.choice((SERVER6.packed, dice.randbytes(16), CLAT.packed, bytes(16), b"\xff\x02" + bytes(13) + b"\1"))
    body = dice.randbytes(dice.randrange(1200))
    length = dice.choice((len(body), len(body), dice.randrange(65536)))
    head = b"\x60\0\0\0" + length.to_bytes(2, "big") + bytes((dice.choice(HEADERS), dice.choice((0, 1, 64, 255))))
    return head + source + CLAT.packed + body


def random_ipv4(dice: random.Random) -> bytes:
    words = dice.choice((5, 5, 5, 6, 15, 4, 0))
    body = dice.randbytes(dice.randrange(1200))
    length = dice.choice((20 + len(body), dice.randrange(65536)))
    fragment = dice.choice((0, 0, 0x4000, 0x2000, dice.randrange(65536)))
    head = bytes((0x40 | words, 0)) + length.to_bytes(2, "big") + b"\0\7" + fragment.to_bytes(2, "big")
    head += bytes((dice.choice((0, 1, 64)), dice.choice(HEADERS))) + b"\0\0"
    head += dice.choice((CLAT_V4.packed, dice.randbytes(4))) + dice.choice((SERVER.packed, dice.randbytes(4)))
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def mutated(dice: random.Random, packet: bytes) -> bytes:
    """Some bytes changed, perhaps the end cut off or something behind it."""
    data = bytearray(packet)
    for _ in range(dice.randrange(1, 4)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    cut = dice.choice((len(data), len(data), dice.randrange(1, len(data))))
    return bytes(data[:cut]) + dice.choice((b"", b"", dice.randbytes(20)))


def flood(sock: socket.socket, dice: random.Random, make: tuple[Callable[[random.Random], bytes], ...]) -> int:
    """Send `FRAMES` of what is made; how many the kernel took."""
    taken = 0
    with sock:
        for _ in range(FRAMES):
            with contextlib.suppress(OSError):
                sock.send(dice.choice(make)(dice))
                taken += 1
    return taken


def vnet_socket(place: Place, device: str, ethertype: int) -> socket.socket:
    """Sends packets behind a vnet header on a device."""
    made = place.packets(device, ethertype)
    made.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    return made


def vnet(dice: random.Random, packet: bytes, l2: int) -> bytes:
    """A vnet header that makes some sense, but not for this packet."""
    start = l2 + dice.choice((20, 40, 34, 54, dice.randrange(100)))
    fields = (
        bytes((dice.choice((0, 1, 1, 1, 2, 3)), dice.choice((0, 1, 4, 5, 0x81, 0x84, 3, dice.randrange(256)))))
        + dice.choice((start, start + 20, dice.randrange(300))).to_bytes(2, "little")
        + dice.choice((0, 1, 8, 100, 1400, 65535)).to_bytes(2, "little")
        + start.to_bytes(2, "little")
        + dice.choice((6, 16, 2, 8, dice.randrange(100))).to_bytes(2, "little")
    )
    return fields + packet


@contextlib.contextmanager
def unimpressed(rig: Rig, driven: Driven, direction: str, *, least_drops: int) -> Iterator[None]:
    """Afterwards the same process translates as before, has counted what it refused, and is as small as it was."""
    pid, before, size_kib = driven.worker, driven.drops(direction), resident_kib(driven.worker)
    yield
    traffic.ping(rig.host)
    traffic.exchange(rig, 4000)
    assert alive(pid)
    assert driven.drops(direction) - before >= least_drops
    assert resident_kib(pid) - size_kib < MOST_GROWTH_KIB


def test_noise_from_the_network(rig: Rig, driven: Driven, dice: random.Random) -> None:
    with unimpressed(rig, driven, "ipv6_to_ipv4", least_drops=FRAMES // 10):
        makers = (random_ipv6, lambda dice: mutated(dice, good_ipv6(dice)))
        flood(rig.near.packets("lan0"), dice, tuple(_framed(make) for make in makers))


def test_noise_from_the_host(rig: Rig, driven: Driven, dice: random.Random) -> None:
    with unimpressed(rig, driven, "ipv4_to_ipv6", least_drops=FRAMES // 10):
        makers = (random_ipv4, lambda dice: mutated(dice, good_ipv4(dice)))
        flood(rig.host.packets(driven.device, IPV4), dice, makers)


def test_noise_of_no_family_from_the_host(rig: Rig, driven: Driven, dice: random.Random) -> None:
    with unimpressed(rig, driven, "ipv4_to_ipv6", least_drops=FRAMES // 10):
        flood(rig.host.packets(driven.device, ANY), dice, (lambda dice: dice.randbytes(dice.randrange(1, 1400)),))


def test_wrong_vnet_headers_from_the_network(rig: Rig, driven: Driven, dice: random.Random) -> None:
    rig.near.run("ethtool", "-K", "lan0", "tx", "on", "tso", "on", "gso", "on")
    with unimpressed(rig, driven, "ipv6_to_ipv4", least_drops=0):
        make = _framed(good_ipv6)
        taken = flood(vnet_socket(rig.near, "lan0", IPV6), dice, (lambda dice: vnet(dice, make(dice), 14),))
        assert taken > FRAMES // 20


def test_wrong_vnet_headers_from_the_host(rig: Rig, driven: Driven, dice: random.Random) -> None:
    with unimpressed(rig, driven, "ipv4_to_ipv6", least_drops=0):
        taken = flood(vnet_socket(rig.host, driven.device, IPV4), dice, (lambda dice: vnet(dice, good_ipv4(dice), 0),))
        assert taken > FRAMES // 20


def _framed(make: Callable[[random.Random], bytes]) -> Callable[[random.Random], bytes]:
    return lambda dice: ETHERNET + make(dice)
