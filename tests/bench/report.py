# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run says: its lines while it goes on, its tables, and docs/benchmarks.md. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Template

from tests.bench.figures import Results, Spread, Value, spread
from tests.bench.goals import (
    EBPF,
    MANY_MAPPINGS,
    NATIVE,
    NATIVE_AGAIN,
    ONE_MAPPING,
    TAYGA,
    TUN,
    Outcome,
    judge,
)
from tests.bench.loads import FIRST_REPLY, IDLE, LOADS, PROGRAM, RESIDENT, START, SUPERVISOR, Metric

_VARIANTS = (NATIVE, NATIVE_AGAIN, EBPF, TUN, TAYGA)
_PROCESS_METRICS = (START, FIRST_REPLY, RESIDENT, SUPERVISOR, IDLE)
_NOTHING = "-"
_TITLE_WIDTH, _UNIT_WIDTH, _VALUE_WIDTH = 22, 9, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that is neither result nor text."""

    machine: Mapping[str, str]
    command: str
    date: str
    rounds: int
    stream_s: int
    flood_s: int
    duration_s: float
    load_average: float
    """When the run began."""
    others_percent: float | None
    """Share of all CPUs that other programs used while nothing was measured."""
    stolen_percent: float | None


def round_header(number: int, rounds: int) -> str:
    """The first line of a round: what the columns are."""
    names = "".join(f"{name:>{_VALUE_WIDTH}}" for name in _VARIANTS)
    return f"\n{f'round {number} of {rounds}':{_TITLE_WIDTH + _UNIT_WIDTH}}{names}"


def progress(metric: Metric, row: Mapping[str, Value]) -> str:
    """One metric of one round."""
    values = "".join(f"{_number(row.get(name), metric.digits):>{_VALUE_WIDTH}}" for name in _VARIANTS)
    return f"{metric.title:{_TITLE_WIDTH}}{metric.unit:{_UNIT_WIDTH}}{values}"


def figures(metrics: Sequence[Metric], row: Mapping[str, Value]) -> str:
    """Several metrics of one measurement on one line."""
    return ", ".join(
        f"{metric.title} {_number(row.get(metric.key), metric.digits)} {metric.unit}" for metric in metrics
    )


def _number(value: Value, digits: int) -> str:
    return _NOTHING if value is None else f"{value:.{digits}f}"


def _spread(found: Spread | None, digits: int) -> str:
    """`median (lowest..highest)`"""
    if found is None:
        return _NOTHING
    if found.count == 1:
        return f"{found.median:.{digits}f}"
    return f"{found.median:.{digits}f} ({found.low:.{digits}f}..{found.high:.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown that reads well as plain text too: the first column to the left, numbers to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        aligned = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(aligned)} |"

    rule = "|".join(
        "-" * (width + 2) if column == 0 else "-" * (width + 1) + ":" for column, width in enumerate(widths)
    )
    return "\n".join([row(lines[0]), f"|{rule}|", *map(row, lines[1:])])


def goals_table(results: Results) -> str:
    """Goal, what was wanted, what was measured, what noise alone would give, and the verdict."""
    rows = [
        (
            outcome.goal.what,
            outcome.goal.wanted,
            _spread(outcome.measured, _digits(outcome)),
            _spread(outcome.noise, _digits(outcome)),
            outcome.verdict,
        )
        for outcome in judge(results)
    ]
    return table(("goal", "wanted", "measured", "native against itself", ""), rows)


def _digits(outcome: Outcome) -> int:
    return {" x": 2, " ms": 0}.get(outcome.goal.unit, 1)


def _metrics(*, offloads: bool) -> list[Metric]:
    return [metric for load in LOADS if load.offloads == offloads for metric in load.metrics]


def figures_table(results: Results, metrics: Sequence[Metric], variants: Sequence[str] = _VARIANTS) -> str:
    """A row a metric, a column a variant: `median (lowest..highest)`."""
    measured = [metric for metric in metrics if any(results.spread(name, metric.key) for name in variants)]
    rows = [
        (
            f"{metric.title}, {metric.unit}",
            *(_spread(results.spread(name, metric.key), metric.digits) for name in variants),
        )
        for metric in measured
    ]
    return table(("", *variants), rows)


def shares_table(results: Results) -> str:
    """The same as multiples of native IPv6 in the same round."""
    variants = _VARIANTS[1:]
    metrics = [metric for metric in (*_metrics(offloads=True), *_metrics(offloads=False)) if metric.unit != "%"]
    rows = []
    for metric in metrics:
        found = [spread(results.ratios(name, metric.key, NATIVE)) for name in variants]
        if any(found):
            without = ", no offloads" if metric in _metrics(offloads=False) else ""
            rows.append((f"{metric.title}{without}", *(_spread(one, 2) for one in found)))
    return table(("", *variants), rows)


def mappings_table(results: Results) -> str:
    """What a long table costs: a row a metric, and the second as a multiple of the first in the same round."""
    rows = []
    for metric in (*_metrics(offloads=True), *PROGRAM):
        one, many = (results.spread(name, metric.key) for name in (ONE_MAPPING, MANY_MAPPINGS))
        if one and many:
            multiple = None if metric.unit == "%" else spread(results.ratios(MANY_MAPPINGS, metric.key, ONE_MAPPING))
            found = [_spread(each, metric.digits) for each in (one, many)]
            rows.append((f"{metric.title}, {metric.unit}", *found, _spread(multiple, 2)))
    return table(("", ONE_MAPPING, MANY_MAPPINGS, "multiple"), rows)


def summary(results: Results) -> str:
    """What is printed at the end."""
    parts = [
        figures_table(results, _metrics(offloads=True)),
        "without offloads:\n" + figures_table(results, _metrics(offloads=False)),
        figures_table(results, _PROCESS_METRICS, (EBPF, TUN, TAYGA)),
        "multiples of native:\n" + shares_table(results),
        mappings_table(results),
        *(f"repeated: {text}" for text in results.repeats),
        *(f"failed: {text}" for text in results.failures),
        goals_table(results),
    ]
    return "\n\n".join(parts)


def document(results: Results, about: Circumstances) -> str:
    """docs/benchmarks.md"""
    return _DOCUMENT.substitute(
        command=about.command,
        date=about.date,
        minutes=f"{about.duration_s / 60:.1f}",
        rounds=about.rounds,
        stream_s=about.stream_s,
        flood_s=about.flood_s,
        machine="\n".join(_wrapped(f"- {name}: {text}.") for name, text in about.machine.items()),
        others=_wrapped(f"- {_others(about)}"),
        goals=goals_table(results),
        on=figures_table(results, _metrics(offloads=True)),
        off=figures_table(results, _metrics(offloads=False)),
        processes=figures_table(results, _PROCESS_METRICS, (EBPF, TUN, TAYGA)),
        shares=shares_table(results),
        mappings=mappings_table(results),
        troubles=_troubles(results),
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, subsequent_indent="  " if text.startswith("- ") else "", break_long_words=False)


def _others(about: Circumstances) -> str:
    text = f"Load average {about.load_average:.1f} when the run began."
    if about.others_percent is not None and about.stolen_percent is not None:
        text += (
            f" While nothing was measured, other programs used {about.others_percent:.0f} % of the CPUs"
            f" and the hypervisor withheld {about.stolen_percent:.0f} %."
        )
    return text


def _troubles(results: Results) -> str:
    lines = [f"- measured at the second attempt: {text}" for text in results.repeats]
    lines += [f"- not measured: {text}" for text in results.failures]
    return "\n".join(lines) or "Every measurement succeeded at the first attempt."


_DOCUMENT = Template("""\
# Benchmarks

Written by `$command` on $date, in $minutes minutes. Do not edit: the next run replaces it.

## Goals

$goals

Ratios are formed within each round and the median of the rounds is judged; in brackets the lowest and the highest.
*Native against itself* is the same ratio between two identical rigs with plain IPv6: what this machine's noise alone
makes of a figure. A ratio inside that range cannot be told from 1.

## Machine and method

$machine
$others

Two network namespaces, host and server, joined by a veth pair, which is all there is of a network: the server owns the
IPv4-embedded IPv6 address of 198.51.100.1 under 2001:db8:64::/96, so that no NAT64 takes part. Five ways from one
to the other, each in a pair of namespaces of its own:

| name         | way |
|--------------|-----|
| native       | IPv6, nothing translated |
| native again | the same in another pair of namespaces |
| ebpf         | `clatnm translate` with `--backend ebpf` |
| tun          | `clatnm translate` with `--backend tun`: all packets through user space |
| tayga        | TAYGA on a TUN device, forwarding in the host, as clatd sets it up, but with route MTU 1480 |

Median of $rounds rounds. In each round every load goes over all five before the next load begins, and each round begins
with another of the five. TCP: iperf3, $stream_s s, one stream or four. UDP: iperf3 as fast as it can with 64 bytes of
payload, $flood_s s; what counts is what the other end received. RTT: 1000 echo requests, one each millisecond; the mean
of the middle half. CPU: all work of the whole machine, both ends of the connection included, for a gigabyte received.
Client, server and translator share the CPUs, so *CPU per GB is the fairer figure, Gbit/s only compares the columns*.

## Throughput, cost, latency

$on

## Without segmentation and receive offloads

TSO, GSO and GRO switched off on both ends of the veth pair: each packet by itself.

$off

## Multiples of native

$shares

## Processes

$processes

*Start* is from the execution of `clatnm translate` to the first echo reply, with an echo request each millisecond.
*Resident* is the translator process; what the kernel keeps for eBPF programs and maps is not in it.

*RA to first reply* is from the arrival of an RA with PREF64 at a connected host to the first echo reply, through the
running daemon, in the lab with NetworkManager: what a user waits for.

## Mappings

An Edge Relay (RFC 7756) by `ebpf` with one mapping against one with 10,000, two rigs like those above: every load goes
over one and then over the other. The last of the many is used, for a service of the host. *A packet in the programs* is
what the kernel's own clock says of single runs (BPF_PROG_TEST_RUN), with a packet for each of the 10,000, at random.

$mappings

## What bounds them

By profiles (perf, strace, `python -X importtime`) of single loads:

- **native, ebpf**: copying between programs and kernel. With offloads the eBPF programs see up to 64 KiB at a time and
  are below 1 % of all samples.
- **tun**: with offloads a `read` and a `write` for up to 64 KiB. Without, the same two for each packet, with the
  kernel's whole receive path within the `write`; a quarter to a third of the process's time is Python. Network cards
  and their drivers coalesce what they receive, so the case without is rare.
- **tayga**: three system calls for each packet of the link's MTU, in either case: its device takes no larger ones.
- **start**: more than half are imports, a third of these one library (pyroute2), while the translator process starts
  beside.
- **RA to first reply**: the daemon has all imported already, and a process waits that is to be the translator. Half is
  the five requests to the kernel for device, address and routes; then packets flow. Hanging up a hook takes about 10 ms
  (the kernel waits for an RCU grace period), three times, which nobody waits for: until then the process translates.

## Not measured

$troubles
""")
