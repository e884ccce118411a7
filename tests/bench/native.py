# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench.native`: the first reply through NetworkManager's own CLAT (1.58), and through ours, in turn.

Both in labs of their own with the same NetworkManager, from a Debian tree; a round of one, then a round of the other,
so that the machine's noise falls on both.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tests.bench import first_reply
from tests.e2e import clat
from tests.lab import Daemon, Lab, eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.lab.trees import tree, why_not

TREE = "forky"
ROUNDS = 11


class Subject(Protocol):
    """Who brings IPv4 up when the router begins to announce its NAT64 prefix."""

    @property
    def name(self) -> str: ...

    def join(self, lab: Lab) -> None:
        """Connect the host to A, which announces no prefix; return when it has IPv6 and waits for one."""

    def wait_up(self) -> None:
        """Until all is up, which may be some time after the first reply."""

    def wait_down(self) -> None:
        """Until nothing of it is left, after the prefix was withdrawn."""


class Native:
    """NetworkManager's own CLAT."""

    name = "NetworkManager"

    def __init__(self) -> None:
        self._lab: Lab | None = None

    def join(self, lab: Lab) -> None:
        self._lab = lab
        lab.host.dad(False)
        lab.host.add_profile("netA", "up0", ipv4_method="auto", ipv4_clat="auto")
        lab.host.up("netA")
        eventually(lab.host.has_ipv6, message="IPv6 works")
        assert not self._prefix()

    def wait_up(self) -> None:
        eventually(self._prefix, message="NetworkManager's CLAT is up")

    def wait_down(self) -> None:
        eventually(lambda: not self._prefix(), message="NetworkManager's CLAT is down")

    def _prefix(self) -> str:
        """What NetworkManager translates with; empty while it does not."""
        assert self._lab is not None
        return self._lab.host.nmcli("-g", "IP6.CLAT-PREF64", "device", "show", "up0").stdout.strip()


class Ours:
    """The daemon, with its first choice of backend."""

    name = "clatnm"

    def __init__(self) -> None:
        self._lab: Lab | None = None
        self._daemon: Daemon | None = None

    def join(self, lab: Lab) -> None:
        self._lab, self._daemon = lab, clat.join(lab, wait=False).daemon
        clat.wait_off(self._daemon, "no-pref64")

    def wait_up(self) -> None:
        assert self._daemon is not None
        clat.wait_on(self._daemon)

    def wait_down(self) -> None:
        assert self._daemon is not None and self._lab is not None
        clat.wait_off(self._daemon, "no-pref64")
        clat.wait_no_device(self._lab.host)


def native_subject() -> Subject:
    """NetworkManager's own CLAT; its lab needs `root=tree(TREE)`."""
    return Native()


def compare(rounds: int = ROUNDS, *, strangers: bool) -> dict[str, list[float]]:
    """Milliseconds of each round by subject, in turn.

    `strangers`: the router does not know the CLAT's address yet, as in a network just joined, and has to ask for it.
    """
    times: dict[str, list[float]] = {}
    with _joined(Ours()) as ours, _joined(native_subject()) as native:
        for _ in range(rounds):
            for lab, subject in (ours, native):
                if strangers:
                    lab.a.ip("-6", "neigh", "flush", "dev", "lan")
                times.setdefault(subject.name, []).append(first_reply._round(lab) * 1000)
                subject.wait_up()
                lab.a.ra(pref64=[[first_reply.PREFIX, 0]])
                subject.wait_down()
    return times


@contextmanager
def _joined(subject: Subject) -> Iterator[tuple[Lab, Subject]]:
    with Lab(root=tree(TREE)) as lab:
        lab.a.ra(pref64=[], interval=1000)
        lab.a.dns("plain")
        subject.join(lab)
        lab.host.sysctl(ipv4__ping_group_range="0 2147483647")
        yield lab, subject


def main() -> int:
    """Measure and print; the exit status."""
    reason = missing(LAB_TOOLS) or why_not(TREE)
    if reason:
        print(f"error: the benchmark {reason}", file=sys.stderr)
        return 1
    print("RA with PREF64 → first IPv4 echo reply")
    for strangers in (True, False):
        print("the router has not met the CLAT yet" if strangers else "the router knows the CLAT from earlier")
        for name, times in compare(strangers=strangers).items():
            ordered = ", ".join(f"{value:.0f}" for value in sorted(times))
            print(f"  {name}: median {statistics.median(times):.0f} ms of {len(times)} ({ordered})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
