# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench`, or `make bench`: measure, say how it went, and write docs/benchmarks.md after a full run."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import first_reply, machine, mappings, report
from tests.bench.figures import Results
from tests.bench.loads import FAILURES, FIRST_REPLY, GROUPS
from tests.bench.measure import Background, Options, measure
from tests.bench.report import Circumstances
from tests.lab.requirements import LAB_TOOLS, missing

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"
TOOLS = {**LAB_TOOLS, "iperf3": "iperf3", "ethtool": "ethtool", "ss": "iproute2"}
_FULL = Options()
_QUICK = Options(rounds=2, stream_s=1, idle_s=1.0, daemon_rounds=3)


def options(argv: Sequence[str]) -> Options:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds of short loads; writes no document")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"default: {_FULL.rounds}, or {_QUICK.rounds} with --quick"
    )
    parser.add_argument("--only", metavar="GROUP,…", help=f"of: {', '.join(GROUPS)}; default: all; writes no document")
    arguments = parser.parse_args(argv)
    base = _QUICK if arguments.quick else _FULL
    groups = frozenset(arguments.only.split(",")) if arguments.only else base.groups
    if groups - set(GROUPS):
        parser.error(f"--only: one of {', '.join(GROUPS)}")
    rounds = base.rounds if arguments.rounds is None else arguments.rounds
    if rounds < 1:
        parser.error("--rounds: at least 1")
    return Options(
        rounds=rounds,
        stream_s=base.stream_s,
        flood_s=base.flood_s,
        idle_s=base.idle_s,
        daemon_rounds=base.daemon_rounds,
        groups=groups,
    )


def main(argv: Sequence[str]) -> int:
    """0 unless something could not be measured."""
    wanted = options(argv)
    reason = missing(TOOLS)
    if reason:
        print(f"error: the benchmark {reason}", file=sys.stderr)
        return 1
    started, load = time.monotonic(), os.getloadavg()[0]
    if load >= 1:
        print(f"The machine is busy (load average {load:.1f}): expect noise.")
    results, background = Results(), Background()
    if wanted.groups - {"daemon", "mappings"}:
        try:
            measure(wanted, results, background)
        except FAILURES as error:
            results.failures.append(f"the rest: {error}")
    if wanted.wants("daemon"):
        _daemon(wanted, results)
    if wanted.wants("mappings"):
        try:
            mappings.measure(wanted, results)
        except FAILURES as error:
            results.failures.append(f"mappings: {error}")
    print("\n" + report.summary(results))
    if wanted.groups == _FULL.groups and wanted.stream_s == _FULL.stream_s and not results.failures:
        about = _circumstances(wanted, background, duration_s=time.monotonic() - started, load=load)
        _write(report.document(results, about))
        print(f"\n{DOCUMENT.relative_to(DOCUMENT.parents[1])} written, {about.duration_s:.0f} s")
    return 1 if results.failures else 0


def _daemon(wanted: Options, results: Results) -> None:
    for backend in first_reply.BACKENDS:
        print(f"\nfirst reply through the daemon, {backend}", flush=True)
        try:
            for value in first_reply.measure(first_reply.Clatnm(backend), wanted.daemon_rounds):
                results.add(backend, {FIRST_REPLY.key: value})
        except FAILURES as error:
            results.failures.append(f"first reply through the daemon, {backend}: {error}")


def _circumstances(wanted: Options, background: Background, *, duration_s: float, load: float) -> Circumstances:
    capacity_s = background.watched_s * (os.cpu_count() or 1)
    return Circumstances(
        machine=machine.facts(),
        command="sudo make bench",
        date=datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        rounds=wanted.rounds,
        stream_s=wanted.stream_s,
        flood_s=wanted.flood_s,
        duration_s=duration_s,
        load_average=load,
        others_percent=100 * background.busy_s / capacity_s if capacity_s else None,
        stolen_percent=100 * background.stolen_s / capacity_s if capacity_s else None,
    )


def _write(text: str) -> None:
    """As the checkout's owner, whoever runs this."""
    DOCUMENT.write_text(text, encoding="utf-8")
    owner = DOCUMENT.parent.stat()
    os.chown(DOCUMENT, owner.st_uid, owner.st_gid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
