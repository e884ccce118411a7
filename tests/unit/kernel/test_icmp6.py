# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket that hears Router Advertisements and asks for them: refusals anywhere, the rest in a namespace."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

import pytest

from clatnm.errors import HostError
from clatnm.kernel.icmp6 import Received, RouterSocket
from clatnm.proto import ndp
from clatnm.proto.ndp import router_solicitation
from tests.lab.poll import eventually
from tests.unit.kernel.namespace import in_new_netns, ip, sysctl, wait_sending

ROUTER, ALL_NODES, ALL_ROUTERS = IPv6Address("fe80::1"), IPv6Address("ff02::1"), IPv6Address("ff02::2")
MAC = bytes.fromhex("020000000005")
ADVERT, SOLICIT, NEIGHBOUR_ADVERT, ECHO_REPLY = 134, 133, 136, 129
ETH_P_ALL = 3


# Refusals


@pytest.mark.parametrize("number", [errno.EPERM, errno.EAFNOSUPPORT])
def test_refused_socket_says_what_it_takes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(HostError, match="cannot listen for Router Advertisements") as caught:
        RouterSocket()
    assert caught.value.errno == number
    assert "CAP_NET_RAW" in caught.value.hint


# In a namespace


def checksum(data: bytes) -> int:
    """RFC 1071, over whole 16-bit words."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def icmp6(kind: int, *, code: int = 0, size: int = 16) -> bytes:
    return struct.pack("!BBH", kind, code, 0).ljust(size, b"\0")


def packet(
    message: bytes, *, source: IPv6Address = ROUTER, destination: IPv6Address = ALL_NODES, hop_limit: int = 255
) -> bytes:
    """An IPv6 packet with a right checksum."""
    pseudo = source.packed + destination.packed + struct.pack("!II", len(message), 58)
    body = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, hop_limit) + source.packed + destination.packed + body


class Wire:
    """The other end of up0's cable, below IPv6."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind(("p0", ETH_P_ALL))
        self._socket.setblocking(False)

    def send(self, *packets: bytes) -> None:
        for data in packets:
            self._socket.send(bytes.fromhex("333300000001") + bytes.fromhex("020000000009") + b"\x86\xdd" + data)

    def solicitations(self) -> list[tuple[str, bytes, bytes]]:
        """Source address, destination MAC and ICMPv6 message of each Router Solicitation heard since the last call."""
        heard: list[tuple[str, bytes, bytes]] = []
        while True:
            try:
                frame, sender = self._socket.recvfrom(2000)
            except BlockingIOError:
                return heard
            if sender[2] != socket.PACKET_OUTGOING and frame[12:14] == b"\x86\xdd" and frame[54] == SOLICIT:
                assert frame[21] == 255  # RFC 4861 section 6.1.1: else no router listens
                assert frame[38:54] == ALL_ROUTERS.packed
                heard.append((str(IPv6Address(frame[22:38])), frame[:6], frame[54:]))

    def close(self) -> None:
        self._socket.close()


@contextmanager
def plugged(*, tentative: bool = False) -> Iterator[tuple[RouterSocket, Wire, int]]:
    for name, value in (("accept_dad", int(tentative)), ("router_solicitations", 0), ("accept_ra", 0)):
        sysctl(f"ipv6/conf/default/{name}", value)
    sysctl("ipv6/conf/default/dad_transmits", 20)
    ip("link add up0 address 02:00:00:00:00:05 type veth peer name p0", "link set p0 up", "link set up0 up")
    wait_sending("p0")
    router, wire = RouterSocket(), Wire()
    yield router, wire, socket.if_nametoindex("up0")
    router.close()
    assert router.fileno() < 0
    wire.close()


def ask(router: RouterSocket, index: int) -> None:
    router.solicit(
        index,
        from_link_local=router_solicitation(link_address=MAC),
        from_unspecified=ndp.router_solicitation_packet(source=ndp.UNSPECIFIED),
    )


def hear(router: RouterSocket, count: int) -> list[Received]:
    heard: list[Received] = []

    def enough() -> bool:
        heard.extend(router.receive())
        return len(heard) >= count

    eventually(enough, message=f"{count} messages")
    return heard


@pytest.mark.root
def test_advertisement_is_heard_with_link_source_and_hop_limit() -> None:
    def work() -> tuple[list[Received], int]:
        with plugged() as (router, wire, index):
            wire.send(packet(icmp6(ADVERT)), packet(icmp6(ADVERT, code=7), hop_limit=64))
            return hear(router, 2), index

    (first, second), index = in_new_netns(work)
    assert (first.source, first.ifindex, first.hop_limit) == (ROUTER, index, 255)
    assert first.data[:2] == bytes((ADVERT, 0))
    assert len(first.data) == 16
    # The kernel refuses neither the wrong hop limit nor the wrong code; whoever reads must.
    assert (second.hop_limit, second.data[1]) == (64, 7)


@pytest.mark.root
def test_other_messages_and_wrong_checksums_are_not_heard() -> None:
    def work() -> list[Received]:
        with plugged() as (router, wire, _):
            good = packet(icmp6(ADVERT))
            wire.send(
                packet(icmp6(SOLICIT)),
                packet(icmp6(NEIGHBOUR_ADVERT, size=24)),
                packet(icmp6(ECHO_REPLY)),
                good[:-1] + b"\1",
                packet(icmp6(ADVERT, code=9)),
            )
            return hear(router, 1)

    (only,) = in_new_netns(work)
    assert only.data[1] == 9


@pytest.mark.root
def test_nothing_to_hear_is_no_waiting() -> None:
    def work() -> list[Received]:
        with plugged() as (router, _, _):
            return list(router.receive())

    assert in_new_netns(work) == []


@pytest.mark.root
def test_solicitation_goes_out_from_the_link_local_address() -> None:
    def work() -> list[tuple[str, bytes, bytes]]:
        with plugged() as (router, wire, index):
            ask(router, index)
            return eventually(wire.solicitations, message="a solicitation")

    ((source, to, message),) = in_new_netns(work)
    assert source == "fe80::ff:fe00:5"
    assert to == bytes.fromhex("333300000002")
    assert message[8:] == b"\x01\x01" + MAC  # RFC 4861 section 4.6.1: who asks


@pytest.mark.root
def test_solicitation_does_not_wait_for_duplicate_address_detection() -> None:
    def work() -> list[tuple[str, bytes, bytes]]:
        with plugged(tentative=True) as (router, wire, index):
            ask(router, index)
            return eventually(wire.solicitations, message="a solicitation")

    ((source, to, message),) = in_new_netns(work)
    assert source == "::"  # RFC 4862 section 5.4: a tentative address is not used
    assert to == bytes.fromhex("333300000002")
    assert len(message) == 8  # RFC 4861 section 4.1: no link-layer address then
    pseudo = bytes(16) + ALL_ROUTERS.packed + struct.pack("!II", 8, 58)
    assert checksum(pseudo + message) == 0


@pytest.mark.root
def test_own_solicitation_is_not_heard_back() -> None:
    def work() -> list[Received]:
        with plugged() as (router, wire, index):
            ask(router, index)
            eventually(wire.solicitations, message="a solicitation")
            wire.send(packet(icmp6(ADVERT)))
            return hear(router, 1)

    assert len(in_new_netns(work)) == 1


@pytest.mark.root
@pytest.mark.parametrize("trouble", ["gone", "down"])
def test_solicitation_that_cannot_be_sent_is_a_host_error(trouble: str) -> None:
    def work() -> HostError:
        with plugged() as (router, _, index):
            ip("link del up0" if trouble == "gone" else "link set up0 down")
            with pytest.raises(HostError, match="Router Solicitation: ") as caught:
                ask(router, index)
            return caught.value

    assert in_new_netns(work).errno in (errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.ENETUNREACH)
