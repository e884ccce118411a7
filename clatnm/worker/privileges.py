# SPDX-License-Identifier: GPL-2.0-or-later
"""Giving up every privilege for good: the descriptors already open are all the worker needs."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from clatnm.errors import HostError

NOBODY: Final = 65534

_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h


def drop() -> None:
    """Become nobody if root, and in any case lose all capabilities and the way to new ones. HostError if that fails.

    A service whose bounding set lacks CAP_SETUID stays user root, of whom nothing but the number is then left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _check("prctl(PR_SET_NO_NEW_PRIVS)", libc.prctl(_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero))
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        except PermissionError:
            pass
    clear = ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL)
    _check("prctl(PR_CAP_AMBIENT)", libc.prctl(_PR_CAP_AMBIENT, clear, zero, zero, zero))
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check("capset()", libc.capset(header, bytes(24)))  # effective, permitted, inheritable: none, of 2 * 32


def _check(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise HostError(f"{what}: {os.strerror(number)}", errno=number)
