# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands the page of metrics out by HTTP, on a unix or loopback socket: `GET /metrics` and nothing else.

Whoever is on this machine may connect, so everything is bounded: how long a request may be and take, and how many there
are at a time. Who is slow gives way to who comes. An answer ends its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from clatnm.config_metrics import host_and_port
from clatnm.log import Message, about
from clatnm.metrics.families import CONTENT_TYPE
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 8192
MAX_AT_ONCE = 8
PATIENCE_S = 10.0
_RETRY_S = 30.0
_MAX_UNREAD = 32  # pieces of a request that is too long; who sends more does not hear why it is refused
_PATH = "/metrics"
_END = b"\r\n\r\n"
# A page that a browser has from elsewhere can have a name of its own lead here; it cannot have it be one of these.
_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_STATUS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}
_HINTS = {
    errno.EAFNOSUPPORT: "the service may not use this address family, see RestrictAddressFamilies in clatnm.service;"
    " [::1]:PORT, or a path",
    errno.EACCES: "a port of 1024 or more, or a path in /run/clatnm",
    errno.EROFS: "a path in /run/clatnm; the service may write nowhere else",
}


class Listener:
    """`page` gives the text; `want` says where, as often as one likes."""

    def __init__(self, page: Callable[[], Awaitable[str]]) -> None:
        self._page = page
        self._place = ""
        self._work: asyncio.Task[None] | None = None
        self._busy: dict[asyncio.Task[None], bool] = {}
        """In the order in which they came; True for those that wait for us, and not we for them."""

    def want(self, place: str) -> None:
        """Listen there from now on, and no longer elsewhere; "" for nowhere."""
        if place == self._place:
            return
        before, self._place = self._work, place
        if before is not None:
            before.cancel()
        self._work = asyncio.ensure_future(self._keep(place, before)) if place or before else None

    async def close(self) -> None:
        """Stop listening, and leave no socket behind."""
        self.want("")
        if self._work is not None:
            await asyncio.wait({self._work})

    async def _keep(self, place: str, before: asyncio.Task[None] | None) -> None:
        """Listen until cancelled. What was before has ended then, so that it takes no new socket away."""
        if before is not None:
            await asyncio.wait({before})
        if not place:
            return
        server = await self._open(place)
        mine = _identity(place)
        log.info("metrics are at %s", place, extra=about(Message.METRICS_SERVED, place=place))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for task in self._busy:
                task.cancel()
            if mine is not None and _identity(place) == mine:
                with contextlib.suppress(OSError):
                    _remove(place)

    async def _open(self, place: str) -> asyncio.AbstractServer:
        """The server, sooner or later: at boot, an address may come after us."""
        complained = False
        while True:
            try:
                listening = _socket(place)
                return await asyncio.start_server(self._meet, sock=listening, limit=MAX_HEAD_BYTES)
            except OSError as error:
                if not complained:
                    hint = _HINTS.get(error.errno or 0, "clatnm.conf(5) says what `metrics` can be")
                    told = about(Message.METRICS_UNAVAILABLE, place=place)
                    log.warning("metrics cannot be at %s: %s (%s)", place, error.strerror, hint, extra=told)
                complained = True
                await asyncio.sleep(_RETRY_S)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._busy) >= MAX_AT_ONCE and not self._make_way():
            writer.transport.abort()  # an answer would take somebody to see it off
            return
        task = asyncio.current_task()
        assert task is not None
        self._busy[task] = False
        try:
            await wait_for(self._converse(reader, writer, task), PATIENCE_S)
            writer.close()
        except (asyncio.TimeoutError, OSError):
            writer.transport.abort()  # what it does not read is not kept for it
        except asyncio.CancelledError:  # only by `_keep`, which is at its end, and for somebody who came later
            writer.transport.abort()
        finally:
            self._busy.pop(task, None)

    def _make_way(self) -> bool:
        """Send away who has asked nothing, or read nothing, for longest; False where all wait for us."""
        slow = next((task for task, waits in self._busy.items() if not waits), None)
        if slow is None:
            return False
        del self._busy[slow]
        slow.cancel()
        return True

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]
    ) -> None:
        try:
            head = await reader.readuntil(_END)
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            status, head = 431, b""
        else:
            status = judge(head, local=self._place.startswith("/"))
        body = ""
        if status == 200:
            self._busy[task] = True
            try:
                body = await self._page()
            except Exception:  # a bug: this answer fails, and nothing else
                log.exception("metrics")
                status = 500
            self._busy[task] = False
        writer.write(_response(status, body, without_body=head.startswith(b"HEAD ")))
        await writer.drain()
        if status == 431:  # closed with something unread, the connection would be reset, and the answer lost
            writer.write_eof()
            for _ in range(_MAX_UNREAD):
                if not await reader.read(MAX_HEAD_BYTES):
                    break


def judge(head: bytes, *, local: bool) -> int:
    """The HTTP status that a request deserves. `local`: it came by a unix socket, where any host may be named."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[0].isalpha():
        return 400
    hosts = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("host:")]
    if len(hosts) > 1:
        return 400
    if hosts and not local and _name_of(hosts[0]) not in _OWN_NAMES:
        return 403
    if words[1].partition("?")[0] != _PATH:
        return 404
    return 200 if words[0] in ("GET", "HEAD") else 405


def _name_of(host: str) -> str:
    """`[::1]:9864` → `::1`, `localhost:9864` → `localhost`; "" for what is no host."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name if not rest or rest.startswith(":") else ""
    return host.partition(":")[0].lower()


def _response(status: int, body: str, *, without_body: bool = False) -> bytes:
    data = (body or f"{_STATUS[status]}\n").encode()
    kind = CONTENT_TYPE if status == 200 else "text/plain; charset=utf-8"
    lines = [
        f"HTTP/1.1 {status} {_STATUS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(data)}",
        *(["Allow: GET, HEAD"] if status == 405 else []),
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + _END + (b"" if without_body else data)


def _socket(place: str) -> socket.socket:
    """A socket bound there. OSError."""
    path = Path(place) if place.startswith("/") else None
    family = socket.AF_UNIX if path else socket.AF_INET6 if place.startswith("[") else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if path is None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(host_and_port(place))
        else:
            _make_room(path)
            # As with `clatnm status`, everybody may ask; the names of networks are not in it.
            before = os.umask(0o111)
            try:
                listening.bind(place)
            finally:
                os.umask(before)
        listening.listen(MAX_AT_ONCE)
    except BaseException:
        listening.close()
        raise
    return listening


def _make_room(path: Path) -> None:
    """The directory, and the socket of a daemon that was killed taken away. OSError."""
    if not path.parent.exists():
        path.parent.mkdir()
        path.parent.chmod(0o755)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def _remove(place: str) -> None:
    Path(place).unlink()


def _identity(place: str) -> tuple[int, int] | None:
    """Tells our socket from another one of the same name; None where there is none."""
    if not place.startswith("/"):
        return None
    try:
        told = os.lstat(place)
    except OSError:
        return None
    return told.st_dev, told.st_ino
