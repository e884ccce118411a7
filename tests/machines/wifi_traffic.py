# SPDX-License-Identifier: GPL-2.0-or-later
"""Does IPv4 work on the laptop, and how long did it not? Echoes over IPv4 and IPv6, asked for side by side."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import select
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.lab.inet import ECHO_PORT
from tests.lab.topology import INET_V4, INET_V6
from tests.machines.inside import ping_once
from tests.machines.wifi_air import Laptop

PERIOD_S = 0.05
_LAST_ANSWERS_S = 1.0
_DOWNLOAD = 1 << 18
_NUMBER = struct.Struct("!I")


def ipv4_works(laptop: Laptop) -> None:
    """An echo, and a download over TCP whose hash is right; with IPv4 addresses typed in."""
    laptop.run(*ping_once(INET_V4))
    with urllib.request.urlopen(f"http://{INET_V4}/bytes/{_DOWNLOAD}", timeout=60) as answer:
        body = answer.read()
        assert len(body) == _DOWNLOAD
        assert hashlib.sha256(body).hexdigest() == answer.headers["X-Sha256"], "the content differs"


@dataclass
class Asked:
    """When the questions of one kind went out, which of them were answered, and when. Times are CLOCK_MONOTONIC
    seconds."""

    family: int
    address: str
    sent: list[float] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)
    heard: list[float] = field(default_factory=list)

    def outage_s(self) -> float:
        """The longest time in which no answer came: what has waited somewhere on its way counts when it is here."""
        times = [self.sent[0], *self.heard, self.sent[-1]]
        return max(after - before for before, after in itertools.pairwise(times))


class Questions:
    """Asks both kinds every 50 ms, from sockets that are bound to nothing, until `stop`."""

    def __init__(self) -> None:
        self.ipv4 = Asked(socket.AF_INET, str(INET_V4))
        self.ipv6 = Asked(socket.AF_INET6, str(INET_V6))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with contextlib.ExitStack() as stack:
            socks = {}
            for kind in (self.ipv4, self.ipv6):
                sock = stack.enter_context(socket.socket(kind.family, socket.SOCK_DGRAM))
                sock.setblocking(False)
                socks[sock] = kind
            due = time.monotonic()
            while not self._over.is_set():
                for sock, kind in socks.items():
                    self._send(sock, kind)
                due += PERIOD_S
                self._listen(socks, until=due)
            self._listen(socks, until=time.monotonic() + _LAST_ANSWERS_S)

    def _send(self, sock: socket.socket, kind: Asked) -> None:
        number = len(kind.sent)
        kind.sent.append(time.monotonic())
        with contextlib.suppress(OSError):  # no route for the moment: nobody will answer it
            sock.sendto(_NUMBER.pack(number), (kind.address, ECHO_PORT))

    def _listen(self, socks: dict[socket.socket, Asked], *, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for sock in select.select(list(socks), [], [], left)[0]:
                with contextlib.suppress(OSError):  # an ICMP error about an earlier one
                    socks[sock].answered.add(_NUMBER.unpack(sock.recv(64))[0])
                    socks[sock].heard.append(time.monotonic())


@contextlib.contextmanager
def asking() -> Iterator[Questions]:
    """While the block runs."""
    questions = Questions()
    try:
        yield questions
    finally:
        questions.stop()
