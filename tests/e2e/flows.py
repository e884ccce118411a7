# SPDX-License-Identifier: GPL-2.0-or-later
"""Downloads of the lab's host that go on while something happens, checked to the byte; and packets on the wire."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network

from clatnm.proto.checksum import checksum
from tests.lab import inet
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.within import Within

PIECE_BYTES, PAUSE_S = 16 << 10, 0.005
SIZE_BYTES = 128 << 20
CLAT_ADDRESSES = IPv4Network("192.0.0.0/29")
_IPV4 = 0x0800
_KEPT = 4  # pieces in the socket: with more, what has come long ago would pass for what comes


class Download:
    """One TCP connection; it moves at a walk, until `end` is called."""

    def __init__(self, host: Namespace, address: str, *, pause_s: float = PAUSE_S) -> None:
        self.done = 0
        self.source = ""
        self.longest_s = 0.0
        """The longest time in which nothing came, but for what the socket had kept: few pieces."""
        self._pause_s = pause_s
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=1)
        self._result = self._threads.submit(self._run, host, address)

    def _run(self, host: Namespace, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with Within.of(host).sock(family, socket.SOCK_STREAM, timeout_s=15) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KEPT * PIECE_BYTES)
            sock.connect((address, inet.WEB_PORT))
            self.source = sock.getsockname()[0]
            web = http.client.HTTPConnection(address)
            web.sock = sock
            web.request("GET", f"/bytes/{SIZE_BYTES}")
            answer = web.getresponse()
            digest = hashlib.sha256()
            while piece := self._read(answer):
                digest.update(piece)
                self.done += len(piece)
                self._over.wait(self._pause_s)
            assert (self.done, digest.hexdigest()) == (SIZE_BYTES, answer.headers["X-Sha256"])

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        began = time.monotonic()
        piece = answer.read(PIECE_BYTES)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        return piece

    def further(self, count: int = 1 << 20, *, timeout_s: float = 10.0) -> None:
        """Wait until so many more bytes have come."""
        goal = self.done + count
        assert goal < SIZE_BYTES, "it was at its end"
        eventually(lambda: self._result.done() or self.done >= goal, timeout_s=timeout_s, message=f"{count} more bytes")
        assert self.done >= goal, self._result.exception()

    def end(self) -> None:
        """The rest in haste; all has arrived as it was sent."""
        self._over.set()
        self._result.result(timeout=60)

    def close(self) -> None:
        self._over.set()
        self._threads.shutdown(wait=False)


@contextlib.contextmanager
def download(host: Namespace, address: str, *, pause_s: float = PAUSE_S) -> Iterator[Download]:
    """A download that is under way; a pause between two pieces makes it last."""
    with contextlib.closing(Download(host, address, pause_s=pause_s)) as flow:
        eventually(lambda: flow.done, message=f"the download from {address} begins")
        yield flow


def source_of_new(host: Host, address: str) -> str:
    """The host's own address on a TCP connection that begins now, and gets an answer."""
    with Within.of(host).sock(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((address, inet.WEB_PORT))
        web = http.client.HTTPConnection(address)
        web.sock = sock
        web.request("GET", "/")
        assert web.getresponse().status == http.HTTPStatus.OK
        return str(sock.getsockname()[0])


@contextlib.contextmanager
def astray(lab: Lab) -> Iterator[Callable[[], int]]:
    """Called: how many IPv4 packets with a CLAT's address have come to A's router since the last call."""
    mark = _mark()
    with Within.of(lab.a).packets("lan", _IPV4) as ear, Within.of(lab.host).packets("up0") as wire:

        def count() -> int:
            wire.send(mark)
            wrong = 0
            while (frame := ear.recv(65535)) != mark:
                wrong += any(IPv4Address(frame[at : at + 4]) in CLAT_ADDRESSES for at in (26, 30))
            return wrong

        yield count


def _mark() -> bytes:
    """A frame to everybody that is like no other; the bridge wants a sound IPv4 packet of it."""
    body = os.urandom(26)
    header = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(body), 0, 1, 253, 0)  # RFC 3692 2.1: protocol 253
    header += IPv4Address("169.254.0.1").packed + IPv4Address("169.254.0.2").packed
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return bytes.fromhex("ffffffffffff02000000dead") + _IPV4.to_bytes(2, "big") + header + body
