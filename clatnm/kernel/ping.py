# SPDX-License-Identifier: GPL-2.0-or-later
"""Test packets, and what became of them: echoes over IPv4 as any user may send them, over IPv6 as root may.

Synchronous, with a patience of a second or two: for a command that somebody waits for, not for the daemon.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from clatnm.compat import StrEnum
from clatnm.errors import HostError
from clatnm.kernel.echo import EchoSocket
from clatnm.proto.checksum import checksum

PATIENCE_S = 1.5
_ROUNDS = 2  # the first packet of all may be lost while a neighbour is looked for
_ECHO_REQUEST, _ECHO_REPLY, _UNREACHABLE, _TOO_LONG = 8, 0, 3, 4
_HEADER = struct.Struct("!BBHHH")
_NONCE_BYTES = 8
_IP_BYTES = 20
# linux/in.h, linux/errqueue.h
_IP_RECVERR, _IP_MTU_DISCOVER, _PMTUDISC_PROBE = 11, 10, 3
_ORIGIN_ICMP = 2
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_OFFENDER_AT = _EXTENDED_ERROR.size + 4
_BATCH = 64
_TCP_PORT = 53  # what answers a ping mostly answers questions, too
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EADDRNOTAVAIL, errno.EINVAL})
_NO_RIGHT = frozenset({errno.EPERM, errno.EACCES})
_FORBIDDEN6 = {(1, 0): "no route", (1, 1): "forbidden", (1, 3): "no such host", (1, 5): "source refused"}


class Outcome(StrEnum):
    """What became of a test packet."""

    ANSWERED = "answered"
    SILENT = "silent"
    """Sent, and neither an answer nor an error came."""
    REFUSED = "refused"
    """A filter of this host did not let it out."""
    UNREACHABLE = "unreachable"
    """A router says that it goes no further."""
    NO_ROUTE = "no-route"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Some test packets to several hosts: the best that became of any of them."""

    outcome: Outcome = Outcome.NOT_TRIED
    detail: str = ""
    """For people: `1.1.1.1 answered in 12 ms`."""

    @property
    def answered(self) -> bool:
        return self.outcome is Outcome.ANSWERED


NOT_TRIED = Trial()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How long packets may be that get through: in bytes of the IPv4 packet, 0 if none did."""

    longest_bytes: int = 0
    told: bool = False
    """Of longer ones, somebody says that they are too long: path MTU discovery works (RFC 1191)."""


class Echo4:
    """ICMP echo over IPv4, by `interface` if one is named. HostError: not for this user, or no such device."""

    def __init__(self, interface: str = "", *, any_length: bool = False) -> None:
        self._identifier, self._nonce = secrets.randbits(16), secrets.token_bytes(_NONCE_BYTES)
        self._raw, self._socket = _open()
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            if any_length:  # whatever the kernel believes of the path, and never in fragments
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
            if interface:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        except OSError as error:
            self._socket.close()
            raise _host_error(error) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, target: IPv4Address, sequence: int, *, length_bytes: int = 0) -> None:
        """Send one, as an IPv4 packet of that length if it is more than the shortest. HostError."""
        filling = bytes(max(0, length_bytes - _IP_BYTES - _HEADER.size - _NONCE_BYTES))
        message = _HEADER.pack(_ECHO_REQUEST, 0, 0, self._identifier, sequence) + self._nonce + filling
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        try:
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # of an earlier one
            self._socket.sendto(message, (str(target), 0))
        except OSError as error:
            raise _host_error(error) from error

    def replies(self) -> Iterator[tuple[IPv4Address, int]]:
        """Who has answered which sequence number, of what waits now."""
        for _ in range(_BATCH):
            try:
                data, source = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:  # what `errors` tells
                continue
            message = data[(data[0] & 0x0F) * 4 :] if self._raw and data else data
            if len(message) < _HEADER.size:
                continue
            kind, _, _, identifier, sequence = _HEADER.unpack_from(message)
            # A ping socket has an identifier of the kernel's, and hears answers to it only.
            ours = not self._raw or identifier == self._identifier
            if kind == _ECHO_REPLY and ours and message[_HEADER.size :][:_NONCE_BYTES] == self._nonce:
                yield IPv4Address(source[0]), sequence

    def errors(self) -> Iterator[tuple[IPv4Address, int, int, int]]:
        """Who says what (ICMP type and code) about which sequence number."""
        for _ in range(_BATCH):
            try:
                message, ancillary, _, _ = self._socket.recvmsg(1500, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            if len(message) < _HEADER.size:
                continue
            *_, identifier, sequence = _HEADER.unpack_from(message)
            for level, option, value in ancillary:
                known = (level, option) == (socket.IPPROTO_IP, _IP_RECVERR) and len(value) >= _OFFENDER_AT + 4
                if not known or (self._raw and identifier != self._identifier):
                    continue
                _, origin, kind, code, _, _ = _EXTENDED_ERROR.unpack_from(value)
                if origin == _ORIGIN_ICMP:
                    yield IPv4Address(value[_OFFENDER_AT : _OFFENDER_AT + 4]), sequence, kind, code


def ask4(targets: Sequence[IPv4Address], *, interface: str = "", patience_s: float = PATIENCE_S) -> Trial:
    """Have hosts answer over IPv4, by the routes there are, or by one device. Where this user may send no echo, TCP."""
    try:
        opened = Echo4(interface)
    except HostError as error:
        if error.errno in _NO_RIGHT:
            return _connect(targets, interface, patience_s)
        return Trial(outcome=Outcome.NO_ROUTE, detail=error.what)
    with contextlib.closing(opened):
        worst = Trial(outcome=Outcome.SILENT, detail="no answer")
        begun = time.monotonic()
        for number in range(_ROUNDS):
            refused = [_sent(partial(opened.ask, target, number)) for target in targets]
            if all(refused):
                return refused[0] or worst
            for _ in _waiting(opened, begun + patience_s * (number + 1) / _ROUNDS):
                for source, _ in opened.replies():
                    return Trial(
                        outcome=Outcome.ANSWERED, detail=f"{source} answered{_time(begun, number, patience_s)}"
                    )
                for offender, _, kind, _ in opened.errors():
                    if kind == _UNREACHABLE:
                        worst = Trial(outcome=Outcome.UNREACHABLE, detail=f"{offender} says that it goes no further")
        return worst


def ask6(
    destinations: Sequence[IPv6Address], *, interface: str, own: Collection[IPv6Address], patience_s: float = PATIENCE_S
) -> Trial:
    """Have hosts answer over IPv6, by one link; `own`: the host's addresses. Only root may."""
    try:
        opened = EchoSocket(interface)
    except HostError as error:
        return Trial(detail=error.what)
    with contextlib.closing(opened):
        worst = Trial(outcome=Outcome.SILENT, detail="no answer")
        begun = time.monotonic()
        for number in range(_ROUNDS):
            refused = [_sent(partial(opened.ask, destination, number)) for destination in destinations]
            if all(refused):
                return refused[0] or worst
            for _ in _waiting(opened, begun + patience_s * (number + 1) / _ROUNDS):
                for reply in opened.replies():
                    words = f"{reply.source} answered{_time(begun, number, patience_s)}"
                    return Trial(outcome=Outcome.ANSWERED, detail=words)
                for wrong in opened.errors():
                    if wrong.offender in own:
                        worst = Trial(outcome=Outcome.SILENT, detail="the next hop does not answer")
                    else:
                        words = _FORBIDDEN6.get((wrong.kind, wrong.code), f"ICMPv6 {wrong.kind}/{wrong.code}")
                        worst = Trial(outcome=Outcome.UNREACHABLE, detail=f"{words} (from {wrong.offender})")
        return worst


def longest4(
    target: IPv4Address, lengths_bytes: Sequence[int], *, interface: str, patience_s: float = PATIENCE_S
) -> Reach:
    """Which of these lengths get through to a host that answers, by one device. HostError: not for this user."""
    with contextlib.closing(Echo4(interface, any_length=True)) as opened:
        answered: set[int] = set()
        told = False
        begun = time.monotonic()
        for number in range(_ROUNDS):
            for index, length in enumerate(lengths_bytes):
                if index not in answered:
                    with contextlib.suppress(HostError):
                        opened.ask(target, index, length_bytes=length)
            for _ in _waiting(opened, begun + patience_s * (number + 1) / _ROUNDS):
                answered |= {sequence for _, sequence in opened.replies() if sequence < len(lengths_bytes)}
                told |= any((kind, code) == (_UNREACHABLE, _TOO_LONG) for _, _, kind, code in opened.errors())
                if len(answered) == len(lengths_bytes):
                    return Reach(longest_bytes=max(lengths_bytes), told=told)
        return Reach(longest_bytes=max((lengths_bytes[index] for index in answered), default=0), told=told)


def _open() -> tuple[bool, socket.socket]:
    """A raw socket, else a ping socket: which it is, and the socket."""
    try:
        return True, socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    except PermissionError:
        pass
    except OSError as error:
        raise _host_error(error) from error
    try:
        return False, socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    except OSError as error:
        raise _host_error(error) from error


def _sent(send: Callable[[], None]) -> Trial | None:
    """None when it is on its way; else why it is not."""
    try:
        send()
    except HostError as error:
        if error.errno == errno.EPERM:
            return Trial(outcome=Outcome.REFUSED, detail="a filter of this host does not let it out")
        words = "no route" if error.errno in _NO_WAY else error.what
        return Trial(outcome=Outcome.NO_ROUTE, detail=words)
    return None


def _waiting(opened: Echo4 | EchoSocket, until: float) -> Iterator[None]:
    """Each time that something may have come."""
    while (left_s := until - time.monotonic()) > 0:
        if select.select([opened], [], [], left_s)[0]:
            yield


def _time(begun: float, number: int, patience_s: float) -> str:
    since_s = time.monotonic() - begun - patience_s * number / _ROUNDS
    return f" in {max(0.0, since_s) * 1000:.0f} ms"


def _connect(targets: Sequence[IPv4Address], interface: str, patience_s: float) -> Trial:
    """A TCP connection to each host; one that is refused there is an answer as well."""
    waiting: dict[socket.socket, IPv4Address] = {}
    worst = Trial(outcome=Outcome.SILENT, detail="no answer to TCP")
    with contextlib.ExitStack() as stack:
        for target in targets:
            opened = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            try:
                if interface:
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            except OSError as error:
                return Trial(detail=f"{interface}: {error.strerror}")
            code = opened.connect_ex((str(target), _TCP_PORT))
            if code in (0, errno.EINPROGRESS):
                waiting[opened] = target
            else:
                refused = code == errno.EPERM
                outcome = Outcome.REFUSED if refused else Outcome.NO_ROUTE
                worst = Trial(outcome=outcome, detail="a filter of this host" if refused else os.strerror(code))
        until = time.monotonic() + patience_s
        while waiting and (left_s := until - time.monotonic()) > 0:
            for opened in select.select([], list(waiting), [], left_s)[1]:
                target = waiting.pop(opened)
                code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code in (0, errno.ECONNREFUSED):
                    return Trial(outcome=Outcome.ANSWERED, detail=f"{target} answered over TCP")
                worst = Trial(outcome=Outcome.UNREACHABLE, detail=f"{target}: {os.strerror(code)}")
    return worst


def _host_error(error: OSError) -> HostError:
    code = error.errno or 0
    return HostError(f"ping: {os.strerror(code)}", errno=code)
