# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator as a unit that systemd could judge: the daemon's, but for what a running one was seen to have given up.

systemd has no figure for a scope, nor for what a process does to itself. So each line that differs follows from what
the kernel says of the process, or from the list of system calls in its filter. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

# linux/capability.h, by number
_CAPABILITIES = {5: "CAP_KILL", 6: "CAP_SETGID", 7: "CAP_SETUID", 12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW", 39: "CAP_BPF"}
_FILTERED = "2"  # Seccomp: SECCOMP_MODE_FILTER
# By which a process gets to sockets and files that it was not given, of all the calls there are.
_SOCKETS = {"socket", "socketpair", "io_uring_setup", "pidfd_getfd"}
_FILES = {"open", "openat", "openat2", "creat", "open_by_handle_at", "mknod", "mknodat", "io_uring_setup"}
_DIFFERING = (
    *("User", "AmbientCapabilities", "SupplementaryGroups", "NoNewPrivileges", "CapabilityBoundingSet"),
    *("SystemCallFilter", "RestrictAddressFamilies", "DeviceAllow"),
)
_FIGURE = re.compile(r"Overall exposure level for \S+: (\d+\.\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A process by its /proc/PID/status, the daemon's number of filters, and what its own filter lets through."""

    status: Mapping[str, str]
    daemon_filters: int
    calls: Collection[str]
    user: str
    """The name of its user."""


def unit(daemon: str, observed: Observed) -> str:
    """The text of a unit, from that of the daemon's. AssertionError where a process is not what is to be judged."""
    lines = [line for line in daemon.splitlines() if line.partition("=")[0] not in _DIFFERING]
    at = lines.index("[Service]") + 1
    return "\n".join([*lines[:at], *_lines(observed), *lines[at:]]) + "\n"


def _lines(observed: Observed) -> list[str]:
    status = observed.status
    users = set(status["Uid"].split())
    # Four times the same: none of them gives it another one back.
    assert len(users) == 1, status["Uid"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, (name, status[name])
    lines = [f"User={observed.user}"] if users != {"0"} else []
    lines += ["AmbientCapabilities=", f"SupplementaryGroups={status['Groups'].strip()}"]
    lines.append(f"NoNewPrivileges={'yes' if status['NoNewPrivs'] == '1' else 'no'}")
    # Not what it has, which is nothing: what a program could get that nobody can start any more.
    lines.append(f"CapabilityBoundingSet={' '.join(_capabilities(int(status['CapBnd'], 16)))}")
    own = status["Seccomp"] == _FILTERED and int(status["Seccomp_filters"]) == observed.daemon_filters + 1
    assert own, "it has no filter of its own"
    lines.append(f"SystemCallFilter={' '.join(sorted(observed.calls))}")
    if not _SOCKETS & set(observed.calls):
        lines.append("RestrictAddressFamilies=none")
    if _FILES & set(observed.calls):
        lines.append("DeviceAllow=/dev/net/tun rw")
    return lines


def _capabilities(mask: int) -> list[str]:
    """KeyError for one that the daemon is not granted."""
    return [_CAPABILITIES[number] for number in range(mask.bit_length()) if mask >> number & 1]


def figure(said: str) -> float:
    """What `systemd-analyze security` says in the end: 0 is safe, 10 is not."""
    found = _FIGURE.search(said)
    assert found is not None, said[-500:]
    return float(found[1])
