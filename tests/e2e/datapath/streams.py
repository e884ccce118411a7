# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered datagrams both ways while something happens: whatever is lost, or comes twice, shows."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import OTHER_SERVER6, SERVER, SERVER6, Rig
from tests.lab.poll import eventually

PORT = 5000
PAUSE_S = 0.0005
SMALL, LARGE, LARGE_EACH = 1000, 3000, 16  # bytes, bytes, every so many datagrams a fragmented one
BUFFER_BYTES = 64 << 20
SO_RCVBUFFORCE = 33


class Stream:
    """Numbered datagrams from a thread, until it is told to end; `receivers` hear them."""

    def __init__(self, send: Callable[[bytes], object], receivers: tuple[socket.socket, ...], *, large: int) -> None:
        for receiver in receivers:
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._send = send
        self._receivers = receivers
        self._large = large
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self._heard: list[int] = []
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            size = SMALL if self.sent % LARGE_EACH else self._large
            self._send(self.sent.to_bytes(4, "big") + bytes(size))
            self.sent += 1

    def further(self, count: int = 100) -> None:
        """Wait until so many more were sent."""
        goal = self.sent + count
        eventually(lambda: self.sent >= goal, message=f"datagram {goal}")

    def end(self) -> list[int]:
        """The numbers heard, in the order of their arrival, once the last is among them."""
        self._over.set()
        self._thread.join()

        def complete() -> bool:
            for receiver in self._receivers:
                receiver.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        self._heard.append(int.from_bytes(receiver.recv(4), "big"))
            return len(set(self._heard)) >= self.sent

        with contextlib.suppress(AssertionError):
            eventually(complete, timeout_s=2, message="all have come")
        return self._heard


@contextlib.contextmanager
def streams(rig: Rig, *, large_down: int = LARGE) -> Iterator[tuple[Stream, Stream]]:
    """One up to the server, under whichever prefix; one down, sent under both.

    The first prefix comes again after the second, so that one arrives whichever the change is from and to.
    """
    with (
        traffic.udp4(rig.host) as host,
        traffic.udp4(rig.host) as ear,
        traffic.udp6(rig.server, SERVER6, PORT) as server,
        traffic.udp6(rig.server, OTHER_SERVER6, PORT) as other,
    ):
        ear.bind(("", 0))
        peer = traffic.peer_of(ear)
        up = Stream(lambda data: host.sendto(data, (str(SERVER), PORT)), (server, other), large=LARGE)

        def send_down(data: bytes) -> None:
            for sock in (server, other, server):
                sock.sendto(data, peer)

        down = Stream(send_down, (ear,), large=large_down)
        yield up, down
