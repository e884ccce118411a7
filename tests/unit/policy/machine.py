# SPDX-License-Identifier: GPL-2.0-or-later
"""The rehearsal of the product, plus what goes wrong: translators die, and everything happens in any order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from clatnm.model import Plan, Reason, RunState
from clatnm.policy import drain, retry
from clatnm.policy.rehearsal import Rehearsal

Summary = dict[str, tuple[Reason | None, Plan | None]]


class Machine(Rehearsal):
    """Fails on command."""

    def fail(self, key: str) -> None:
        """The translator died, wherever it was."""
        run = self.running.pop(key)
        if run.state is not RunState.STOPPING:
            interface = run.plan.interface
            before = self.retries.get(interface)
            self.retries[interface] = retry.failed(before, error="died", backend="tun", ran_for_s=0, now=self.now)

    def come_to_rest(self) -> None:
        """Let everything succeed, all waiting be over, and whatever drains run dry."""
        self.now = max([self.now, *(entry.not_before for entry in self.retries.values())])
        self.settle()
        for _ in range(4):
            if not any(run.withdrawn_at is not None for run in self.running.values()):
                return
            self.now += drain.LINGER_S
            self.settle()
        raise AssertionError(f"a drain without end: {self.running}")

    def summary(self) -> Summary:
        """Reason and plan a connection."""
        return {v.uplink.interface: (v.reason, v.plan) for v in self.verdicts()}


def play(machine: Machine, events: list[Mapping[str, object]], rng: random.Random) -> None:
    """Let the facts change one by one (each event replaces fields of the world), with looks, successes, failures and
    time in between as `rng` has it."""
    for event in events:
        machine.facts = replace(machine.facts, **event)  # type: ignore[arg-type]
        for _ in range(rng.randrange(4)):
            what, waiting = rng.randrange(5), machine.on_the_way()
            if what == 0 and waiting:
                machine.finish(rng.choice(waiting))
            elif what == 1 and machine.running:
                machine.fail(rng.choice(sorted(machine.running)))
            elif what == 2:
                machine.now += rng.uniform(0, 3)
            else:
                machine.look()
