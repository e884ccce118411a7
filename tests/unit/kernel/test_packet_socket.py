# SPDX-License-Identifier: GPL-2.0-or-later
"""The uplink socket's filter, run by the kernel itself on a pair of local sockets (which filters as well)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from clatnm.errors import HostError
from clatnm.kernel import packet_socket
from clatnm.proto.ndp import neighbor_advertisement, neighbor_solicitation, solicited_node

CLAT = IPv6Address("2001:db8:1::c1a7")
# of the same solicited-node group; differs from CLAT in one word only
NEAR = IPv6Address("2001:db9:1::c1a7")
OTHER = IPv6Address("2001:db8:1::77")
ROUTER = IPv6Address("fe80::1")
ALL_NODES = IPv6Address("ff02::1")
MAC = bytes.fromhex("020000000001")
ETHERNET = bytes(12) + b"\x86\xdd"


def udp_to(destination: IPv6Address) -> bytes:
    return struct.pack("!IHBB", 6 << 28, 8, 17, 64) + ROUTER.packed + destination.packed + bytes(8)


def echo_to(destination: IPv6Address) -> bytes:
    return struct.pack("!IHBB", 6 << 28, 8, 58, 64) + ROUTER.packed + destination.packed + bytes((128,)) + bytes(7)


def solicitation(target: IPv6Address, *, destination: IPv6Address | None = None) -> bytes:
    return neighbor_solicitation(source=ROUTER, target=target, link_address=MAC, destination=destination)


def advertisement(target: IPv6Address, destination: IPv6Address) -> bytes:
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
    """Is a packet there after sending it through the filter, and whole?"""
    near, far = pair
    far.send(packet)
    try:
        return near.recv(65536) == packet
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        pytest.param(udp_to(CLAT), True, id="to-clat"),
        pytest.param(echo_to(CLAT), True, id="ping-to-clat"),
        pytest.param(udp_to(OTHER), False, id="to-another-host"),
        pytest.param(udp_to(NEAR), False, id="one-word-differs"),
        pytest.param(solicitation(CLAT), True, id="rfc4861-7.2.2-solicitation"),
        pytest.param(solicitation(CLAT, destination=CLAT), True, id="rfc4861-7.3.3-unicast-probe"),
        pytest.param(solicitation(NEAR), True, id="same-group-cannot-be-told"),
        pytest.param(solicitation(OTHER), False, id="solicitation-for-another"),
        pytest.param(advertisement(CLAT, ALL_NODES), True, id="rfc4862-5.4.4-objection"),
        pytest.param(advertisement(ROUTER, ALL_NODES), True, id="rfc4861-7.2.6-router-moved"),
        pytest.param(advertisement(ROUTER, CLAT), True, id="rfc4861-7.2.4-answer"),
        pytest.param(advertisement(ROUTER, OTHER), False, id="answer-to-another"),
        pytest.param(advertisement(ROUTER, solicited_node(CLAT)), False, id="advertisement-to-our-group"),
        pytest.param(solicitation(CLAT, destination=ALL_NODES), False, id="solicitation-to-all-nodes"),
        pytest.param(echo_to(ALL_NODES), False, id="ping-to-all-nodes"),
        pytest.param(echo_to(solicited_node(CLAT)), False, id="ping-to-our-group"),
        pytest.param(udp_to(solicited_node(CLAT)), False, id="udp-to-our-group"),
        pytest.param(udp_to(CLAT)[:30], False, id="cut-short"),
        pytest.param(solicitation(CLAT)[:40], False, id="icmpv6-without-type"),
    ],
)
def test_filter_on_ethernet(pair: tuple[socket.socket, socket.socket], packet: bytes, wanted: bool) -> None:
    packet_socket.refilter(pair[0], CLAT, link_layer=True)
    assert passes(pair, ETHERNET + packet) is wanted


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        pytest.param(udp_to(CLAT), True, id="to-clat"),
        pytest.param(udp_to(OTHER), False, id="to-another-host"),
        pytest.param(solicitation(CLAT), False, id="no-neighbours-here"),
    ],
)
def test_filter_without_link_layer(pair: tuple[socket.socket, socket.socket], packet: bytes, wanted: bool) -> None:
    packet_socket.refilter(pair[0], CLAT, link_layer=False)
    assert passes(pair, packet) is wanted


def test_refilter_replaces_the_address(pair: tuple[socket.socket, socket.socket]) -> None:
    packet_socket.refilter(pair[0], CLAT, link_layer=True)
    packet_socket.refilter(pair[0], OTHER, link_layer=True)
    assert passes(pair, ETHERNET + udp_to(OTHER))
    assert not passes(pair, ETHERNET + udp_to(CLAT))


def test_refilter_of_a_closed_socket_raises_host_error() -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.close()
    with pytest.raises(HostError) as caught:
        packet_socket.refilter(sock, CLAT, link_layer=True)
    assert caught.value.errno == errno.EBADF


def test_join_on_a_missing_link_names_the_address() -> None:
    with pytest.raises(HostError) as caught:
        packet_socket.join_solicited_node(2**31 - 1, CLAT)
    assert caught.value.errno == errno.ENODEV
    assert str(CLAT) in caught.value.what
    assert "gone" in caught.value.hint


def test_join_twice_is_one_membership() -> None:
    loopback = socket.if_nametoindex("lo")
    with packet_socket.join_solicited_node(loopback, CLAT) as sock:
        assert packet_socket.join_solicited_node(loopback, CLAT, sock=sock) is sock
        assert packet_socket.join_solicited_node(loopback, OTHER, sock=sock) is sock


@pytest.mark.parametrize(
    ("hardware", "large"), [(1, True), (512, False), (65534, True)], ids=["ethernet", "ppp", "none"]
)
def test_large_packets_are_not_for_ppp(monkeypatch: pytest.MonkeyPatch, hardware: int, large: bool) -> None:
    def ioctl(sock: socket.socket, request: int, data: bytes) -> bytes:
        assert (request, data.rstrip(b"\0")) == (0x8927, b"wan0")
        return data[:16] + struct.pack("=H", hardware) + bytes(22)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert packet_socket.sends_large("wan0") is large


@pytest.mark.parametrize(
    ("kind", "flags", "large"),
    [
        pytest.param("vlan", 1 << 7, True, id="vlan-tagged-by-the-device"),
        pytest.param("vlan", 0, False, id="vlan-tagged-by-the-kernel"),
        pytest.param("vlan", None, False, id="vlan-of-another-namespace"),
        pytest.param("ethernet", 0, True, id="no-vlan"),
    ],
)
def test_large_packets_are_for_vlans_only_where_the_device_tags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, flags: int | None, large: bool
) -> None:
    def ioctl(sock: socket.socket, request: int, data: bytes) -> bytes:
        match request:
            case 0x8927:  # SIOCGIFHWADDR
                return data[:16] + struct.pack("=H", 1) + bytes(22)
            case 0x8982 if kind == "vlan":  # SIOCGIFVLAN
                assert struct.unpack_from("=i24s", data) == (8, b"wan0.5".ljust(24, b"\0"))
                return data[:28] + b"wan0".ljust(28, b"\0")
            case 0x8946 if flags is not None:  # SIOCETHTOOL
                name, at = struct.unpack_from("16sP", data)
                answer = ctypes.cast(at, ctypes.POINTER(ctypes.c_uint32))
                assert (name.rstrip(b"\0"), answer[0]) == (b"wan0", 0x25)
                answer[1] = flags
                return data
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(packet_socket, "_VLANS", tmp_path)
    assert packet_socket.sends_large("wan0.5") is large


def test_kernel_is_not_made_to_look_for_its_vlan_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ioctl(sock: socket.socket, request: int, data: bytes) -> bytes:
        assert request == 0x8927
        return data[:16] + struct.pack("=H", 1) + bytes(22)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(packet_socket, "_VLANS", tmp_path / "absent")
    assert packet_socket.sends_large("wan0")


def test_large_packets_are_asked_of_the_kernel() -> None:
    assert packet_socket.sends_large("lo")
    with pytest.raises(HostError, match="cannot look at nowhere"):
        packet_socket.sends_large("nowhere")
