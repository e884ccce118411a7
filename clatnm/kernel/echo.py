# SPDX-License-Identifier: GPL-2.0-or-later
"""A raw socket that pings through one link, and hears what routers say against it."""

from __future__ import annotations

import os
import secrets
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from clatnm.errors import HostError

_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ICMP6_FILTER = 1
_RECVERR = 25  # IPV6_RECVERR, which Python does not name
_ORIGIN_ICMP6 = 3
_HEADER = struct.Struct("!BBHHH")
_NONCE_BYTES = 8
# struct sock_extended_err, and the struct sockaddr_in6 of who sent the error.
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_OFFENDER_AT = _EXTENDED_ERROR.size + 8
# A router may advertise a hop limit that ends at the next corner.
_HOP_LIMIT = 64
# How much to take in at once of what the link or other programs' pings bring.
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoReply:
    """Somebody answered the ping with that sequence number."""

    source: IPv6Address
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoError:
    """An ICMPv6 error (RFC 4443 section 3) about the ping with that sequence number."""

    destination: IPv6Address
    sequence: int
    kind: int
    code: int
    offender: IPv6Address


class EchoSocket:
    """Pings through `interface` only, from an address of the kernel's choice. HostError (CAP_NET_RAW, no device).

    Only who has seen a ping can answer it: identifier and payload are random.
    """

    def __init__(self, interface: str) -> None:
        self._identifier = secrets.randbits(16)
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        try:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
        except OSError as error:
            raise _refused(error) from error
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            # RFC 3542 section 3.2: a set bit blocks that type. Errors come another way, past this filter.
            blocked = bytearray(b"\xff" * 32)
            struct.pack_into("@I", blocked, _ECHO_REPLY // 32 * 4, ~(1 << _ECHO_REPLY % 32) & 0xFFFFFFFF)
            self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(blocked))
            self._socket.setsockopt(socket.IPPROTO_IPV6, _RECVERR, 1)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOP_LIMIT)
        except OSError as error:
            self._socket.close()
            raise _refused(error) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, destination: IPv6Address, sequence: int) -> None:
        """Send one ping; the sequence number has 16 bits. HostError (no route, link down)."""
        message = _HEADER.pack(_ECHO_REQUEST, 0, 0, self._identifier, sequence) + self._nonce
        try:
            # An error about an earlier ping, even another program's, would be reported here instead.
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._socket.sendto(message, (str(destination), 0))
        except OSError as error:
            raise _refused(error) from error

    def replies(self) -> Iterator[EchoReply]:
        """The answers waiting now."""
        for _ in range(_BATCH):
            try:
                message, source = self._socket.recvfrom(1500)
            except BlockingIOError:
                return
            except OSError:  # what `errors` tells
                continue
            sequence = self._ours(message, _ECHO_REPLY)
            if sequence is not None:
                yield EchoReply(source=_address(source), sequence=sequence)

    def errors(self) -> Iterator[EchoError]:
        """The errors waiting now."""
        for _ in range(_BATCH):
            try:
                message, ancillary, _, destination = self._socket.recvmsg(1500, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            sequence = self._ours(message, _ECHO_REQUEST)
            if sequence is None or not destination:
                continue
            for level, option, value in ancillary:
                if (level, option) != (socket.IPPROTO_IPV6, _RECVERR) or len(value) < _OFFENDER_AT + 16:
                    continue
                _, origin, kind, code, _, _ = _EXTENDED_ERROR.unpack_from(value)
                if origin == _ORIGIN_ICMP6:
                    yield EchoError(
                        destination=_address(destination),
                        sequence=sequence,
                        kind=kind,
                        code=code,
                        offender=IPv6Address(value[_OFFENDER_AT : _OFFENDER_AT + 16]),
                    )

    def _ours(self, message: bytes, kind: int) -> int | None:
        """The sequence number, when this is about a ping of this socket. Others' come here too."""
        if len(message) < _HEADER.size:
            return None
        found, code, _, identifier, sequence = _HEADER.unpack_from(message)
        if (found, code, identifier) != (kind, 0, self._identifier):
            return None
        # An ICMPv4 error need not quote more than the header (RFC 792), and may be padded (RFC 4884 section 5.1).
        payload = message[_HEADER.size :][:_NONCE_BYTES]
        expected = self._nonce if kind == _ECHO_REPLY else self._nonce[: len(payload)]
        return int(sequence) if payload == expected else None


def _address(sockaddr: tuple[object, ...]) -> IPv6Address:
    return IPv6Address(str(sockaddr[0]).partition("%")[0])


def _refused(error: OSError) -> HostError:
    return HostError(f"ping: {os.strerror(error.errno or 0)}", errno=error.errno or 0)
