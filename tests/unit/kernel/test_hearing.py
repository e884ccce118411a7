# SPDX-License-Identifier: GPL-2.0-or-later
"""How mapped addresses are heard: the filter, run by the kernel itself on local sockets, and the groups."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import HostError
from clatnm.kernel import hearing, packet_filter
from clatnm.kernel.hearing import MAX_COVERS, MAX_GROUPS, covers, solicited_groups
from clatnm.proto.eam import EamTable
from clatnm.proto.ndp import neighbor_advertisement, neighbor_solicitation, solicited_node

OWN, ROUTER = IPv6Address("2001:db8:1::c1a7"), IPv6Address("fe80::1")
ALL_NODES = IPv6Address("ff02::1")
MAC = bytes.fromhex("020000000001")
ETHERNET = bytes(12) + b"\x86\xdd"
TABLE = EamTable(
    (IPv4Network(v4), IPv6Network(v6))
    for v4, v6 in (
        ("192.0.2.1/32", "2001:db8:1::201/128"),
        ("192.0.2.16/28", "2001:db8:2::/62"),
        ("198.51.100.0/24", "2001:db8:3:4:5:6:7:0/120"),
    )
)


def udp_to(destination: str) -> bytes:
    return struct.pack("!IHBB", 6 << 28, 8, 17, 64) + ROUTER.packed + IPv6Address(destination).packed + bytes(8)


def asks_for(target: str) -> bytes:
    return neighbor_solicitation(source=ROUTER, target=IPv6Address(target), link_address=MAC)


def tells_of(target: IPv6Address, destination: IPv6Address) -> bytes:
    return neighbor_advertisement(
        source=target, destination=destination, target=target, link_address=MAC, solicited=False, override=True
    )


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        yield near, far


def passes(pair: tuple[socket.socket, socket.socket], packet: bytes) -> bool:
    near, far = pair
    far.send(packet)
    try:
        return near.recv(65536) == packet
    except BlockingIOError:
        return False


@pytest.mark.parametrize("link_layer", [True, False], ids=["ethernet", "plain"])
@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        pytest.param(udp_to("2001:db8:1::201"), (True, True), id="host"),
        pytest.param(udp_to("2001:db8:1::202"), (False, False), id="beside-the-host"),
        pytest.param(udp_to("2001:db8:2:3:ffff::9"), (True, True), id="last-of-a-62"),
        pytest.param(udp_to("2001:db8:2:4::"), (False, False), id="after-a-62"),
        pytest.param(udp_to("2001:db8:3:4:5:6:7:ff"), (True, True), id="last-of-a-120"),
        pytest.param(udp_to("2001:db8:3:4:5:6:7:100"), (False, False), id="after-a-120"),
        pytest.param(udp_to(str(OWN)), (True, True), id="own"),
        pytest.param(asks_for("2001:db8:1::201"), (True, False), id="rfc4861-7.2.2-solicitation"),
        pytest.param(asks_for("2001:db8:9::9"), (True, False), id="any-solicitation-is-looked-at"),
        pytest.param(tells_of(ROUTER, OWN), (True, True), id="rfc4861-7.2.4-answer"),
        pytest.param(tells_of(OWN, ALL_NODES), (True, False), id="rfc4862-5.4.4-objection"),
        pytest.param(tells_of(OWN, solicited_node(OWN)), (False, False), id="advertisement-to-a-group"),
        pytest.param(udp_to("ff02::1:ff00:201"), (False, False), id="udp-to-a-group"),
        pytest.param(udp_to("2001:db8:1::201")[:30], (False, False), id="cut-short"),
    ],
)
def test_filter_lets_through_what_is_mapped_and_who_asks_for_it(
    pair: tuple[socket.socket, socket.socket], packet: bytes, wanted: tuple[bool, bool], link_layer: bool
) -> None:
    hearing.refilter(pair[0], TABLE, own=OWN, link_layer=link_layer)
    assert passes(pair, (ETHERNET if link_layer else b"") + packet) is wanted[not link_layer]


def test_filter_for_ten_thousand_hosts_passes_each_of_them(pair: tuple[socket.socket, socket.socket]) -> None:
    first = int(IPv6Address("2001:db8:77::1"))
    many = EamTable((IPv4Network(0x0A000000 + 3 * n), IPv6Network(first + 5 * n)) for n in range(10_000))
    hearing.refilter(pair[0], many, own=OWN, link_layer=False)
    for number in range(0, 10_000, 97):
        assert passes(pair, udp_to(str(IPv6Address(first + 5 * number))))
    assert not passes(pair, udp_to("2001:db8:78::1"))
    assert not passes(pair, udp_to("2001:db8:1::201"))


def test_longest_filter_is_not_too_long(pair: tuple[socket.socket, socket.socket]) -> None:
    """Jumps in it go 255 instructions far at most."""
    worst = [
        IPv6Network((number * 0x11111111_11111111_11111111_11111111, 127), strict=False) for number in range(1, 13)
    ]
    assert len(covers(worst)) == MAX_COVERS
    packet_filter.attach(pair[0], hearing.filter_program(worst, link_layer=True))
    assert all(passes(pair, ETHERNET + udp_to(str(network[1]))) for network in worst)


def test_refilter_of_a_closed_socket_raises_host_error() -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.close()
    with pytest.raises(HostError, match="the filter"):
        hearing.refilter(sock, TABLE, own=OWN, link_layer=True)


networks = st.lists(
    st.builds(
        lambda number, length: IPv6Network((number, length), strict=False),
        st.integers(0, 2**128 - 1) | st.integers(0x20010DB8 << 96, (0x20010DB8 << 96) + 5000),
        st.integers(0, 128) | st.just(128),
    ),
    min_size=1,
    max_size=60,
)


@given(networks)
def test_covers_are_few_and_contain_everything(given: list[IPv6Network]) -> None:
    found = covers(given)
    assert 0 < len(found) <= MAX_COVERS
    assert all(any(network.subnet_of(cover) for cover in found) for network in given)
    assert list(collapse_addresses(found)) == found


@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=MAX_COVERS, unique=True))
def test_covers_of_few_hosts_are_the_hosts(given: list[int]) -> None:
    assert {address for cover in covers(map(IPv6Network, given)) for address in cover} == set(map(IPv6Address, given))


def test_groups_are_those_of_each_address() -> None:
    four = IPv6Network("2001:db8:1::200/126")
    assert solicited_groups([four, IPv6Network("2001:db8:9::201/128")]) == frozenset(map(solicited_node, four))


@pytest.mark.parametrize("length", [64, 96, 120])
def test_too_many_groups_are_not_listed(length: int) -> None:
    assert solicited_groups([IPv6Network(f"2001:db8::/{length}")]) is None
    assert solicited_groups(IPv6Network(n) for n in range(MAX_GROUPS + 1)) is None
    assert solicited_groups(IPv6Network(n) for n in range(MAX_GROUPS)) is not None
