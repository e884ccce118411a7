# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench.native`: the first reply through NetworkManager's own CLAT (1.58), and through ours, in turn.

Both in labs of their own with the same NetworkManager, from a Debian tree; a round of one, then a round of the other,
so that the machine's noise falls on both.
"""

from __future__ import annotations

import statistics
import sys

from tests.bench.first_reply import Clatnm, Subject, joined, one_round
from tests.lab import Lab, eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.lab.trees import tree, why_not

TREE = "forky"
ROUNDS = 11


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


def compare(rounds: int = ROUNDS, *, strangers: bool) -> dict[str, list[float]]:
    """Milliseconds of each round by subject, in turn.

    `strangers`: the router does not know the CLAT's address yet, as in a network just joined, and has to ask for it.
    """
    root, times = tree(TREE), dict[str, list[float]]()
    ours, native = Clatnm("ebpf"), Native()
    with joined(ours, root) as our_lab, joined(native, root) as native_lab:
        for _ in range(rounds):
            subjects: tuple[tuple[Lab, Subject], ...] = ((our_lab, ours), (native_lab, native))
            for lab, subject in subjects:
                if strangers:
                    lab.a.ip("-6", "neigh", "flush", "dev", "lan")
                times.setdefault(subject.name, []).append(one_round(lab, subject))
    return times


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
