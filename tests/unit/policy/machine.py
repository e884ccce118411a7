# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that does what `diff` says, so that whole histories can be played without a machine.

Translators take their time: a step only puts them on their way, `finish` or `fail` says how that ended. What a running
translator leaves in the kernel (its device with address and default route) is part of the next world, as it would be.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from clatnm.model import DefaultRoute, Link, Plan, Retry, Running, RunState, Start, Step, Stop, Verdict, World
from clatnm.policy import retry
from clatnm.policy.plan import decide, diff

Summary = dict[str, tuple[str | None, Plan | None]]


class Machine:
    """`facts` is the world without translators and their history; set it anew whenever something happens."""

    def __init__(self, facts: World, *, now: float) -> None:
        self.facts = facts
        self.now = now
        self.running: dict[str, Running] = dict(facts.running)
        self.retries: dict[str, Retry] = {}

    def world(self) -> World:
        own = {run.plan.device: _device(run.plan) for run in self.running.values()}
        return replace(self.facts, links={**self.facts.links, **own}, running=self.running, retries=self.retries)

    def verdicts(self) -> tuple[Verdict, ...]:
        return decide(self.world(), self.now)

    def look(self) -> tuple[Step, ...]:
        """Decide and begin to carry it out; the steps taken."""
        steps = diff(self.running, [verdict.plan for verdict in self.verdicts() if verdict.plan])
        for step in steps:
            interface = step.plan.interface
            if isinstance(step, Start):
                assert interface not in self.running, "two translators for one interface"
            else:
                assert self.running[interface].state is RunState.ON, "a translator on its way was touched"
            state = RunState.STOPPING if isinstance(step, Stop) else RunState.STARTING
            self.running[interface] = Running(plan=step.plan, state=state)
        return steps

    def on_the_way(self) -> list[str]:
        return sorted(name for name, run in self.running.items() if run.state is not RunState.ON)

    def finish(self, interface: str) -> None:
        """What was on its way has arrived: up, or gone."""
        run = self.running[interface]
        if run.state is RunState.STOPPING:
            del self.running[interface]
        else:
            self.running[interface] = replace(run, state=RunState.ON)

    def fail(self, interface: str) -> None:
        """The translator died, wherever it was."""
        if self.running.pop(interface).state is not RunState.STOPPING:
            before = self.retries.get(interface)
            self.retries[interface] = retry.failed(before, error="died", backend="tun", ran_for_s=0, now=self.now)

    def settle(self, *, rounds: int = 5) -> None:
        """Let everything succeed until nothing is left to do; at most so many looks."""
        self.now = max([self.now, *(entry.not_before for entry in self.retries.values())])
        for _ in range(rounds):
            for interface in self.on_the_way():
                self.finish(interface)
            if not self.look():
                return
        raise AssertionError(f"no rest after {rounds} looks: {self.look()}")

    def summary(self) -> Summary:
        """Reason and plan a connection."""
        return {v.uplink.interface: (v.reason, v.plan) for v in self.verdicts()}


def _device(plan: Plan) -> Link:
    """What the kernel has of a translator."""
    return Link(
        index=1000 + plan.ifindex,
        name=plan.device,
        ipv6_mtu_bytes=plan.ipv6_mtu_bytes,
        carrier=True,
        addresses4=frozenset({plan.clat_v4}),
        default4=(DefaultRoute(gateway=None, metric=plan.metric),),
    )


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
