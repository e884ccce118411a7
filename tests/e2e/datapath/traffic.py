# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets by hand: sockets in the host (IPv4) and the server (IPv6), what they send and what they then hear."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.e2e.datapath.rig import CLAT, SERVER, SERVER6, Place, Rig
from tests.lab import inet
from tests.lab.within import Within

# linux/in.h, linux/in6.h, linux/errqueue.h
SO_NO_CHECK = 11
IP_RECVERR, IP_MTU_DISCOVER, IP_MTU, IP_RECVTOS = 11, 10, 14, 13
PMTUDISC_DONT, PMTUDISC_WANT, PMTUDISC_DO, PMTUDISC_PROBE = 0, 1, 2, 3
IPV6_RECVERR, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_MTU_DISCOVER, IPV6_MTU = 25, 66, 67, 23, 24
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err, before the offender's address
MIB = 1 << 20
_BIGGEST = 65535


def udp4(place: Within, *, pmtu: int = PMTUDISC_WANT, device: str | None = None) -> socket.socket:
    """A UDP socket of the IPv4 side. `device`: its packets leave there, whatever the routes say."""
    sock = place.sock(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, pmtu)
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    if device is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    return sock


def udp6(
    place: Place, address: IPv6Address = SERVER6, port: int = 0, *, pmtu: int = PMTUDISC_WANT, **waits: float
) -> socket.socket:
    """A UDP socket of the IPv6 side, bound to an address that stands for an IPv4 one. `waits`: as `Within.sock`."""
    sock = place.sock(socket.AF_INET6, socket.SOCK_DGRAM, **waits)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, pmtu)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
    sock.bind((str(address), port))
    return sock


def port_of(sock: socket.socket) -> int:
    """The port it is bound to."""
    return int(sock.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A datagram as it arrived; `tos` is the TOS octet or the traffic class."""

    data: bytes
    peer: tuple[str, int]
    tos: int | None


def hear(sock: socket.socket) -> Heard:
    """The next datagram; TimeoutError when none comes."""
    data, notes, _, peer = sock.recvmsg(_BIGGEST, 256)
    tos = None
    for level, kind, value in notes:
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_TCLASS):
            (tos,) = struct.unpack("=i", value)
        elif (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS):
            tos = value[0]
    return Heard(data=data, peer=(peer[0], peer[1]), tos=tos)


def exchange(rig: Rig, size: int, *, host: socket.socket | None = None, server: socket.socket | None = None) -> None:
    """A random datagram of `size` bytes to the server, and another one back; both must arrive unchanged."""
    host, server = host or udp4(rig.host), server or udp6(rig.server)
    with host, server:
        there, back = os.urandom(size), os.urandom(size)
        host.sendto(there, (str(SERVER), port_of(server)))
        heard = hear(server)
        assert heard.data == there
        server.sendto(back, heard.peer)
        answer = hear(host)
        assert answer.data == back
        assert answer.peer == (str(SERVER), port_of(server))


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """An ICMP error as a socket's error queue tells it: about which payload, from whom, saying what."""

    errno: int
    kind: int
    code: int
    mtu: int
    offender: IPv4Address | IPv6Address
    data: bytes


def icmp_error(sock: socket.socket) -> IcmpError | None:
    """The next entry of the error queue; None when none comes within the socket's own time."""
    try:
        data, notes, _, _ = sock.recvmsg(_BIGGEST, 512, socket.MSG_ERRQUEUE)
    except (BlockingIOError, TimeoutError):
        return None
    for level, kind, value in notes:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
            offender: IPv4Address | IPv6Address = IPv4Address(value[_EXTENDED_ERROR.size + 4 :][:4])
        elif (level, kind) == (socket.IPPROTO_IPV6, IPV6_RECVERR):
            offender = IPv6Address(value[_EXTENDED_ERROR.size + 8 :][:16])
        else:
            continue
        number, _, icmp_type, icmp_code, _, info, _ = _EXTENDED_ERROR.unpack_from(value)
        return IcmpError(errno=number, kind=icmp_type, code=icmp_code, mtu=info, offender=offender, data=data)
    return None


def download(place: Place, size: int, *, device: str | None = None, server: IPv4Address = SERVER) -> None:
    """Fetch `size` bytes from the server over TCP and check their hash."""
    with web(place, device, server) as connection:
        connection.request("GET", f"/bytes/{size}")
        answer = connection.getresponse()
        body = answer.read()
        assert len(body) == size
        assert hashlib.sha256(body).hexdigest() == answer.headers["X-Sha256"]


def upload(place: Place, size: int, *, device: str | None = None, server: IPv4Address = SERVER) -> None:
    """Send `size` random bytes to the server over TCP; it tells their hash."""
    body = os.urandom(size)
    with web(place, device, server) as connection:
        connection.request("PUT", "/hash", body=body)
        assert connection.getresponse().read().decode().strip() == hashlib.sha256(body).hexdigest()


@contextlib.contextmanager
def web(place: Place, device: str | None = None, server: IPv4Address = SERVER) -> Iterator[http.client.HTTPConnection]:
    """A connection to a web server, from that namespace (and device)."""
    with place.sock(socket.AF_INET, socket.SOCK_STREAM, timeout_s=10) as sock:
        if device is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.connect((str(server), inet.WEB_PORT))
        connection = http.client.HTTPConnection(str(server))
        connection.sock = sock
        yield connection


def ping(place: Place, *options: str, address: str = str(SERVER)) -> None:
    """One echo request; CommandError when it is not answered."""
    place.run("ping", "-c", "1", "-W", "2", *options, address)


def answers(place: Place, *options: str, address: str = str(SERVER)) -> bool:
    """Whether an echo request is answered now."""
    return place.run("ping", "-c", "1", "-W", "0.3", *options, address, check=False).returncode == 0


def peer_of(sock: socket.socket) -> tuple[str, int]:
    """Where the server reaches the host's UDP socket."""
    return str(CLAT), port_of(sock)
