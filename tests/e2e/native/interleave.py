# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.e2e.native.interleave [N] [SEED]`: N random changes, and never two translators at once.

NetworkManager's CLAT is switched on and off in all ways there are, the network's prefix goes and comes, clatnm is
stopped, killed and started, each at any moment; `at_once` sees every state that the kernel has been in.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from tests.e2e import clat
from tests.e2e.native.at_once import Overlap, Record, Watch
from tests.lab import Daemon, Host, Lab, eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.lab.trees import tree, why_not

TREE = "forky"
PREF64 = "64:ff9b::/96"
# Between two changes: mostly in the middle of the next one's work, at times after all has been done.
PAUSES_S = (0.0, 0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.3)
# NetworkManager says nothing before it translates. Its route comes 0.1 to 4 ms after its address, of which we hear at
# once; but then it hangs up its programs, and for that time, some 20 ms each, nobody else may change a route.
LONG_MS = 500.0
SETTLE_EVERY = 25


class Interleaving:
    """A host in network A, whose connection NetworkManager or clatnm may translate, and what happens to it."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab = lab
        self._chance = random.Random(seed)
        self._native = self._wished = True
        self._told = True
        self._daemon: Daemon | None = None
        self.counts: Counter[str] = Counter()
        self._changes: tuple[Callable[[], None], ...] = (
            *(self.modify,) * 3,
            *(self.apply_by_reapply,) * 3,
            *(self.apply_by_up,) * 2,
            *(self.switch_on_the_device,) * 2,
            *(self.tell_or_withdraw,) * 4,
            self.restart,
            self.kill,
        )

    @property
    def host(self) -> Host:
        return self._lab.host

    def begin(self) -> Watch:
        self.host.dad(False)
        self._lab.a.ra(interval=1)
        self._start()
        # Where NetworkManager is told not to, clatnm is to.
        own = {"ipv4.method": "auto", "ipv4.clat": "auto", "ipv6.dns-options": "clatnm:1"}
        self.host.add_profile("netA", "up0", own)
        watch = Watch(self.host)
        self.host.up("netA")
        return watch

    def step(self) -> None:
        """One change, and a pause."""
        change = self._chance.choice(self._changes)
        change()
        self.counts[change.__name__] += 1
        time.sleep(self._chance.choice(PAUSES_S) * self._chance.random())

    def settle(self) -> None:
        """Whoever should translate in the end does, alone, and IPv4 works."""
        if self._daemon is None:
            self._start()
        if not self._told:
            self.tell_or_withdraw()
        # At times the device has been told otherwise than the profile.
        self.apply_by_up()
        assert self._daemon is not None
        if self._native:
            told = clat.wait_off(self._daemon, "manager-translates")
            assert told["evidence"]["manager-clat"].startswith("192.0.0.")
            clat.wait_no_device(self.host)
        else:
            clat.wait_on(self._daemon)
        eventually(lambda: clat.answers(self.host), message="IPv4 works")
        self.counts["settled, native" if self._native else "settled, ours"] += 1

    # Changes

    def modify(self) -> None:
        """In the profile, not yet in force."""
        self._wished = not self._wished
        self.host.modify("netA", {"ipv4.clat": self._word(self._wished)})

    def apply_by_reapply(self) -> None:
        self._native = self._wished
        self.host.nmcli("device", "reapply", "up0", check=False)  # not while it comes up

    def apply_by_up(self) -> None:
        self._native = self._wished
        self.host.up("netA")

    def switch_on_the_device(self) -> None:
        """Without a word in the profile."""
        self._native = not self._native
        self.host.nmcli("device", "modify", "up0", "ipv4.clat", self._word(self._native), check=False)

    def tell_or_withdraw(self) -> None:
        self._told = not self._told
        self._lab.a.ra(pref64=[[PREF64, 600 if self._told else 0]])

    def restart(self) -> None:
        if self._daemon is not None:
            # It may not even have come to where it wants to hear of it.
            assert self._daemon.stop() in (0, -signal.SIGTERM)
        self._start(wait=self._chance.random() < 0.5)

    def kill(self) -> None:
        if self._daemon is None:
            self._start(wait=False)
        else:
            self._daemon.kill()
            self._daemon = None

    def _start(self, *, wait: bool = True) -> None:
        self._daemon = self.host.daemon("-v")
        if wait:
            eventually(self._daemon.status, message="the daemon answers")

    @staticmethod
    def _word(native: bool) -> str:
        return "auto" if native else "no"


def run(lab: Lab, changes: int, seed: int, *, progress: Callable[[int, Record], None]) -> tuple[Record, Counter[str]]:
    """Make that many changes; AssertionError when there were two translators at once, or none in the end."""
    play = Interleaving(lab, seed)
    watch = play.begin()
    for number in range(1, changes + 1):
        play.step()
        if number % SETTLE_EVERY == 0 or number == changes:
            play.settle()
            progress(number, check(watch.look()))
    return watch.record, play.counts


def check(record: Record) -> Record:
    """Each new connection had one translator: NetworkManager's as soon as it had a route, and ours went then."""
    assert not record.open, record.ways
    bad = [overlap for overlap in record.overlaps if not allowed(overlap)]
    assert not bad, [(f"{overlap.ms:.1f} ms", sorted(map(str, overlap.ways))) for overlap in bad]
    return record


def allowed(overlap: Overlap) -> bool:
    return overlap.native_first and overlap.ms < LONG_MS


def summary(record: Record, counts: Counter[str]) -> Iterator[str]:
    """What there was, in words."""
    yield ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counts.items()))
    yield f"NetworkManager's began {record.native} times, ours {record.ours} times"
    times = sorted(overlap.ms for overlap in record.overlaps)
    if times:
        middle, longest = statistics.median(times), times[-1]
        yield (
            f"ours was still there behind NetworkManager's {len(times)} times:"
            f" median {middle:.2f} ms, longest {longest:.2f} ms"
        )
    yield "no new connection could have had either of two translators"
    if record.yielded_ms:
        given = sorted(record.yielded_ms)
        yield (
            f"ours gave way {len(given)} times, after NetworkManager's address had come:"
            f" median {statistics.median(given):.2f} ms, longest {given[-1]:.2f} ms"
        )


def main() -> int:
    """Do it, print what there was; the exit status."""
    reason = missing(LAB_TOOLS) or why_not(TREE)
    if reason:
        print(f"error: the interleavings {reason}", file=sys.stderr)
        return 1
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print(f"seed {seed}", flush=True)

    def progress(number: int, record: Record) -> None:
        print(f"{number}: {record.native} native, {record.ours} ours, {len(record.overlaps)} behind", flush=True)

    with Lab(root=tree(TREE)) as lab:
        for line in summary(*run(lab, changes, seed, progress=progress)):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
