# SPDX-License-Identifier: GPL-2.0-or-later
"""Which access point a Wi-Fi station turns to, as the kernel tells it while it happens (nl80211).

Network managers tell it too, when all is over. The kernel does it before the first packet can go out.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from clatnm.errors import HostError, ParseError
from clatnm.proto import nlmsg

# linux/netlink.h, linux/genetlink.h
_NETLINK_GENERIC, _SOL_NETLINK, _ADD_MEMBERSHIP = 16, 270, 1
_CTRL = 16
_GETFAMILY = 3
_FAMILY_ID, _FAMILY_NAME, _GROUPS = 1, 2, 7
_GROUP_NAME, _GROUP_ID = 1, 2
# linux/nl80211.h
_AUTHENTICATE, _ASSOCIATE, _CONNECT, _ROAM = 37, 38, 46, 47
_IFINDEX, _MAC, _FRAME, _STATUS_CODE, _TIMED_OUT = 3, 6, 51, 72, 65
_EVENTS = b"mlme"
# IEEE 802.11: frame control, duration, receiver, transmitter, BSSID, sequence control
_BSSID = slice(16, 22)
_MAC_BYTES, _SUCCESS = 6, bytes(2)
_STATUS_AT = {_AUTHENTICATE: 24 + 4, _ASSOCIATE: 24 + 2}

_GENERIC = struct.Struct("=BBH")
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
    for message in nlmsg.messages(answer):
        if message.kind == nlmsg.ERROR:
            code = nlmsg.error_code(message.body)
            raise OSError(code, os.strerror(code))
        told = nlmsg.attributes(message.body[_GENERIC.size :])
        for group in nlmsg.values(told.get(_GROUPS, b"")):
            entry = nlmsg.attributes(group)
            if entry.get(_GROUP_NAME, b"").rstrip(b"\0") == _EVENTS:
                return Family(nlmsg.number(told, _FAMILY_ID), nlmsg.number(entry, _GROUP_ID))
    raise ParseError("no group of events")


def turns(data: bytes, kind: int) -> Iterator[Turn]:
    """The stations that turn to an access point, in a datagram of messages of `kind`. ParseError."""
    for message in nlmsg.messages(data):
        if message.kind != kind or len(message.body) < _GENERIC.size:
            continue
        told = nlmsg.attributes(message.body[_GENERIC.size :])
        bssid = _bssid(message.body[0], told)
        if len(bssid) == _MAC_BYTES:
            yield Turn(nlmsg.number(told, _IFINDEX), bssid.hex(":").upper())  # as NetworkManager writes it


def _bssid(command: int, told: dict[int, bytes]) -> bytes:
    """Of the access point that has said yes; b"" if none has."""
    if command in _STATUS_AT and _TIMED_OUT not in told:
        frame, at = told.get(_FRAME, b""), _STATUS_AT[command]
        return frame[_BSSID] if frame[at : at + 2] == _SUCCESS else b""
    if command == _ROAM or (command == _CONNECT and told.get(_STATUS_CODE, _SUCCESS) == _SUCCESS):
        return told.get(_MAC, b"")
    return b""


def _question() -> bytes:
    body = _GENERIC.pack(_GETFAMILY, 1, 0) + nlmsg.attribute(_FAMILY_NAME, b"nl80211\0")
    return nlmsg.message(_CTRL, body, flags=nlmsg.REQUEST)
