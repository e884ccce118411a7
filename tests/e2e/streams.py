# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered datagrams that go on while something happens: which of them came back, and how long none did."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.within import Within

ECHO_PORT = 9999
_EVERY_S = 0.01
_NUMBER = struct.Struct("!I")


class Stream:
    """From one source port to the echo service, a datagram each 10 ms."""

    def __init__(self, host: Namespace, address: str) -> None:
        self.refused = 0
        self.longest_s = 0.0
        """The longest time in which nothing came back."""
        self._sent = 0
        self._back: set[int] = set()
        self._over = threading.Event()
        self._sock = Within.of(host).sock(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect((address, ECHO_PORT))
        self._sock.settimeout(0.5)
        self._threads = [threading.Thread(target=work) for work in (self._send, self._hear)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self._sock.send(_NUMBER.pack(self._sent))
            except OSError:  # no way there
                self.refused += 1
            self._sent += 1

    def _hear(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                self._back.add(_NUMBER.unpack(self._sock.recv(100))[0])
                now = time.monotonic()
                self.longest_s, last = max(self.longest_s, now - last), now

    def further(self, count: int = 50, *, timeout_s: float = 10.0) -> None:
        """Wait until so many more have come back."""
        goal = len(self._back) + count
        eventually(lambda: len(self._back) >= goal, timeout_s=timeout_s, message=f"{count} more datagrams")

    def lost(self) -> set[int]:
        """Those of all that were sent until now that do not come back, given a little while."""
        sent = set(range(self._sent))
        with contextlib.suppress(AssertionError):
            eventually(lambda: sent <= self._back, timeout_s=3, message="all datagrams are back")
        return sent - self._back

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._sock.close()


@contextlib.contextmanager
def stream(host: Namespace, address: str) -> Iterator[Stream]:
    """Datagrams that are under way."""
    with contextlib.closing(Stream(host, address)) as flow:
        flow.further(1)
        yield flow
