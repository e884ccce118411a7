# SPDX-License-Identifier: GPL-2.0-or-later
"""What a table of mappings costs an Edge Relay (RFC 7757): one with a single mapping against one with 10,000.

Both rigs of a round are there together, and every load goes over one and then the other. Of the many mappings the last
is used: all that is looked up has the whole table around it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from clatnm.proto.eam import EamTable
from tests.bench import report
from tests.bench.figures import Results, Value, middle
from tests.bench.goals import MANY_MAPPINGS, ONE_MAPPING
from tests.bench.loads import FAILURES, LOADS, PROGRAM, Load
from tests.bench.measure import Options
from tests.bench.rig import CLAT, PREFIX, SERVER, SERVER6, Ebpf
from tests.bpf.programs import Clat, Kind, Programs
from tests.lab.namespace import write
from tests.lab.session import Session
from tests.unit.proto import siit_packets

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
        for name, found in program_times(number).items():
            results.add(name, found)
            print(f"{name:>18}  {report.figures(PROGRAM, found)}", flush=True)
        with _rigs(number) as rigs:
            for load in LOADS:
                if load.offloads and load.group in GROUPS:
                    _one_after_the_other(load, rigs, options, results)


def program_times(seed: int) -> dict[str, dict[str, Value]]:
    """What the kernel's own clock says of a packet in the programs, each mapping once, at random: nothing is warm."""
    numbers = list(range(1, MANY + 1))
    random.Random(seed).shuffle(numbers)
    loaded = [(variant.name, variant.count, Programs(_clat(variant.count))) for variant in VARIANTS]
    times: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name, _, _ in loaded}
    try:
        for number in numbers:
            for name, count, programs in loaded:
                host = number if count == MANY else MANY
                up, down = times[name]
                assert programs.from_host(_packet4(host)).kind is Kind.TRANSLATED
                up.append(programs.egress.took_ns)
                assert programs.from_network(_packet6(host)).kind is Kind.TRANSLATED
                down.append(programs.ingress.took_ns)
    finally:
        for _, _, programs in loaded:
            programs.close()
    return {
        name: dict(zip((metric.key for metric in PROGRAM), map(middle, found), strict=True))
        for name, found in times.items()
    }


def _clat(count: int) -> Clat:
    table = EamTable((IPv4Network(_HOSTS4[n]), IPv6Network(_HOSTS6[n])) for n in range(MANY - count + 1, MANY + 1))
    return Clat(clat_v4=IPv4Address("192.0.0.8"), clat_v6=CLAT, prefix=PREFIX, mappings=table)


def _packet4(number: int) -> bytes:
    packet = siit_packets.ipv4(siit_packets.udp(b"x"), siit_packets.UDP, source=_HOSTS4[number], destination=SERVER)
    return siit_packets.summed(packet)


def _packet6(number: int) -> bytes:
    packet = siit_packets.ipv6(siit_packets.udp(b"x"), siit_packets.UDP, source=SERVER6, destination=_HOSTS6[number])
    return siit_packets.summed(packet)


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
