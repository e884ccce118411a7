# SPDX-License-Identifier: GPL-2.0-or-later
"""One question to the DNS resolvers of one link: who is asked when, over what, and whose answer counts.

What the bytes mean is the query's business. Every resolver keeps its socket until the question is settled, so that
an answer over a slow link counts however late it comes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Protocol

from clatnm.compat import StrEnum
from clatnm.errors import HostError
from clatnm.kernel.bound import connected

Resolver = IPv4Address | IPv6Address

_PORT = 53
_TURN_S = 1.0
_ROUNDS = 3
# Without EDNS an answer has 512 bytes, and no honest one to this question needs more than a few hundred over TCP.
_MAX_ANSWER_BYTES = 4096
_BURST = 16  # datagrams at a time: a flood of forged ones must not keep the daemon from its work


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a resolver says; no prefixes: that there are none. `words` go on from its address: `says NXDOMAIN`."""

    prefixes: tuple[IPv6Network, ...] = ()
    ttl_s: int
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a resolver was no help; `words` go on from its address: `does not answer`."""

    words: str


class Unusable(StrEnum):
    """A message that is no answer yet."""

    UNRELATED = "unrelated"
    """To another question, or forged: go on waiting."""
    TRUNCATED = "truncated"
    """To be asked again over TCP (RFC 1035 section 4.2.1, RFC 7766 section 5)."""


Reading = Answer | Failure | Unusable


class Query(Protocol):
    """A question as bytes, and what bytes that came back mean. `read` never raises."""

    wire: bytes

    def read(self, data: bytes) -> Reading: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the asking ended. With a Failure there is no resolver, and its words name them all."""

    resolver: Resolver | None
    said: Answer | Failure


class _Stream:
    """The question over TCP: one message there, one back, each with its length before it (RFC 1035 section 4.2.2)."""

    def __init__(self, opened: socket.socket, query: Query, ended: Callable[[Answer | Failure], None]) -> None:
        self._socket = opened
        self._query = query
        self._ended = ended
        self._heard = b""
        asyncio.get_running_loop().add_writer(opened.fileno(), self._send)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_writer(self._socket.fileno())
        framed = len(self._query.wire).to_bytes(2, "big") + self._query.wire
        try:
            complete = self._socket.send(framed) == len(framed)
        except OSError as error:  # also what became of the connection
            self._end(_failed(error))
            return
        if complete:
            loop.add_reader(self._socket.fileno(), self._read)
        else:
            self._end(Failure(words="takes no question over TCP"))

    def _read(self) -> None:
        try:
            chunk = self._socket.recv(2 + _MAX_ANSWER_BYTES - len(self._heard))
        except BlockingIOError:
            return
        except OSError as error:
            self._end(_failed(error))
            return
        self._heard += chunk
        size = int.from_bytes(self._heard[:2], "big")
        if not chunk:
            self._end(Failure(words="ends the TCP connection without an answer"))
        elif len(self._heard) >= 2 and size > _MAX_ANSWER_BYTES:
            self._end(Failure(words=f"answers with {size} bytes"))
        elif len(self._heard) >= 2 + size and len(self._heard) >= 2:
            said = self._query.read(self._heard[2 : 2 + size])
            self._end(Failure(words="answers something else") if isinstance(said, Unusable) else said)

    def _end(self, said: Answer | Failure) -> None:
        self.close()
        self._ended(said)


class _Line:
    """One resolver: how it is reached and what it said last."""

    def __init__(
        self,
        resolver: Resolver,
        query: Query,
        *,
        interface: str,
        ifindex: int,
        heard: Callable[[_Line, Answer | Failure], None],
    ) -> None:
        self.resolver = resolver
        self.said: Answer | Failure = Failure(words="does not answer")
        self._query = query
        self._interface = interface
        self._ifindex = ifindex
        self._heard = heard
        self._socket: socket.socket | None = None
        self._stream: _Stream | None = None

    def ask(self) -> Failure | None:
        """Send the question; the Failure when it cannot be sent. Again on the same socket: RFC 5452 section 5."""
        try:
            if self._socket is None:
                self._socket = self._open(socket.SOCK_DGRAM)
                asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
            self._socket.send(self._query.wire)
        except (HostError, OSError) as error:
            self._hang_up()
            return _failed(error)
        return None

    def close(self) -> None:
        self._hang_up()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self, kind: socket.SocketKind) -> socket.socket:
        return connected(kind, self.resolver, _PORT, interface=self._interface, ifindex=self._ifindex)

    def _hang_up(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        for _ in range(_BURST):
            if self._socket is None:  # closed by what was heard
                return
            try:
                data = self._socket.recv(_MAX_ANSWER_BYTES)
            except BlockingIOError:
                return
            except OSError as error:  # ICMPv6 says that nobody is there
                self._hang_up()
                self._heard(self, _failed(error))
                return
            said = self._query.read(data)
            if said is Unusable.TRUNCATED:
                self._ask_at_length()
            elif not isinstance(said, Unusable):
                self._heard(self, said)

    def _ask_at_length(self) -> None:
        if self._stream is not None:
            return
        try:
            self._stream = _Stream(self._open(socket.SOCK_STREAM), self._query, self._streamed)
        except HostError as error:
            self._heard(self, _failed(error))

    def _streamed(self, said: Answer | Failure) -> None:
        self._stream = None
        self._heard(self, said)


class Asking:
    """Asks from the moment it is made until it calls `done`, once, or is closed. `done` is never called at once.

    The resolvers have their turns in order: one second each, less when one fails. Who tells a prefix ends it; who says
    that there is none is believed at the end of the round, unless another one knows better: some networks mix
    resolvers with and without DNS64. After three rounds without either there is no answer.
    """

    def __init__(
        self,
        resolvers: Sequence[Resolver],
        *,
        interface: str,
        ifindex: int,
        query: Callable[[], Query],
        done: Callable[[Outcome], None],
    ) -> None:
        self._lines = [
            _Line(resolver, query(), interface=interface, ifindex=ifindex, heard=self._heard) for resolver in resolvers
        ]
        self._done = done
        self._queue: list[_Line] = []
        self._turn: _Line | None = None
        self._round = 0
        self._timer: asyncio.TimerHandle | None = None
        self.current = resolvers[0]
        """Whose turn it is."""
        self._begin_round()

    def close(self) -> None:
        """Ask no more and hear no more."""
        self._cancel()
        for line in self._lines:
            line.close()

    def _begin_round(self) -> None:
        self._round += 1
        self._queue = list(self._lines)
        self._round_ends = asyncio.get_running_loop().time() + _TURN_S
        self._next()

    def _next(self) -> None:
        """The next one's turn; after the last one's, the round ends, but never sooner than one turn takes."""
        loop = asyncio.get_running_loop()
        self._cancel()
        while self._queue:
            self._turn = self._queue.pop(0)
            self.current = self._turn.resolver
            failure = self._turn.ask()
            if failure is None:
                self._timer = loop.call_later(_TURN_S, self._next)
                return
            self._turn.said = failure
        self._turn = None
        self._timer = loop.call_later(0 if self._denial() else self._round_ends - loop.time(), self._end_round)

    def _end_round(self) -> None:
        denial = self._denial()
        if denial is not None:
            self._finish(denial.resolver, denial.said)
        elif self._round >= _ROUNDS:
            words = ", ".join(f"{line.resolver} {line.said.words}" for line in self._lines)
            self._finish(None, Failure(words=words))
        else:
            self._begin_round()

    def _heard(self, line: _Line, said: Answer | Failure) -> None:
        if isinstance(line.said, Answer):
            return
        line.said = said
        if isinstance(said, Answer) and said.prefixes:
            self._finish(line.resolver, said)
        elif line is self._turn:
            self._next()

    def _denial(self) -> _Line | None:
        """The first one that said that there is no prefix."""
        return next((line for line in self._lines if isinstance(line.said, Answer)), None)

    def _finish(self, resolver: Resolver | None, said: Answer | Failure) -> None:
        self.close()
        self._done(Outcome(resolver=resolver, said=said))

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _failed(error: HostError | OSError) -> Failure:
    return Failure(words=f"cannot be asked: {os.strerror(error.errno or 0)}")
