# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine in the mind that does what `diff` says, so that whole histories can be played without a machine.

Translators take their time: a step only puts them on their way, `finish` says that they have arrived. What a running
translator leaves in the kernel (its device with address and default route) is part of the next world, as it would be.
"""

from __future__ import annotations

from dataclasses import replace

from clatnm.model import DefaultRoute, Link, Plan, Retry, Running, RunState, Start, Step, Stop, Verdict, World
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, wake_at, wanted


class Rehearsal:
    """`facts` is the world without translators and their history; set it and `now` anew whenever something happens."""

    def __init__(self, facts: World, *, now: float) -> None:
        self.facts = facts
        self.now = now
        self.running: dict[str, Running] = dict(facts.running)
        self.retries: dict[str, Retry] = {}

    def world(self) -> World:
        """The facts with the translators that run, and what these leave in the kernel."""
        own = {run.plan.device: device_of(run.plan) for run in self.running.values()}
        return replace(self.facts, links={**self.facts.links, **own}, running=self.running, retries=self.retries)

    def verdicts(self) -> tuple[Verdict, ...]:
        """The decisions now."""
        return decide(self.world(), self.now)

    def look(self) -> tuple[Step, ...]:
        """Decide and begin to carry it out; the steps taken."""
        steps = diff(self.running, wanted(self.verdicts()))
        for step in steps:
            key = step.plan.key
            before = self.running.get(key)
            if isinstance(step, Start):
                assert before is None, "two translators of one name"
            else:
                assert before is not None and before.state is RunState.ON, "a translator on its way was touched"
            state = RunState.STOPPING if isinstance(step, Stop) else RunState.STARTING
            since = before.withdrawn_at if before is not None and before.withdrawn_at is not None else self.now
            self.running[key] = Running(plan=step.plan, state=state, withdrawn_at=None if step.plan.offered else since)
        return steps

    def on_the_way(self) -> list[str]:
        """Keys of the translators that are coming up, changing or going."""
        return sorted(key for key, run in self.running.items() if run.state is not RunState.ON)

    def finish(self, key: str) -> None:
        """What was on its way has arrived: up, or gone."""
        run = self.running[key]
        if run.state is RunState.STOPPING:
            del self.running[key]
        else:
            self.running[key] = replace(run, state=RunState.ON)

    def settle(self, *, rounds: int = 12) -> tuple[Step, ...]:
        """Let everything succeed until nothing is left to do now; the steps taken. At most so many looks."""
        taken: list[Step] = []
        for _ in range(rounds):
            for key in self.on_the_way():
                self.finish(key)
            steps = self.look()
            if not steps:
                return tuple(taken)
            taken.extend(steps)
        raise AssertionError(f"no rest after {rounds} looks: {self.look()}")

    def wake_at(self) -> float | None:
        """When time alone may change a verdict."""
        return wake_at(self.world(), self.now)


def device_of(plan: Plan) -> Link:
    """What the kernel has of a translator."""
    return Link(
        index=1000 + plan.ifindex,
        name=plan.device,
        ipv6_mtu_bytes=plan.ipv6_mtu_bytes,
        carrier=True,
        addresses4=frozenset({plan.clat_v4}),
        default4=(DefaultRoute(gateway=None, metric=plan.metric),) if plan.offered and plan.default_route else (),
    )
