# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bpf.fuzz [PACKETS [SEED]]`: generated packets through the programs and the translator (root).

Every batch has a CLAT of its own. A seed tells all of a run, so that a failure can be had again.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from clatnm.errors import HostError
from tests.bpf.compare import Comparison, DisagreementError
from tests.bpf.packets import Case, Generator, random_clat
from tests.bpf.programs import Kind

BATCH = 400

Summary = Counter[tuple[str, str, Kind]]
"""(direction, kind of packet, what became of it) → how many."""


def batch(seed: int, number: int, packets: int, summary: Summary) -> None:
    """One CLAT and its packets. DisagreementError, which says how to have the same again."""
    chance = random.Random(f"{seed} {number}")
    clat = random_clat(chance)
    generator = Generator(chance, clat)
    comparison = Comparison(clat)
    try:
        for _ in range(packets):
            case = generator.case()
            try:
                kind = _run(comparison, case)
            except (DisagreementError, AssertionError, HostError) as error:
                raise DisagreementError(f"seed {seed}, batch {number}\n{clat}\n{case}\n{error}") from error
            summary["ipv4 to ipv6" if case.from_host else "ipv6 to ipv4", case.kind, kind] += 1
    finally:
        comparison.close()


def _run(comparison: Comparison, case: Case) -> Kind:
    if case.from_host:
        return comparison.from_host(case.packet, ethertype=case.ethertype, gso_size=case.gso_size)
    return comparison.from_network(case.packet, ethertype=case.ethertype, gso_size=case.gso_size, macs=case.macs)


def fuzz(seed: int, packets: int, *, progress: bool = False) -> Summary:
    """So many packets, and what became of them. DisagreementError."""
    summary: Summary = Counter()
    started = told = time.monotonic()
    for number, done in enumerate(range(0, packets, BATCH)):
        batch(seed, number, min(BATCH, packets - done), summary)
        now = time.monotonic()
        if progress and (now - told > 5 or done + BATCH >= packets):
            total = summary.total()
            print(
                f"fuzz: {total} packets, {total / (now - started):.0f}/s, {accepted(summary):.0%} translated",
                flush=True,
            )
            told = now
    return summary


def accepted(summary: Summary) -> float:
    """The share that the programs translated."""
    return sum(count for (_, _, kind), count in summary.items() if kind is Kind.TRANSLATED) / summary.total()


def table(summary: Summary) -> str:
    """The summary to be read."""
    lines = [f"{'':34}" + "".join(f"{kind.value:>16}" for kind in Kind)]
    for direction, made in sorted({(direction, made) for direction, made, _ in summary}):
        counts = "".join(f"{summary[direction, made, kind]:16}" for kind in Kind)
        lines.append(f"{direction:14}{made:20}{counts}")
    lines.append(
        f"{'all':34}" + "".join(f"{sum(c for (_, _, k), c in summary.items() if k is kind):16}" for kind in Kind)
    )
    return "\n".join(lines)


def main() -> int:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    print(f"fuzz: seed {seed}")
    try:
        print(table(fuzz(seed, packets, progress=True)))
    except DisagreementError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
