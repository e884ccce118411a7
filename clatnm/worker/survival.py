# SPDX-License-Identifier: GPL-2.0-or-later
"""Outliving the supervisor: for how long, and how its successor finds the way in.

A daemon that is restarted, upgraded or killed leaves its translators behind; they go on, for the next one to adopt.
Those that nobody comes for end by themselves, and everything that they hold goes with them.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from clatnm.errors import ConfigError, ParseError
from clatnm.proto import manager_clat, nlmsg
from clatnm.worker import wire

_UCRED: Final = struct.Struct("=iII")
_LONGEST_S: Final = 3600.0
_NETLINK_BYTES: Final = 65536


class Survival:
    """What the last `keep` said. Nothing before the first: then the worker ends with its supervisor."""

    def __init__(self) -> None:
        self.door: socket.socket | None = None
        self.until: float | None = None
        """CLOCK_BOOTTIME seconds: when a worker without a supervisor ends. None while it has one."""
        self.alarm: socket.socket | None = None
        """Where the kernel tells that a manager begins to translate: the supervisor knows what to do then, until it is
        gone."""
        self._uplink = 0
        self._alarmed = False
        self._held: list[int] = []
        self._patience_s = 0.0
        self._uid = 0

    def keep(self, fields: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Take in a `keep`. ConfigError."""
        patience_s, uid, uplink = fields.get("patience_s"), fields.get("uid"), fields.get("uplink")
        if type(patience_s) not in (int, float) or not 0 < patience_s <= _LONGEST_S:  # type: ignore[operator]
            raise ConfigError("keep: patience_s is no time")
        if type(uid) is not int or type(uplink) is not int or len(descriptors) < 1 + bool(uplink):
            raise ConfigError("keep: no user, or no door")
        old, old_held = [sock for sock in (self.door, self.alarm) if sock is not None], self._held
        self._held = list(descriptors)
        self.door = self._taken()
        self.alarm = self._taken() if uplink else None
        self._patience_s, self._uid, self._uplink = float(patience_s), uid, uplink  # type: ignore[arg-type]
        for sock in old:
            sock.close()
        for fd in old_held:
            os.close(fd)

    def _taken(self) -> socket.socket:
        sock = socket.socket(fileno=self._held.pop(0))
        sock.setblocking(False)
        return sock

    def alone(self, now: float) -> None:
        """The supervisor is gone."""
        self.until = now if self.door is None else now + self._patience_s

    def listen(self) -> None:
        """Take in what the kernel tells."""
        assert self.alarm is not None
        try:
            told = nlmsg.messages(self.alarm.recv(_NETLINK_BYTES))
            self._alarmed = self._alarmed or any(manager_clat.begins(each, self._uplink) for each in told)
        except BlockingIOError:
            pass
        except (OSError, ParseError):  # too many at once: some are lost, and nobody could ask
            self._alarmed = self._alarmed or self.until is not None

    def over(self, now: float) -> bool:
        """Without a supervisor: nobody has come in time, or there would be two translators on the link."""
        return self.until is not None and (self._alarmed or now >= self.until)

    def answer(self, descriptors: Sequence[int], *, busy: bool) -> socket.socket | None:
        """Somebody is at the door: the control socket to him, if he takes us over; he has been told, and been given
        the door, the alarm, `descriptors`, and what is held. None: he was none, or was sent away."""
        assert self.door is not None
        try:
            guest, _ = self.door.accept()
        except OSError:
            return None
        try:
            if self._is_stranger(guest):
                pass
            elif busy:
                guest.send(wire.encode("busy"), socket.MSG_DONTWAIT)
            else:
                given = [self.door.fileno(), *([] if self.alarm is None else [self.alarm.fileno()])]
                given += [*descriptors, *self._held]
                socket.send_fds(guest, [wire.encode("here", version=wire.VERSION)], given, socket.MSG_DONTWAIT)
                self.until = None
                return guest
        except OSError:  # he has gone again
            pass
        guest.close()
        return None

    def _is_stranger(self, guest: socket.socket) -> bool:
        peer = guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        uid: int = _UCRED.unpack(peer)[1]
        return uid != self._uid
