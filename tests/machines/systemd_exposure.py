# SPDX-License-Identifier: GPL-2.0-or-later
"""How exposed a translator of the service is, by systemd's own measure."""

from __future__ import annotations

import ctypes
import os
import pwd
import tempfile
from pathlib import Path

from clatnm.worker import syscalls
from tests.machines import exposure
from tests.machines.inside import UNIT, SkippedError
from tests.machines.systemd_place import Place

MOST, MOST_OF_THE_DAEMON = 2.0, 3.0
_FIRST_OFFLINE = 250

# linux/ptrace.h, linux/wait.h; linux/filter.h for the size of an instruction
_SEIZE, _INTERRUPT, _DETACH, _GET_FILTER = 0x4206, 0x4207, 17, 0x420C
_WALL = 0x40000000
_STEP_BYTES = 8


def translators_are_less_exposed(place: Place) -> None:
    """Than the daemon, by what one was seen to have given up; docs/security.md has the figures."""
    version = int(place.here.run("systemd-analyze", "--version").stdout.split()[1])
    if version < _FIRST_OFFLINE:
        raise SkippedError(f"systemd {version} cannot judge a unit offline")
    (pid,) = place.clat.translators()
    status = _status_of(pid)
    assert _own_filter(pid, int(status["Seccomp_filters"])) == syscalls.program(os.uname().machine), "another filter"
    observed = exposure.Observed(
        status=status,
        daemon_filters=int(_status_of(place.clat.pid)["Seccomp_filters"]),
        calls=syscalls.CALLS,
        user=pwd.getpwuid(int(status["Uid"].split()[0])).pw_name,
    )
    shipped = UNIT.read_text()
    daemon, translator = _figure(place, shipped), _figure(place, exposure.unit(shipped, observed))
    print(f"exposure: daemon {daemon}, translator {translator}", flush=True)
    assert daemon <= MOST_OF_THE_DAEMON
    assert translator <= MOST


def _figure(place: Place, text: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "judged.service")
        path.write_text(text)
        said = place.here.run("systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)).stdout
    return exposure.figure(said)


def _own_filter(pid: int, count: int) -> bytes:
    """The last of a process's filters, as the kernel has it: the first ones are those that it was born with."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def ask(request: int, number: int = 0, place: ctypes.Array[ctypes.c_char] | None = None) -> int:
        answer = int(libc.ptrace(request, pid, number, place))
        if answer < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
        return answer

    ask(_SEIZE)
    try:
        ask(_INTERRUPT)
        os.waitpid(pid, _WALL)
        steps = ask(_GET_FILTER, count - 1)
        held = ctypes.create_string_buffer(steps * _STEP_BYTES)
        ask(_GET_FILTER, count - 1, held)
    finally:
        ask(_DETACH)
    return held.raw


def _status_of(pid: int) -> dict[str, str]:
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}
