# SPDX-License-Identifier: GPL-2.0-or-later
"""Does IPv4 work on this very machine: from sockets of this process, bound to nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator

from tests.lab.inet import ECHO_PORT, WEB_PORT
from tests.lab.poll import eventually
from tests.lab.topology import INET_V4
from tests.machines.inside import ping_once

_BYTES = 1 << 18
_CLOSED_PORT = 9
_SLOW_S, _TIMES = 20.0, 4
_PIECE = b"x" * 1000


def ipv4_works() -> None:
    """Echo, UDP, TCP both ways, and an ICMP error that finds its socket."""
    subprocess.run(ping_once(INET_V4), check=True, capture_output=True)
    for size in (20, 1200, 4000):
        udp_echo(size)
    download()
    assert refused() == errno.ECONNREFUSED


def has_route() -> bool:
    """Whether there is a way to IPv4 at all."""
    return subprocess.run(["ip", "route", "get", str(INET_V4)], check=False, capture_output=True).returncode == 0


def udp_echo(size: int) -> None:
    """A datagram there and back. It is repeated: on clsact a packet may be lost while hooks are hung up."""
    for _ in range(_TIMES - 1):
        with contextlib.suppress(TimeoutError):
            return _exchange(size, patience_s=_SLOW_S / _TIMES)
    return _exchange(size, patience_s=_SLOW_S)


def _exchange(size: int, *, patience_s: float) -> None:
    sent = os.urandom(size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience_s)
        sock.sendto(sent, (str(INET_V4), ECHO_PORT))
        assert sock.recv(65535) == sent


def echoes() -> bool:
    """Whether a datagram comes back within a second."""
    try:
        _exchange(20, patience_s=1.0)
    except OSError:
        return False
    return True


def download() -> None:
    """Over TCP; the hash is right."""
    with urllib.request.urlopen(f"http://{INET_V4}/bytes/{_BYTES}", timeout=_SLOW_S) as answer:
        body = answer.read()
        assert len(body) == _BYTES
        assert hashlib.sha256(body).hexdigest() == answer.headers["X-Sha256"], "the content differs"


def refused() -> int:
    """What a UDP socket hears of a port that nobody listens on: the errno, 0 for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_SLOW_S)
        sock.connect((str(INET_V4), _CLOSED_PORT))
        sock.send(b"anybody there?")
        try:
            sock.recv(1)
        except TimeoutError:
            return 0
        except OSError as error:
            return error.errno or 0
    raise AssertionError("somebody listens there")


class Upload:
    """One TCP connection over which data goes on, and is taken."""

    def __init__(self) -> None:
        self._sock = socket.create_connection((str(INET_V4), WEB_PORT), timeout=_SLOW_S)
        self._sock.sendall(b"PUT /hash HTTP/1.1\r\nHost: inet\r\nContent-Length: 100000000\r\n\r\n")
        self.source = str(self._sock.getsockname()[0])

    def goes_on(self) -> None:
        """More is sent, and acknowledged."""
        self._sock.sendall(_PIECE)
        eventually(lambda: self._unacknowledged() == 0, message="an acknowledgement over the old connection")

    def _unacknowledged(self) -> int:
        information = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int.from_bytes(information[24:28], "little")  # tcpi_unacked

    def close(self) -> None:
        self._sock.close()


@contextlib.contextmanager
def upload() -> Iterator[Upload]:
    """A connection that is in use."""
    with contextlib.closing(Upload()) as flow:
        flow.goes_on()
        yield flow


@contextlib.contextmanager
def restless() -> Iterator[None]:
    """Meanwhile somebody sends over IPv4 without a pause, whether it works or not."""
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            while not over.wait(0.005):
                with contextlib.suppress(OSError):
                    sock.sendto(b"restless", (str(INET_V4), ECHO_PORT))
                with contextlib.suppress(OSError):
                    sock.recv(64)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
