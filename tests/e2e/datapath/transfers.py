# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connections that go on while something happens: both ways at once, neither fast nor slow, checked to the byte."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import Place
from tests.lab.poll import eventually

PIECE_BYTES, PAUSE_S = 64 << 10, 0.002
SIZE = 64 * traffic.MIB


class Transfers:
    """A download and an upload; each moves until all is through, at a walk until `end` is called."""

    def __init__(self, place: Place) -> None:
        self.done = {"down": 0, "up": 0}
        self.sources: set[str] = set()
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=2)
        self._results = [self._threads.submit(work, place) for work in (self._download, self._upload)]

    def _download(self, place: Place) -> None:
        with self._web(place) as web:
            web.request("GET", f"/bytes/{SIZE}")
            answer = web.getresponse()
            digest = hashlib.sha256()
            while piece := answer.read(PIECE_BYTES):
                digest.update(piece)
                self._step("down", len(piece))
            assert (self.done["down"], digest.hexdigest()) == (SIZE, answer.headers["X-Sha256"])

    def _upload(self, place: Place) -> None:
        digest = hashlib.sha256()
        noise = os.urandom(PIECE_BYTES)

        def body() -> Iterator[bytes]:
            while self.done["up"] < SIZE:
                piece = self.done["up"].to_bytes(8, "big") + noise[8:]
                digest.update(piece)
                yield piece
                self._step("up", len(piece))

        with self._web(place) as web:
            web.request("PUT", "/hash", body=body(), headers={"Content-Length": str(SIZE)})
            assert web.getresponse().read().decode().strip() == digest.hexdigest()

    @contextlib.contextmanager
    def _web(self, place: Place) -> Iterator[http.client.HTTPConnection]:
        with traffic.web(place) as web:
            self.sources.add(web.sock.getsockname()[0])
            yield web

    def _step(self, way: str, count: int) -> None:
        self.done[way] += count
        self._over.wait(PAUSE_S)

    def further(self, count: int = traffic.MIB) -> None:
        """Wait until so many more bytes have gone each way."""
        goals = {way: done + count for way, done in self.done.items()}
        assert all(goal < SIZE for goal in goals.values()), "they were at their end"

        def reached() -> bool:
            return self._failed() or all(self.done[way] >= goal for way, goal in goals.items())

        eventually(reached, message=f"{count} more bytes each way")
        assert not self._failed()

    def _failed(self) -> bool:
        return any(result.done() for result in self._results)

    def end(self) -> None:
        """The rest in haste; both have arrived as they were sent."""
        self._over.set()
        for result in self._results:
            result.result(timeout=20)

    def close(self) -> None:
        self._over.set()
        self._threads.shutdown(wait=False)


@contextlib.contextmanager
def transfers(place: Place) -> Iterator[Transfers]:
    """Both, under way; at the end of the block both must complete."""
    with contextlib.closing(Transfers(place)) as moving:
        eventually(lambda: all(moving.done.values()), message="both ways begin")
        yield moving
        moving.end()
