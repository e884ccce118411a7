# SPDX-License-Identifier: GPL-2.0-or-later
"""What clatnm wants to reach, and whether a run reached it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.figures import Results, Spread, Value, differences, spread

NATIVE, NATIVE_AGAIN, EBPF, TUN, TAYGA = "native", "native again", "ebpf", "tun", "tayga"
ONE_MAPPING, MANY_MAPPINGS = "1 mapping", "10,000 mappings"
_STREAMS = (("up", "TCP up"), ("down", "TCP down"), ("up4", "4 TCP up"), ("down4", "4 TCP down"))
_FLOODS = (("udp_up", "UDP 64 B up"), ("udp_down", "UDP 64 B down"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`values` gives one figure a round, whose median has to be at least, or at most, `limit`."""

    what: str
    limit: float
    at_least: bool
    unit: str
    values: Callable[[Results], Sequence[Value]]
    noise: Callable[[Results], Sequence[Value]] | None = None
    """The same figure for native IPv6 against itself: what the machine's noise alone makes of it."""

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A goal and what was measured; None: it was not measured, or failed."""

    goal: Goal
    measured: Spread | None
    noise: Spread | None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        reached = self.measured.median >= self.goal.limit if self.goal.at_least else None
        if reached is None:
            reached = self.measured.median <= self.goal.limit
        return "met" if reached else "missed"


def judge(results: Results) -> list[Outcome]:
    """Every goal, in order."""
    return [
        Outcome(
            goal=goal,
            measured=spread(goal.values(results)),
            noise=spread(goal.noise(results)) if goal.noise is not None else None,
        )
        for goal in GOALS
    ]


def _share(
    what: str, metric: str, limit: float, *, variant: str = EBPF, of: str = NATIVE, at_least: bool = True
) -> Goal:
    return Goal(
        what=what,
        limit=limit,
        at_least=at_least,
        unit=" x",
        values=lambda results: results.ratios(variant, metric, of),
        noise=(lambda results: results.ratios(NATIVE_AGAIN, metric, NATIVE)) if of == NATIVE else None,
    )


def _excess(what: str, metric: str, limit: float, unit: str) -> Goal:
    return Goal(
        what=what,
        limit=limit,
        at_least=False,
        unit=unit,
        values=lambda results: differences(results.series(EBPF, metric), results.series(NATIVE, metric)),
        noise=lambda results: differences(results.series(NATIVE_AGAIN, metric), results.series(NATIVE, metric)),
    )


def _at_most(what: str, metric: str, limit: float, unit: str, *, variant: str) -> Goal:
    return Goal(
        what=what, limit=limit, at_least=False, unit=unit, values=lambda results: results.series(variant, metric)
    )


GOALS: tuple[Goal, ...] = (
    *(_share(f"eBPF, {title}, share of native", key, 0.95) for key, title in _STREAMS),
    *(_share(f"eBPF, {title}, CPU per GB", f"{key}_cpu", 1.15, at_least=False) for key, title in _STREAMS[:2]),
    _share("eBPF, UDP 64 B up, received, share of native", "udp_up", 0.75),
    _share("eBPF, UDP 64 B down, received, share of native", "udp_down", 0.75),
    *(
        _share(f"eBPF, 10,000 mappings, {title}, share of 1 mapping", key, 0.95, variant=MANY_MAPPINGS, of=ONE_MAPPING)
        for key, title in (*_STREAMS, *_FLOODS)
    ),
    _excess("eBPF, RTT above native", "rtt", 2, " µs"),
    *(_share(f"eBPF, {title}, times TAYGA", key, 12, of=TAYGA) for key, title in _STREAMS[:2]),
    *(_share(f"user space, {title}, share of native", key, 0.45, variant=TUN) for key, title in _STREAMS[:2]),
    _share("user space, TCP up without offloads, times TAYGA", "up_off", 1, variant=TUN, of=TAYGA),
    _share("user space, TCP down without offloads, times TAYGA", "down_off", 1, variant=TUN, of=TAYGA),
    _at_most("eBPF, start to first reply", "start", 60, " ms", variant=EBPF),
    _at_most("user space, start to first reply", "start", 60, " ms", variant=TUN),
    _at_most("eBPF, RA to first reply", "first_reply", 30, " ms", variant=EBPF),
    _at_most("eBPF, RA to first reply, hoped for", "first_reply", 10, " ms", variant=EBPF),
    _at_most("user space, RA to first reply", "first_reply", 30, " ms", variant=TUN),
    _at_most("eBPF, translator resident", "resident", 16, " MiB", variant=EBPF),
    _at_most("user space, translator resident", "resident", 16, " MiB", variant=TUN),
    # Less than a tick in ten seconds: what answering the kernel's neighbour probes costs.
    _at_most("eBPF, CPU when idle", "idle", 1, " ms/s", variant=EBPF),
    _at_most("user space, CPU when idle", "idle", 1, " ms/s", variant=TUN),
)
