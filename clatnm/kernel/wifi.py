# SPDX-License-Identifier: GPL-2.0-or-later
"""Which access point a Wi-Fi station turns to, as the kernel tells it while it happens (nl80211).

Network managers tell it too, when all is over. The kernel does it before the first packet can go out.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from clatnm.errors import HostError, ParseError

# linux/netlink.h, linux/genetlink.h
_NETLINK_GENERIC, _SOL_NETLINK, _ADD_MEMBERSHIP = 16, 270, 1
_NLMSG_ERROR, _CTRL = 2, 16
_GETFAMILY = 3
_FAMILY_ID, _FAMILY_NAME, _GROUPS = 1, 2, 7
_GROUP_NAME, _GROUP_ID = 1, 2
_REQUEST = 1
_TYPE_MASK = 0x3FFF
# linux/nl80211.h
_AUTHENTICATE, _ASSOCIATE, _CONNECT, _ROAM = 37, 38, 46, 47
_IFINDEX, _MAC, _FRAME, _STATUS_CODE, _TIMED_OUT = 3, 6, 51, 72, 65
_EVENTS = b"mlme"
# IEEE 802.11: frame control, duration, receiver, transmitter, BSSID, sequence control
_BSSID = slice(16, 22)
_MAC_BYTES, _SUCCESS = 6, bytes(2)
_STATUS_AT = {_AUTHENTICATE: 24 + 4, _ASSOCIATE: 24 + 2}

_HEADER, _GENERIC, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
_READ_BYTES = 1 << 16
_ANSWER_S = 1.0


class Turn(NamedTuple):
    """A station (`ifindex`) was let in by that access point, or is about to be."""

    ifindex: int
    bssid: str


class Family(NamedTuple):
    """Numbers that the kernel has given nl80211: of its messages, and of those that tell of access points."""

    kind: int
    group: int


class WifiEvents:
    """A descriptor (`fileno`) that is readable after something was told. HostError: this kernel has no Wi-Fi yet."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
        except OSError as error:
            raise HostError(f"generic netlink: {error.strerror}", errno=error.errno or 0) from error
        try:
            self._socket.settimeout(_ANSWER_S)
            self._socket.bind((0, 0))
            self._socket.send(_question())
            self._family = family(self._socket.recv(_READ_BYTES))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, self._family.group)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise HostError(f"nl80211: {error.strerror or error}", errno=error.errno or 0) from error
        except ParseError as error:
            self._socket.close()
            raise HostError(f"nl80211: {error}", errno=errno.EPROTO) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def heard(self) -> Iterator[Turn]:
        """What was told since the last call."""
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some were lost; the manager knows, too
                    continue
                return
            try:
                yield from turns(data, self._family.kind)
            except ParseError:
                continue


def family(answer: bytes) -> Family:
    """What the kernel says of nl80211. OSError: it knows none. ParseError."""
    for kind, body in _messages(answer):
        if kind == _NLMSG_ERROR:
            (number,) = struct.unpack_from("=i", body)
            raise OSError(-number, os.strerror(-number))
        told = dict(_attributes(body[_GENERIC.size :]))
        for _, group in _attributes(told.get(_GROUPS, b"")):
            entry = dict(_attributes(group))
            if entry.get(_GROUP_NAME, b"").rstrip(b"\0") == _EVENTS:
                return Family(_number(told, _FAMILY_ID), _number(entry, _GROUP_ID))
    raise ParseError("no group of events")


def turns(data: bytes, kind: int) -> Iterator[Turn]:
    """The stations that turn to an access point, in a datagram of messages of `kind`. ParseError."""
    for found, body in _messages(data):
        if found != kind or len(body) < _GENERIC.size:
            continue
        told = dict(_attributes(body[_GENERIC.size :]))
        bssid = _bssid(body[0], told)
        if len(bssid) == _MAC_BYTES:
            yield Turn(_number(told, _IFINDEX), bssid.hex(":").upper())  # as NetworkManager writes it


def _bssid(command: int, told: dict[int, bytes]) -> bytes:
    """Of the access point that has said yes; b"" if none has."""
    if command in _STATUS_AT and _TIMED_OUT not in told:
        frame, at = told.get(_FRAME, b""), _STATUS_AT[command]
        return frame[_BSSID] if frame[at : at + 2] == _SUCCESS else b""
    if command == _ROAM or (command == _CONNECT and told.get(_STATUS_CODE, _SUCCESS) == _SUCCESS):
        return told.get(_MAC, b"")
    return b""


def _question() -> bytes:
    name = b"nl80211\0"
    body = _GENERIC.pack(_GETFAMILY, 1, 0) + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(name), _FAMILY_NAME) + name
    return _HEADER.pack(_HEADER.size + len(body), _CTRL, _REQUEST, 1, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each. ParseError."""
    while data:
        if len(data) < _HEADER.size:
            raise ParseError("netlink message cut short")
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise ParseError("netlink message of a false length")
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each. ParseError."""
    while data:
        if len(data) < _ATTRIBUTE.size:
            raise ParseError("netlink attribute cut short")
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise ParseError("netlink attribute of a false length")
        yield kind & _TYPE_MASK, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _number(told: dict[int, bytes], kind: int) -> int:
    value = told.get(kind, b"")
    if len(value) not in (2, 4):
        raise ParseError("netlink attribute is missing")
    return int.from_bytes(value, sys.byteorder)
