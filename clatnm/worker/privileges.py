# SPDX-License-Identifier: GPL-2.0-or-later
"""Giving up every privilege for good: the descriptors already open are all the worker needs."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import struct
from typing import Final

from clatnm.errors import HostError
from clatnm.worker import syscalls

USER: Final = "clatnm-translator"
"""Made by packaging/sysusers.d/clatnm.conf; where it does not exist, nobody does as well."""
NOBODY: Final = 65534

_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_PR_CAPBSET_DROP: Final = 24
_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h
_CAPABILITIES: Final = 64
_SET_MODE_FILTER, _FILTER_FLAG_SPEC_ALLOW = 1, 4  # linux/seccomp.h
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_WIDE: Final = 8
_STEP_BYTES: Final = 8
_SYS_SECCOMP: Final = 317 if os.uname().machine == "x86_64" else 277


def drop() -> None:
    """Become nobody in particular if root, and in any case lose all capabilities and the way to new ones. HostError.

    A service whose bounding set lacks CAP_SETUID stays user root, of whom nothing but the number is then left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _check("prctl(PR_SET_NO_NEW_PRIVS)", libc.prctl(_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero))
    for number in range(_CAPABILITIES):
        # What a program could have once more, if there were a way to it. Only who has CAP_SETPCAP may give that up.
        if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero) != 0:
            break
    if os.geteuid() == 0:
        user, group = identity()
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        except PermissionError:
            pass
    clear = ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL)
    _check("prctl(PR_CAP_AMBIENT)", libc.prctl(_PR_CAP_AMBIENT, clear, zero, zero, zero))
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check("capset()", libc.capset(header, bytes(24)))  # effective, permitted, inheritable: none, of 2 * 32


def identity() -> tuple[int, int]:
    """The numbers of user and group that a translator has."""
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid


def confine() -> None:
    """Ask the kernel for nothing but what is in `syscalls` from now on. HostError.

    Where this machine's numbers are not known, or the kernel has no such filters, nothing changes.
    """
    filters = syscalls.program(os.uname().machine)
    if not filters or struct.calcsize("P") != _WIDE:  # or 32-bit programs on a 64-bit kernel
        return
    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(filters, len(filters))
    # struct sock_fprog: how many, padding, where
    program = struct.pack("@HP", len(filters) // _STEP_BYTES, ctypes.addressof(held))
    # Without the flag, kernels before 5.16 make each process with a filter slow, for fear of programs within it that
    # somebody else has written (speculative store bypass). There are none here.
    arguments = (ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(_FILTER_FLAG_SPEC_ALLOW), program)
    if libc.syscall(ctypes.c_long(_SYS_SECCOMP), *arguments) == 0:
        return
    # The service may not call this. It may call that, and has a filter already, so that it makes nothing slower.
    zero = ctypes.c_ulong(0)
    result = libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), program, zero, zero)
    if result != 0 and ctypes.get_errno() != errno.EINVAL:
        _check("prctl(PR_SET_SECCOMP)", result)


def _check(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise HostError(f"{what}: {os.strerror(number)}", errno=number)
