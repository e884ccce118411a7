# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket that pings through one link: refusals anywhere, the rest in a namespace with a forged other end."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

import pytest

from clatnm.errors import HostError
from clatnm.kernel.echo import EchoError, EchoReply, EchoSocket
from tests.lab.poll import eventually
from tests.unit.kernel.namespace import in_new_netns, ip, sysctl, wait_sending

HERE, ROUTER = IPv6Address("2001:db8::5"), IPv6Address("2001:db8::1")
TARGET, OTHER = IPv6Address("64:ff9b::101:101"), IPv6Address("64:ff9b::808:808")
ETH_P_IPV6 = 0x86DD
ECHO_REQUEST, ECHO_REPLY, UNREACHABLE, TIME_EXCEEDED = 128, 129, 1, 3


@pytest.mark.parametrize("number", [errno.EPERM, errno.EAFNOSUPPORT])
def test_refused_socket_is_a_host_error(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(HostError, match="ping: ") as caught:
        EchoSocket("eth0")
    assert caught.value.errno == number


# In a namespace


def packet(message: bytes, *, source: IPv6Address, destination: IPv6Address = HERE) -> bytes:
    """An IPv6 packet with a right checksum."""
    data = source.packed + destination.packed + struct.pack("!II", len(message), 58) + message
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    body = message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 64) + source.packed + destination.packed + body


def reply_to(ping: bytes, *, source: IPv6Address = TARGET) -> bytes:
    return packet(bytes((ECHO_REPLY, 0, 0, 0)) + ping[44:], source=source)


def error_about(quoted: bytes, *, kind: int = UNREACHABLE, code: int = 0, source: IPv6Address = ROUTER) -> bytes:
    return packet(bytes((kind, code, 0, 0, 0, 0, 0, 0)) + quoted, source=source)


class FarEnd:
    """The other end of up0's cable, below IPv6."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IPV6))
        self._socket.bind(("p0", ETH_P_IPV6))
        self._socket.setblocking(False)

    def pings(self) -> list[bytes]:
        """The echo requests that arrived since the last call, with their IPv6 headers."""
        heard: list[bytes] = []
        while True:
            try:
                frame = self._socket.recv(2000)
            except BlockingIOError:
                return heard
            if frame[20] == 58 and frame[54] == ECHO_REQUEST:
                heard.append(frame[14:])

    def send(self, *packets: bytes) -> None:
        for data in packets:
            self._socket.send(bytes.fromhex("020000000005" + "020000000001" + "86dd") + data)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def plugged() -> Iterator[tuple[EchoSocket, FarEnd]]:
    for name in ("accept_dad", "router_solicitations", "accept_ra"):
        sysctl(f"ipv6/conf/default/{name}", 0)
    ip("link add up0 address 02:00:00:00:00:05 type veth peer name p0", "link set p0 up", "link set up0 up")
    wait_sending("p0")
    ip(f"addr add {HERE}/64 dev up0 nodad", "neigh add fe80::1 lladdr 02:00:00:00:00:01 dev up0")
    ip("route add default via fe80::1 dev up0")
    echo, far = EchoSocket("up0"), FarEnd()
    yield echo, far
    echo.close()
    assert echo.fileno() < 0
    far.close()


def ping(echo: EchoSocket, far: FarEnd, destination: IPv6Address = TARGET, sequence: int = 7) -> bytes:
    echo.ask(destination, sequence)
    (sent,) = eventually(far.pings, message="the ping")
    return sent


def readable(echo: EchoSocket) -> bool:
    """Something waits: what an event loop asks before it calls the reader."""
    poll = select.epoll()
    poll.register(echo.fileno(), select.EPOLLIN)
    try:
        return bool(poll.poll(0))
    finally:
        poll.close()


@pytest.mark.root
def test_ping_goes_out_from_the_links_address_and_its_reply_is_heard() -> None:
    def work() -> tuple[bytes, list[EchoReply]]:
        with plugged() as (echo, far):
            sent = ping(echo, far)
            far.send(reply_to(sent))
            return sent, eventually(lambda: list(echo.replies()), message="the reply")

    sent, replies = in_new_netns(work)
    assert (IPv6Address(sent[8:24]), IPv6Address(sent[24:40])) == (HERE, TARGET)
    assert sent[7] == 64  # the hop limit
    assert replies == [EchoReply(source=TARGET, sequence=7)]


@pytest.mark.root
def test_reply_to_what_nobody_asked_is_not_heard() -> None:
    def work() -> list[EchoReply]:
        with plugged() as (echo, far):
            sent = ping(echo, far)
            stranger = sent[:44] + bytes((sent[44] ^ 1,)) + sent[45:]
            guessed = sent[:-1] + bytes((sent[-1] ^ 1,))
            far.send(reply_to(stranger), reply_to(guessed), reply_to(sent[:-1]), reply_to(sent[:48]))
            far.send(packet(bytes((ECHO_REPLY, 0, 0, 0)), source=TARGET), reply_to(sent, source=OTHER))
            return eventually(lambda: list(echo.replies()), message="the reply")

    assert in_new_netns(work) == [EchoReply(source=OTHER, sequence=7)]


@pytest.mark.root
@pytest.mark.parametrize(
    ("kind", "code"),
    [(UNREACHABLE, 0), (UNREACHABLE, 1), (UNREACHABLE, 3), (UNREACHABLE, 6), (TIME_EXCEEDED, 0)],
    ids=lambda number: f"rfc4443-{number}",
)
def test_error_about_a_ping_is_heard_with_its_sender(kind: int, code: int) -> None:
    def work() -> tuple[bool, list[EchoError]]:
        with plugged() as (echo, far):
            far.send(error_about(ping(echo, far), kind=kind, code=code))
            awake = eventually(lambda: readable(echo), message="the reader is woken")
            return awake, list(echo.errors())

    _, errors = in_new_netns(work)
    assert errors == [EchoError(destination=TARGET, sequence=7, kind=kind, code=code, offender=ROUTER)]


@pytest.mark.root
@pytest.mark.parametrize(
    ("keep_bytes", "padding"),
    [
        pytest.param(48, b"", id="rfc792-only-eight-bytes-quoted"),
        pytest.param(52, b"", id="cut-in-the-payload"),
        pytest.param(56, bytes(72), id="rfc4884-5.1-padded"),
    ],
)
def test_error_that_quotes_less_or_more_is_heard(keep_bytes: int, padding: bytes) -> None:
    def work() -> list[EchoError]:
        with plugged() as (echo, far):
            far.send(error_about(ping(echo, far)[:keep_bytes] + padding))
            return eventually(lambda: list(echo.errors()), message="the error")

    assert len(in_new_netns(work)) == 1


@pytest.mark.root
def test_error_about_another_programs_ping_is_not_ours_and_stops_nothing() -> None:
    def work() -> tuple[list[EchoError], list[EchoReply]]:
        with plugged() as (echo, far):
            other = EchoSocket("up0")
            far.send(error_about(ping(other, far, sequence=7)))
            eventually(lambda: readable(echo), message="the kernel tells us of it")
            sent = ping(echo, far, OTHER, sequence=8)  # where the other program's error must not come out
            foreign = list(echo.errors())
            far.send(reply_to(sent, source=OTHER))
            other.close()
            return foreign, eventually(lambda: list(echo.replies()), message="the reply")

    foreign, replies = in_new_netns(work)
    assert foreign == []
    assert replies == [EchoReply(source=OTHER, sequence=8)]


@pytest.mark.root
def test_error_does_not_hide_the_reply_behind_it() -> None:
    def work() -> tuple[list[EchoReply], list[EchoError]]:
        with plugged() as (echo, far):
            first, second = ping(echo, far, sequence=1), ping(echo, far, sequence=2)
            far.send(error_about(first), reply_to(second))
            return eventually(lambda: list(echo.replies()), message="the reply"), list(echo.errors())

    replies, errors = in_new_netns(work)
    assert [reply.sequence for reply in replies] == [2]
    assert [error.sequence for error in errors] == [1]


@pytest.mark.root
def test_next_hop_that_is_not_there_is_an_error_from_this_host() -> None:
    def work() -> list[EchoError]:
        with plugged() as (echo, _):
            for name, value in (("ucast_solicit", 1), ("mcast_solicit", 1), ("retrans_time_ms", 10)):
                sysctl(f"ipv6/neigh/up0/{name}", value)
            ip("neigh del fe80::1 dev up0")
            echo.ask(TARGET, 1)
            return eventually(lambda: list(echo.errors()), message="the kernel gives up")

    (error,) = in_new_netns(work)
    assert (error.offender, error.kind, error.code) == (HERE, UNREACHABLE, 3)


@pytest.mark.root
@pytest.mark.parametrize("command", ["route del default", "link set up0 down", "link del up0"])
def test_ping_that_has_no_way_is_a_host_error(command: str) -> None:
    def work() -> HostError:
        with plugged() as (echo, _):
            ip(f"-6 {command}")
            with pytest.raises(HostError, match="ping: Network is unreachable") as caught:
                echo.ask(TARGET, 1)
            return caught.value

    assert in_new_netns(work).errno == errno.ENETUNREACH


@pytest.mark.root
def test_other_links_default_route_is_not_taken() -> None:
    def work() -> HostError:
        with plugged() as (echo, _):
            ip("link add up1 type veth peer name p1", "link set p1 up", "link set up1 up")
            ip("addr add 2001:db8:1::5/64 dev up1 nodad", "-6 route replace default dev up1", "-6 route flush dev up0")
            with pytest.raises(HostError) as caught:
                echo.ask(TARGET, 1)
            return caught.value

    assert in_new_netns(work).errno == errno.ENETUNREACH


@pytest.mark.root
def test_missing_device_is_a_host_error() -> None:
    def work() -> HostError:
        with pytest.raises(HostError) as caught:
            EchoSocket("nowhere0")
        return caught.value

    assert in_new_netns(work).errno == errno.ENODEV
