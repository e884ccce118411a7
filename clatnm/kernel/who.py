# SPDX-License-Identifier: GPL-2.0-or-later
"""Which process a number means. Numbers are given again, and a signal must not reach somebody else."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_START_TIME: Final = 19  # of the fields behind the command's name, proc_pid_stat(5)


def name(pid: int) -> str:
    """Names this process, and no other until the machine is started again: `4711 pidfs 815`.

    "" when it is gone, or when nobody can tell: before Linux 6.9 from /proc alone, where service managers may hide it.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return ""
    try:
        return _name(descriptor, pid)
    finally:
        os.close(descriptor)


def find(named: str) -> int | None:
    """A pidfd of that very process, the caller's to close. None: it is gone, or nobody can tell."""
    number = named.partition(" ")[0]
    if not number.isascii() or not number.isdecimal():
        return None
    try:
        descriptor = os.pidfd_open(int(number))
    except (OSError, OverflowError):
        return None
    # Asked of the descriptor: whatever becomes of the number from now on, this stays one process.
    if _name(descriptor, int(number)) == named and not has_ended(descriptor, 0.0):
        return descriptor
    os.close(descriptor)
    return None


def lives(named: str, *, after_s: float = 0.0) -> bool:
    """Whether that very process is there, and has not ended within this time."""
    descriptor = find(named)
    if descriptor is None:
        return False
    try:
        return not has_ended(descriptor, after_s)
    finally:
        os.close(descriptor)


def has_ended(pidfd: int, patience_s: float) -> bool:
    """Whether it has ended, or does so within this time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(patience_s * 1000))


def _name(descriptor: int, pid: int) -> str:
    if _is_pidfs(descriptor):  # each process has an inode there, which no other one ever gets
        return f"{pid} pidfs {os.fstat(descriptor).st_ino}"
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
        status = (_PROC / str(pid) / "status").read_text()
        started = stat.rpartition(")")[2].split()[_START_TIME]  # the command's name may hold anything
        (uids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    except (OSError, ValueError, IndexError):
        return ""
    return f"{pid} started {started} user {uids[0]}"


def _is_pidfs(descriptor: int) -> bool:
    """Before, all pidfds shared one inode with epoll's descriptors and others."""
    with select.epoll() as other:
        return os.fstat(descriptor).st_dev != os.fstat(other.fileno()).st_dev
