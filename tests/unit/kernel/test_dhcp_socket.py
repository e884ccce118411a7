# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket that overhears DHCPv4: refusals anywhere, the rest between the two ends of a cable in a namespace."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clatnm.errors import HostError
from clatnm.kernel.dhcp_socket import DhcpSocket
from tests.lab.poll import eventually
from tests.unit.dhcp4_messages import ACK, MAC, NAK, OFFER, REQUEST, answer, body, kind, packet, question
from tests.unit.kernel.namespace import in_new_netns, ip, ip_json

REPOSITORY = Path(__file__).resolve().parents[3]
OTHER_MAC = bytes.fromhex("020000000006")
LAST_BYTE_DIFFERS, FIRST_BYTE_DIFFERS = MAC[:5] + b"\x55", b"\x06" + MAC[1:]
BROADCAST = b"\xff" * 6
IPV4, IPV6, VLAN = 0x0800, 0x86DD, 0x8100

Told = tuple[bytes, bool]


# Refusals


@pytest.mark.parametrize("number", [errno.EPERM, errno.EAFNOSUPPORT])
def test_refused_socket_says_what_it_takes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(HostError, match="cannot overhear DHCPv4") as caught:
        DhcpSocket(1, MAC)
    assert caught.value.errno == number
    assert "AF_PACKET" in caught.value.hint or "CAP_NET_RAW" in caught.value.hint


@pytest.mark.root
def test_socket_on_a_missing_link_is_a_host_error() -> None:
    with pytest.raises(HostError) as caught:
        DhcpSocket(2**31 - 1, MAC)
    assert caught.value.errno in (errno.ENODEV, errno.ENXIO)


@pytest.mark.root
def test_raw_capability_alone_is_enough() -> None:
    code = f"from clatnm.kernel.dhcp_socket import DhcpSocket; DhcpSocket(1, bytes({list(MAC)})); print('open')"
    bounded = ["setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all", sys.executable, "-c", code]
    result = subprocess.run(bounded, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("open\n", "")


# In a namespace


class Cable:
    """A link `up0` with a listener, and a peer who is the network. Both ends can send any frame."""

    def __init__(self, ear: DhcpSocket, host: socket.socket, peer: socket.socket) -> None:
        self.ear, self._host, self._peer = ear, host, peer

    def sent(self, content: bytes, *, ethertype: int = IPV4) -> None:
        """The host sends."""
        self._host.send(BROADCAST + MAC + struct.pack("!H", ethertype) + content)

    def arrives(self, content: bytes, *, ethertype: int = IPV4, to: bytes = MAC, tag: int | None = None) -> None:
        """The network sends."""
        tagged = b"" if tag is None else struct.pack("!HH", VLAN, tag)
        self._peer.send(to + OTHER_MAC + tagged + struct.pack("!H", ethertype) + content)

    def hears(self) -> list[Told]:
        """All that was let through before a last message which is."""
        last = answer(NAK, xid=0xFFFFFFFF)
        self.arrives(last)
        told: list[Told] = []

        def check() -> bool:
            told.extend(self.ear.heard())
            return bool(told) and told[-1] == (last, False)

        eventually(check, message="the last message")
        return told[:-1]


def wait_for_carrier() -> None:
    eventually(lambda: ip_json("link show up0")[0]["operstate"] == "UP", message="a carrier")


@contextmanager
def cable() -> Iterator[Cable]:
    # Silent but for the tests, and promiscuous, so that frames for others come up to the filter.
    ip(f"link add up0 address {MAC.hex(':')} type veth peer name far", "link set up0 promisc on addrgenmode none")
    ip("link set far addrgenmode none up", "link set up0 up")
    wait_for_carrier()
    host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    peer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    ear = DhcpSocket(socket.if_nametoindex("up0"), MAC)
    with host, peer:
        host.bind(("up0", 0))
        peer.bind(("far", 0))
        yield Cable(ear, host, peer)
    ear.close()


@pytest.mark.root
def test_client_and_server_are_heard_and_told_apart() -> None:
    discover, offer, request, ack = question(), answer(OFFER), question(REQUEST, how="chosen"), answer(ACK)

    def work() -> list[Told]:
        with cable() as wire:
            wire.sent(discover)
            wire.arrives(offer, to=BROADCAST)
            wire.sent(request)
            wire.arrives(ack)
            return wire.hears()

    assert in_new_netns(work) == [(discover, True), (offer, False), (request, True), (ack, False)]


@pytest.mark.root
def test_udp_socket_of_a_client_is_heard_with_its_ip_header() -> None:
    payload = body(kind(1))

    def work() -> list[Told]:
        with cable() as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"up0")
            client.bind(("", 68))
            client.sendto(payload, ("255.255.255.255", 67))
            return wire.hears()

    ((told, outgoing),) = in_new_netns(work)
    assert (told[0], told[28:], outgoing) == (0x45, payload, True)


@pytest.mark.root
@pytest.mark.parametrize(
    ("content", "way"),
    [
        pytest.param(packet(body(kind(1)), ports=(68, 53)), "sent", id="another-port"),
        pytest.param(packet(body(kind(1)), protocol=6), "sent", id="tcp"),
        pytest.param(packet(body(kind(1)), fragment=0x2000), "sent", id="first-fragment"),
        pytest.param(packet(body(kind(1)), fragment=40), "sent", id="later-fragment"),
        pytest.param(question(mac=LAST_BYTE_DIFFERS), "sent", id="question-of-another-client"),
        pytest.param(answer(OFFER), "sent", id="answer-of-this-host"),
        pytest.param(question(), "arrives", id="question-from-the-network"),
        pytest.param(answer(OFFER, mac=LAST_BYTE_DIFFERS), "arrives", id="answer-to-another-client"),
        pytest.param(answer(OFFER, mac=FIRST_BYTE_DIFFERS), "arrives", id="answer-to-yet-another"),
        pytest.param(answer(OFFER)[:61], "arrives", id="cut-in-chaddr"),
        pytest.param(b"\x45", "arrives", id="one-byte"),
    ],
)
def test_anything_else_wakes_nobody(content: bytes, way: str) -> None:
    def work() -> list[Told]:
        with cable() as wire:
            getattr(wire, way)(content)
            return wire.hears()

    assert in_new_netns(work) == []


@pytest.mark.root
@pytest.mark.parametrize(
    ("ethertype", "to", "tag", "heard"),
    [
        pytest.param(IPV6, MAC, None, False, id="not-ipv4"),
        pytest.param(IPV4, OTHER_MAC, None, False, id="for-another-host"),
        pytest.param(IPV4, MAC, 5, False, id="in-a-vlan"),
        pytest.param(IPV4, MAC, 0xA000, True, id="802.1q-priority-only"),
        pytest.param(IPV4, BROADCAST, None, True, id="broadcast"),
    ],
)
def test_frame_around_an_answer_decides(ethertype: int, to: bytes, tag: int | None, heard: bool) -> None:
    offer = answer(OFFER)

    def work() -> list[Told]:
        with cable() as wire:
            wire.arrives(offer, ethertype=ethertype, to=to, tag=tag)
            return wire.hears()

    assert in_new_netns(work) == [(offer, False)] * heard


@pytest.mark.root
def test_ip_options_move_what_is_looked_at() -> None:
    offer = packet(body(kind(OFFER), op=2), ports=(67, 68), ip_options=b"\1" * 12)

    def work() -> list[Told]:
        with cable() as wire:
            wire.arrives(offer)
            return wire.hears()

    assert in_new_netns(work) == [(offer, False)]


@pytest.mark.root
def test_another_link_is_not_heard() -> None:
    def work() -> list[Told]:
        with cable() as wire:
            ip(f"link add up1 address {MAC.hex(':')} type veth peer name far1", "link set up1 addrgenmode none up")
            ip("link set far1 addrgenmode none up")
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as other:
                other.bind(("up1", 0))
                other.send(BROADCAST + MAC + struct.pack("!H", IPV4) + question())
            return wire.hears()

    assert in_new_netns(work) == []


@pytest.mark.root
def test_listening_survives_a_link_that_goes_down_and_up() -> None:
    discover = question()

    def work() -> list[Told]:
        with cable() as wire:
            ip("link set up0 down")
            assert list(wire.ear.heard()) == []
            ip("link set up0 up")
            wait_for_carrier()
            wire.sent(discover)
            return wire.hears()

    assert in_new_netns(work) == [(discover, True)]


@pytest.mark.root
def test_link_that_is_gone_is_silent() -> None:
    def work() -> list[Told]:
        with cable() as wire:
            ip("link del up0")
            return list(wire.ear.heard())

    assert in_new_netns(work) == []


@pytest.mark.root
def test_flood_is_read_in_pieces() -> None:
    def work() -> tuple[int, int]:
        with cable() as wire:
            for xid in range(100):
                wire.sent(question(xid=xid))
            first = len(list(wire.ear.heard()))
            return first, len(wire.hears())

    first, rest = in_new_netns(work)
    assert first == 64
    assert rest > 0
