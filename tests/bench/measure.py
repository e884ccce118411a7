# SPDX-License-Identifier: GPL-2.0-or-later
"""Round after round: a rig for each variant, and every load on each of them in turn.

All rigs of a round are there together and one load goes over all of them before the next begins, so that what is
compared was measured within seconds. Who is first changes with each round.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.bench import loads, report
from tests.bench.figures import Results, Value
from tests.bench.loads import FAILURES, IDLE, LOADS, RESIDENT, START, SUPERVISOR, Load, Metric
from tests.bench.rig import VARIANTS, Rig
from tests.lab.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure; all times in seconds."""

    rounds: int = 5
    stream_s: int = 2
    flood_s: int = 1
    idle_s: float = 2.0
    daemon_rounds: int = 11
    groups: frozenset[str] = frozenset(loads.GROUPS)

    def wants(self, group: str) -> bool:
        return group in self.groups


@dataclass(slots=True)
class Background:
    """What else went on: seconds of CPU others used, and were stolen, while the rigs were idle."""

    watched_s: float = 0.0
    busy_s: float = 0.0
    stolen_s: float = 0.0


def measure(options: Options, results: Results, background: Background) -> None:
    """Fill `results` round by round, and say so. Failed measurements are noted there; LabError: no rig can be made."""
    for number in range(options.rounds):
        print(report.round_header(number + 1, options.rounds), flush=True)
        with _rigs(number) as rigs:
            _Round(options, results, background, rigs).run()


@contextlib.contextmanager
def _rigs(number: int) -> Iterator[list[Rig]]:
    """One rig a variant; which is first moves on with each round."""
    first = number % len(VARIANTS)
    session = Session.open()
    try:
        rigs = [variant(session, f"{place}") for place, variant in enumerate(VARIANTS)]
        for rig in rigs:
            rig.wait_up()
        yield rigs[first:] + rigs[:first]
    finally:
        session.close()


class _Round:
    def __init__(self, options: Options, results: Results, background: Background, rigs: Sequence[Rig]) -> None:
        self._options = options
        self._results = results
        self._background = background
        self._rigs = list(rigs)

    def run(self) -> None:
        self._start()
        self._loads(offloads=True)
        self._show_each((RESIDENT, SUPERVISOR), {rig.name: loads.memory(rig) for rig in self._rigs})
        if self._options.wants("offload"):
            for rig in self._rigs:
                rig.set_offloads(False)
            self._loads(offloads=False)
        if self._options.wants("idle"):
            self._idle()

    def _start(self) -> None:
        """Bring every translator up; one that does not come is not measured in this round."""
        started: dict[str, Mapping[str, Value]] = {}
        for rig in self._rigs:
            try:
                started[rig.name] = {START.key: rig.start()}
            except FAILURES as error:
                self._results.failures.append(f"{rig.name} does not start: {_first_line(error)}")
        self._rigs = [rig for rig in self._rigs if rig.name in started]
        self._show_each((START,), started)

    def _loads(self, *, offloads: bool) -> None:
        for load in LOADS:
            if load.offloads == offloads and self._options.wants(load.group):
                self._show_each(load.metrics, {rig.name: self._one(load, rig) for rig in self._rigs})

    def _one(self, load: Load, rig: Rig) -> Mapping[str, Value]:
        """One load on one rig, at the second attempt if need be."""
        seconds = self._options.flood_s if load.group == "udp" else self._options.stream_s
        what = f"{load.metrics[0].title}, {rig.name}"
        attempt = partial(load.run, rig, seconds)
        try:
            return attempt()
        except FAILURES as error:
            self._results.repeats.append(f"{what}: {_first_line(error)}")
        try:
            rig.serve()
            return attempt()
        except FAILURES as error:
            self._results.failures.append(f"{what}: {_first_line(error)}")
            return {}

    def _idle(self) -> None:
        busy, stolen, started = loads.busy_s(), loads.stolen_s(), time.monotonic()
        used = loads.idle(self._rigs, self._options.idle_s)
        self._background.watched_s += time.monotonic() - started
        self._background.busy_s += loads.busy_s() - busy
        self._background.stolen_s += loads.stolen_s() - stolen
        translating = {rig.name for rig in self._rigs if rig.translators()}
        self._show_each((IDLE,), {name: {IDLE.key: value} for name, value in used.items() if name in translating})

    def _show_each(self, metrics: Sequence[Metric], values: Mapping[str, Mapping[str, Value]]) -> None:
        """Note what was measured, None for what was not, and print a line a metric."""
        for metric in metrics:
            row = {variant.name: values.get(variant.name, {}).get(metric.key) for variant in VARIANTS}
            for name, value in row.items():
                self._results.add(name, {metric.key: value})
            print(report.progress(metric, row), flush=True)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
