# SPDX-License-Identifier: GPL-2.0-or-later
"""Goals, tables, the document, and what the command line asks for."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.bench import report
from tests.bench.__main__ import options
from tests.bench.figures import Results, Value
from tests.bench.goals import EBPF, GOALS, MANY_MAPPINGS, NATIVE, NATIVE_AGAIN, ONE_MAPPING, TAYGA, TUN, judge
from tests.bench.loads import FIRST_REPLY, GROUPS, IDLE, LOADS, RESIDENT, START, SUPERVISOR, Metric
from tests.bench.report import Circumstances

ABOUT = Circumstances(
    machine={"CPU": "2 x Test", "Linux": "6.18"},
    command="sudo make bench",
    date="2026-01-02 03:04 UTC",
    rounds=3,
    stream_s=2,
    flood_s=1,
    duration_s=90.0,
    load_average=0.5,
    others_percent=3.0,
    stolen_percent=0.0,
)
VARIANTS = (NATIVE, NATIVE_AGAIN, EBPF, TUN, TAYGA)
METRICS = [metric for load in LOADS for metric in load.metrics]


def complete(rounds: int = 3) -> Results:
    """Every metric of every variant, different in each round."""
    results = Results()
    for number in range(1, rounds + 1):
        for variant in (*VARIANTS, ONE_MAPPING, MANY_MAPPINGS):
            results.add(variant, {metric.key: 10.0 * number for metric in METRICS})
        for variant in (EBPF, TUN):
            results.add(variant, {START.key: 50.0, RESIDENT.key: 15.0, SUPERVISOR.key: 30.0, IDLE.key: 0.0})
            results.add(variant, {FIRST_REPLY.key: 7.0 + number})
    return results


def verdict(what: str, results: Results) -> str:
    (found,) = (outcome.verdict for outcome in judge(results) if outcome.goal.what == what)
    return found


@pytest.mark.parametrize(
    ("native", "ebpf", "expected"),
    [
        pytest.param([10.0, 10.0, 10.0], [9.5, 9.5, 9.5], "met", id="just"),
        pytest.param([10.0, 10.0, 10.0], [9.4, 9.4, 20.0], "missed", id="median-not-mean"),
        pytest.param([10.0, 40.0, 10.0], [9.0, 40.0, 11.0], "met", id="within-the-round"),
        pytest.param([10.0, None], [None, 9.0], "not measured", id="no-pair"),
        pytest.param([], [], "not measured", id="nothing"),
    ],
)
def test_share_of_native_is_judged_by_the_median_of_rounds(
    native: list[Value], ebpf: list[Value], expected: str
) -> None:
    results = Results()
    for value in native:
        results.add(NATIVE, {"up": value})
    for value in ebpf:
        results.add(EBPF, {"up": value})
    assert verdict("eBPF, TCP up, share of native", results) == expected


@pytest.mark.parametrize(("cpu", "expected"), [(1.15, "met"), (1.2, "missed")])
def test_cost_has_to_be_at_most_the_limit(cpu: float, expected: str) -> None:
    results = Results()
    results.add(NATIVE, {"up_cpu": 1.0})
    results.add(EBPF, {"up_cpu": cpu})
    assert verdict("eBPF, TCP up, CPU per GB", results) == expected


@pytest.mark.parametrize(("rtt", "expected"), [(4.0, "met"), (5.5, "missed")])
def test_rtt_is_judged_by_the_difference(rtt: float, expected: str) -> None:
    results = Results()
    results.add(NATIVE, {"rtt": 3.0})
    results.add(EBPF, {"rtt": rtt})
    assert verdict("eBPF, RTT above native", results) == expected


@pytest.mark.parametrize(("tun", "expected"), [(2.0, "met"), (1.9, "missed")])
def test_user_space_is_compared_with_tayga_without_offloads(tun: float, expected: str) -> None:
    results = Results()
    results.add(TAYGA, {"down_off": 2.0, "down": 1.0})
    results.add(TUN, {"down_off": tun, "down": 50.0})
    assert verdict("user space, TCP down without offloads, times TAYGA", results) == expected


def test_every_goal_is_measured_by_a_complete_run() -> None:
    assert [outcome.goal.what for outcome in judge(complete()) if outcome.verdict == "not measured"] == []


def test_goals_are_told_apart_by_their_words() -> None:
    assert len({goal.what for goal in GOALS}) == len(GOALS)


def test_only_shares_of_native_have_a_noise_floor() -> None:
    with_noise = {outcome.goal.what for outcome in judge(complete()) if outcome.noise is not None}
    assert with_noise == {goal.what for goal in GOALS if re.search(r"native|CPU per GB", goal.what)}


def test_table_is_markdown_with_aligned_columns() -> None:
    text = report.table(("", "native"), [("TCP up", "1"), ("x", "23.4 (1.0..40.0)")])
    assert text.splitlines() == [
        "|        |           native |",
        "|--------|-----------------:|",
        "| TCP up |                1 |",
        "| x      | 23.4 (1.0..40.0) |",
    ]


def test_table_leaves_out_what_was_not_measured() -> None:
    results = Results()
    results.add(NATIVE, {"up": 10.0, "up_cpu": None})
    results.add(EBPF, {"up": None})
    text = report.figures_table(results, METRICS, (NATIVE, EBPF))
    assert text.splitlines()[2:] == ["| TCP up, Gbit/s |  10.00 |    - |"]


def test_progress_lines_are_columns_under_the_header() -> None:
    metric = Metric(key="k", title="TCP up", unit="Gbit/s")
    lines = [report.round_header(1, 5).strip("\n"), report.progress(metric, {NATIVE: 41.234, EBPF: None, TUN: 7.0})]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["TCP", "up", "Gbit/s", "41.23", "-", "-", "7.00", "-"]


def test_document_has_every_metric_and_goal_and_no_blank_left() -> None:
    text = report.document(complete(), ABOUT)
    assert [metric.title for metric in METRICS if metric.title not in text] == []
    assert [goal.what for goal in GOALS if f"| {goal.what} " not in text] == []
    assert "$" not in text
    assert "9.0 (8.0..10.0)" in text
    assert "Every measurement succeeded at the first attempt." in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_document_admits_what_failed() -> None:
    results = replace(complete(), failures=["TCP up, tayga: timed out"], repeats=["RTT, tun: no answer"])
    text = report.document(results, ABOUT)
    assert "- not measured: TCP up, tayga: timed out" in text
    assert "- measured at the second attempt: RTT, tun: no answer" in text


def test_summary_names_failures_and_ends_with_the_goals() -> None:
    results = replace(complete(), failures=["TCP up, tayga: timed out"])
    text = report.summary(results)
    assert "failed: TCP up, tayga: timed out" in text
    assert text.endswith(report.goals_table(results))


def test_run_without_arguments_is_full() -> None:
    wanted = options([])
    assert (wanted.rounds, wanted.stream_s, wanted.groups) == (5, 2, frozenset(GROUPS))


def test_quick_run_has_fewer_and_shorter_loads() -> None:
    full, quick = options([]), options(["--quick"])
    assert (quick.rounds, quick.groups) == (2, full.groups)
    assert quick.stream_s < full.stream_s


def test_rounds_and_groups_can_be_chosen() -> None:
    wanted = options(["--rounds", "7", "--only", "tcp,rtt"])
    assert wanted.rounds == 7
    assert [group for group in GROUPS if wanted.wants(group)] == ["tcp", "rtt"]


@pytest.mark.parametrize("argv", [["--only", "tcp,warp"], ["--rounds", "0"], ["--rounds", "many"], ["--fast"]])
def test_senseless_arguments_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options(argv)
    assert raised.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_every_load_belongs_to_a_group_that_can_be_chosen() -> None:
    assert {load.group for load in LOADS} <= set(GROUPS)
