# SPDX-License-Identifier: GPL-2.0-or-later
"""What a table of mappings costs an Edge Relay (RFC 7757): one with a single mapping against one with 10,000.

Both rigs of a round are there together, and every load goes over one and then the other. Of the many mappings the last
is used: all that is looked up has the whole table around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network

from tests.bench import report
from tests.bench.figures import Results
from tests.bench.goals import MANY_MAPPINGS, ONE_MAPPING
from tests.bench.loads import FAILURES, LOADS, Load
from tests.bench.measure import Options
from tests.bench.rig import Ebpf
from tests.lab.namespace import write
from tests.lab.session import Session

MANY = 10_000
GROUPS = ("tcp", "udp", "rtt")
_HOSTS4, _HOSTS6 = IPv4Network("10.64.0.0/16"), IPv6Network("2001:db8:77::/112")
_UPLINK = "2001:db8:1::10"


class One(Ebpf):
    """The host is an Edge Relay for one of its own services."""

    name = ONE_MAPPING
    count = 1

    def start(self) -> float | None:
        self.server.ip("route", "add", str(_HOSTS6), "via", _UPLINK)
        return super().start()

    def choices(self) -> tuple[str, ...]:
        lines = "".join(f"{_HOSTS4[number]} {_HOSTS6[number]}\n" for number in self._numbers())
        file = write(self.session.directory / f"eam-{self.label}", lines)
        return ("--eam-file", str(file), "--address", str(_HOSTS4[MANY]))

    def _numbers(self) -> range:
        return range(MANY - self.count + 1, MANY + 1)


class Many(One):
    """The same with a large table."""

    name = MANY_MAPPINGS
    count = MANY


VARIANTS = (One, Many)


def measure(options: Options, results: Results) -> None:
    """Fill `results` round by round, and say so. Failed measurements are noted there; LabError: no rig can be made."""
    for number in range(options.rounds):
        print(f"\nmappings, round {number + 1} of {options.rounds}", flush=True)
        with _rigs(number) as rigs:
            for load in LOADS:
                if load.offloads and load.group in GROUPS:
                    _one_after_the_other(load, rigs, options, results)


def _one_after_the_other(load: Load, rigs: list[One], options: Options, results: Results) -> None:
    seconds = options.flood_s if load.group == "udp" else options.stream_s
    for rig in rigs:
        try:
            found = load.run(rig, seconds)
        except FAILURES as error:
            results.failures.append(f"{load.metrics[0].title}, {rig.name}: {error}")
            found = {metric.key: None for metric in load.metrics}
        results.add(rig.name, found)
        print(f"{rig.name:>18}  {report.figures(load.metrics, found)}", flush=True)


@contextmanager
def _rigs(number: int) -> Iterator[list[One]]:
    session = Session.open()
    try:
        rigs = [variant(session, f"m{place}") for place, variant in enumerate(VARIANTS)]
        for rig in rigs:
            rig.wait_up()
            rig.start()
        yield rigs if number % 2 == 0 else rigs[::-1]
    finally:
        session.close()
