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

from clatnm.errors import ConfigError
from clatnm.worker import wire

_UCRED: Final = struct.Struct("=iII")
_LONGEST_S: Final = 3600.0


class Survival:
    """What the last `keep` said. Nothing before the first: then the worker ends with its supervisor."""

    def __init__(self) -> None:
        self.door: socket.socket | None = None
        self.until: float | None = None
        """CLOCK_BOOTTIME seconds: when a worker without a supervisor ends. None while it has one."""
        self._held: list[int] = []
        self._patience_s = 0.0
        self._uid = 0

    def keep(self, fields: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Take in a `keep`. ConfigError."""
        patience_s, uid = fields.get("patience_s"), fields.get("uid")
        if type(patience_s) not in (int, float) or not 0 < patience_s <= _LONGEST_S:  # type: ignore[operator]
            raise ConfigError("keep: patience_s is no time")
        if type(uid) is not int or not descriptors:
            raise ConfigError("keep: no user, or no door")
        door, *held = descriptors
        old_door, old_held = self.door, self._held
        self.door, self._held = socket.socket(fileno=door), held
        self.door.setblocking(False)
        self._patience_s, self._uid = float(patience_s), uid  # type: ignore[arg-type]
        if old_door is not None:
            old_door.close()
        for fd in old_held:
            os.close(fd)

    def alone(self, now: float) -> bool:
        """The supervisor is gone: whether to go on without."""
        if self.door is None:
            return False
        self.until = now + self._patience_s
        return True

    def over(self, now: float) -> bool:
        """Nobody has come in time."""
        return self.until is not None and now >= self.until

    def answer(self, descriptors: Sequence[int], *, busy: bool) -> socket.socket | None:
        """Somebody is at the door: the control socket to him, if he takes us over; he has been told, and been given
        the door, `descriptors`, and what is held. None: he was none, or was sent away."""
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
                given = [self.door.fileno(), *descriptors, *self._held]
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
