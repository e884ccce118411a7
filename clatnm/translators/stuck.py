# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator whose process does not answer: ended all the same, or at least deprived of its device.

A process is killed only if it is sure which one it is (`kernel.who`), by what root has written down. Where that is not
so, or it does not even die, the kernel takes the device away from it, and with that all that packets are led by. Then
the eBPF programs of a tcx link may stay on the uplink, which only their holder can remove: nothing of ours answers
there, until somebody ends that process.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final, NamedTuple

from clatnm.errors import HostError, ParseError
from clatnm.kernel import who
from clatnm.kernel.netlink import Netlink
from clatnm.memo import Memo
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import BusyError

_DIES_S: Final = 2.0


class Outcome(NamedTuple):
    ended: bool
    """At least its device is gone."""
    words: str


def end_stuck(kernel: Netlink, estate: Estate, index: int) -> Outcome:
    """End one that does not answer. BusyError: its daemon lives, and will see to it. HostError."""
    memo = _memo(estate, index)
    if memo is not None and who.lives(memo.daemon):
        raise BusyError
    words = f"the translator {memo.past.plan.device}" if memo is not None else f"the translator {index}"
    if memo is not None and _kill(memo.process):
        estate.remove(index)
        return Outcome(True, f"{words} did not answer, and was killed")
    try:
        taken = kernel.remove_tun(index)
    except HostError as error:
        return Outcome(False, f"{words} does not answer, and cannot be removed: {error}")
    if not taken:
        return Outcome(False, f"{words} does not answer, and has no device")
    estate.withdraw(index)
    return Outcome(True, f"{words} does not answer, and has lost its device; its process is not known, or does not end")


def end_left(kernel: Netlink, estate: Estate, daemon: str) -> list[str]:
    """End those that this daemon has left and that should have ended by themselves: words as above. HostError."""
    told = []
    there = {link.index for link in kernel.links().values()}
    for index in estate.indexes():
        memo = _memo(estate, index)
        # Whoever has adopted it has put his own name there.
        if memo is None or not daemon or memo.daemon != daemon:
            continue
        if index in there or who.lives(memo.process):
            with contextlib.suppress(BusyError):
                told.append(end_stuck(kernel, estate, index).words)
    return told


def _memo(estate: Estate, index: int) -> Memo | None:
    try:
        return estate.read(index)
    except ParseError:
        return None


def _kill(process: str) -> bool:
    """Whether it has ended."""
    descriptor = who.find(process)
    if descriptor is None:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return who.has_ended(descriptor, _DIES_S)
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
