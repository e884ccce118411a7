# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians and ratios of measurements that may have failed (None). Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Value = float | None
"""One measurement; None: it failed, or there is nothing to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What several measurements of the same thing gave."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[Value]) -> Spread | None:
    """Of those that succeeded; None when none did."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    return Spread(median=statistics.median(found), low=min(found), high=max(found), count=len(found))


def ratios(values: Sequence[Value], reference: Sequence[Value]) -> list[Value]:
    """Round by round, so that what slows the whole machine down for a while does not count."""
    return [
        None if value is None or not other else value / other for value, other in zip(values, reference, strict=False)
    ]


def differences(values: Sequence[Value], reference: Sequence[Value]) -> list[Value]:
    """Round by round, `value - reference`."""
    return [
        None if value is None or other is None else value - other
        for value, other in zip(values, reference, strict=False)
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` (0 to 1) of them do not exceed. ValueError without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def middle(values: Sequence[float]) -> float:
    """Mean of the middle half: as steady as a median, and finer than the clock the values were read from."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return statistics.fmean(ordered[quarter : len(ordered) - quarter])


@dataclass(slots=True)
class Results:
    """Every measurement by variant and metric, one a round."""

    rows: dict[tuple[str, str], list[Value]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """What could not be measured, and why."""
    repeats: list[str] = field(default_factory=list)
    """What was measured only at the second attempt, and why."""

    def add(self, variant: str, values: Mapping[str, Value]) -> None:
        """Note what one load gave in one round."""
        for metric, value in values.items():
            self.rows.setdefault((variant, metric), []).append(value)

    def series(self, variant: str, metric: str) -> Sequence[Value]:
        """All rounds; empty when it was not measured."""
        return self.rows.get((variant, metric), ())

    def spread(self, variant: str, metric: str) -> Spread | None:
        return spread(self.series(variant, metric))

    def ratios(self, variant: str, metric: str, reference: str) -> list[Value]:
        """`variant` as a multiple of `reference`, round by round."""
        return ratios(self.series(variant, metric), self.series(reference, metric))
