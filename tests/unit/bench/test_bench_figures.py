# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians, ratios within a round, percentiles: also where measurements failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.figures import Results, Spread, Value, differences, middle, percentile, ratios, spread

FIGURES = st.floats(min_value=0.001, max_value=1e6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([3.0, 1.0, 2.0], Spread(median=2.0, low=1.0, high=3.0, count=3), id="odd"),
        pytest.param([4.0, 1.0, 2.0, 3.0], Spread(median=2.5, low=1.0, high=4.0, count=4), id="even"),
        pytest.param([7.0], Spread(median=7.0, low=7.0, high=7.0, count=1), id="one"),
        pytest.param([None, 5.0, None, 7.0], Spread(median=6.0, low=5.0, high=7.0, count=2), id="some-failed"),
        pytest.param([None], None, id="all-failed"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_spread_is_of_what_succeeded(values: list[Value], expected: Spread | None) -> None:
    assert spread(values) == expected


@pytest.mark.parametrize(
    ("values", "reference", "expected"),
    [
        pytest.param([10.0, 30.0], [20.0, 10.0], [0.5, 3.0], id="round-by-round"),
        pytest.param([10.0, None, 4.0], [None, 5.0, 2.0], [None, None, 2.0], id="either-failed"),
        pytest.param([10.0], [0.0], [None], id="of-nothing"),
        pytest.param([], [1.0], [], id="not-measured"),
    ],
)
def test_ratio_pairs_what_is_of_the_same_round(
    values: list[Value], reference: list[Value], expected: list[Value]
) -> None:
    assert ratios(values, reference) == expected


def test_ratio_of_medians_is_not_the_median_of_ratios() -> None:
    # The machine was twice as fast in the second round; the two never differed.
    results = Results()
    for native, ebpf in ((10.0, 10.0), (20.0, 20.0), (10.0, 10.0)):
        results.add("native", {"up": native})
        results.add("ebpf", {"up": ebpf})
    assert spread(results.ratios("ebpf", "up", "native")) == Spread(median=1.0, low=1.0, high=1.0, count=3)


def test_failed_round_keeps_later_rounds_paired() -> None:
    results = Results()
    for native, ebpf in ((10.0, None), (20.0, 10.0)):
        results.add("native", {"up": native})
        results.add("ebpf", {"up": ebpf})
    assert results.ratios("ebpf", "up", "native") == [None, 0.5]
    assert results.spread("ebpf", "up") == Spread(median=10.0, low=10.0, high=10.0, count=1)


def test_unknown_series_is_empty() -> None:
    assert list(Results().series("ebpf", "up")) == []
    assert Results().spread("ebpf", "up") is None


def test_differences_pair_rounds_too() -> None:
    assert differences([3.0, None, 5.0], [1.0, 2.0, 7.5]) == [2.0, None, -2.5]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_percentile_of_a_hundred(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_middle_does_not_see_outliers() -> None:
    assert middle([3.0, 4.0, 3.0, 4.0, 3.0, 4.0, 3.0, 5000.0]) == 3.5


@given(st.lists(FIGURES, min_size=1))
def test_middle_and_percentile_stay_between_the_extremes(values: list[float]) -> None:
    margin = 1e-9 * max(values)
    assert min(values) - margin <= middle(values) <= max(values) + margin
    assert percentile(values, 0.5) in values
    assert sum(value <= percentile(values, 0.9) for value in values) >= 0.9 * len(values)


@given(st.lists(FIGURES, min_size=1))
def test_everything_is_once_itself(values: list[float]) -> None:
    assert ratios(values, values) == [1.0] * len(values)
