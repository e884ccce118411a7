# SPDX-License-Identifier: GPL-2.0-or-later
"""The loads put on a rig, each bounded in time, and the numbers that each gives."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import readings
from tests.bench.figures import Value, middle, percentile
from tests.bench.rig import PORT, Rig

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_GRACE_S = 6.0
"""How much longer than its load a tool may take before the measurement has failed."""
_PINGS, _PING_INTERVAL_S = 1000, 0.001

FAILURES = (readings.ReadingError, subprocess.SubprocessError, AssertionError, OSError, RuntimeError)
"""What a measurement may fail with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of one load."""

    key: str
    title: str
    unit: str
    digits: int = 2
    lower_is_better: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`run(rig, seconds)` gives a value for each of `metrics`. `group` is what --only selects by."""

    group: str
    metrics: tuple[Metric, ...]
    run: Callable[[Rig, int], Mapping[str, Value]]
    offloads: bool = True


def _tcp(key: str, *options: str) -> Callable[[Rig, int], Mapping[str, Value]]:
    def run(rig: Rig, seconds: int) -> Mapping[str, Value]:
        before = busy_s()
        stream = readings.tcp(_iperf(rig, seconds, *options))
        busy = busy_s() - before
        return {key: stream.gbit_s, f"{key}_cpu": busy / (stream.size_bytes / 1e9)}

    return run


def _udp(key: str, *options: str) -> Callable[[Rig, int], Mapping[str, Value]]:
    def run(rig: Rig, seconds: int) -> Mapping[str, Value]:
        size = str(readings.UDP_PAYLOAD_BYTES)
        flood = readings.udp(_iperf(rig, seconds, "--udp", "--bitrate", "0", "--length", size, *options))
        return {key: flood.received_kpps, f"{key}_lost": flood.lost_percent}

    return run


def _iperf(rig: Rig, seconds: int, *options: str) -> str:
    command = ("iperf3", "-c", rig.target, "-p", str(PORT), "-t", str(seconds), "--connect-timeout", "2000", "--json")
    return rig.host.run(*command, *options, check=False, timeout_s=seconds + _GRACE_S).stdout


def _ping(rig: Rig, seconds: int) -> Mapping[str, Value]:
    count, limit = str(_PINGS), str(int(_PINGS * _PING_INTERVAL_S + _GRACE_S))
    command = ("ping", "-n", "-i", str(_PING_INTERVAL_S), "-c", count, "-w", limit, rig.target)
    times = readings.round_trips_us(rig.host.run(*command, check=False).stdout)
    return {"rtt": middle(times), "rtt_p99": percentile(times, 0.99)}


def _stream_metrics(key: str, title: str) -> tuple[Metric, Metric]:
    return (
        Metric(key=key, title=title, unit="Gbit/s"),
        Metric(key=f"{key}_cpu", title=f"{title}: CPU", unit="CPU-s/GB", lower_is_better=True),
    )


def _flood_metrics(key: str, title: str) -> tuple[Metric, Metric]:
    return (
        Metric(key=key, title=title, unit="kpps", digits=0),
        Metric(key=f"{key}_lost", title=f"{title}: lost", unit="%", digits=1, lower_is_better=True),
    )


LOADS: tuple[Load, ...] = (
    Load(group="tcp", metrics=_stream_metrics("up", "TCP up"), run=_tcp("up")),
    Load(group="tcp", metrics=_stream_metrics("down", "TCP down"), run=_tcp("down", "-R")),
    Load(group="tcp", metrics=_stream_metrics("up4", "4 TCP up"), run=_tcp("up4", "-P4")),
    Load(group="tcp", metrics=_stream_metrics("down4", "4 TCP down"), run=_tcp("down4", "-P4", "-R")),
    Load(group="udp", metrics=_flood_metrics("udp_up", "UDP 64 B up"), run=_udp("udp_up")),
    Load(group="udp", metrics=_flood_metrics("udp_down", "UDP 64 B down"), run=_udp("udp_down", "-R")),
    Load(
        group="rtt",
        metrics=(
            Metric(key="rtt", title="RTT", unit="µs", digits=1, lower_is_better=True),
            Metric(key="rtt_p99", title="RTT: 99 of 100", unit="µs", digits=0, lower_is_better=True),
        ),
        run=_ping,
    ),
    Load(group="offload", metrics=_stream_metrics("up_off", "TCP up"), run=_tcp("up_off"), offloads=False),
    Load(group="offload", metrics=_stream_metrics("down_off", "TCP down"), run=_tcp("down_off", "-R"), offloads=False),
)

START = Metric(key="start", title="start to first reply", unit="ms", digits=0, lower_is_better=True)
FIRST_REPLY = Metric(key="first_reply", title="RA to first reply", unit="ms", digits=1, lower_is_better=True)
RESIDENT = Metric(key="resident", title="resident memory", unit="MiB", digits=1, lower_is_better=True)
SUPERVISOR = Metric(key="supervisor", title="…of its supervisor", unit="MiB", digits=1, lower_is_better=True)
IDLE = Metric(key="idle", title="CPU when idle", unit="ms/s", digits=2, lower_is_better=True)
PROGRAM = tuple(
    Metric(key=key, title=f"a packet in the programs, {way}", unit="ns", digits=0, lower_is_better=True)
    for key, way in (("program_up", "IPv4 to IPv6"), ("program_down", "IPv6 to IPv4"))
)
GROUPS = ("start", "tcp", "udp", "rtt", "offload", "idle", "daemon", "mappings")


def busy_s() -> float:
    """Seconds that all CPUs together have worked since boot."""
    return readings.busy_ticks(Path("/proc/stat").read_text()) / _TICKS_A_SECOND


def stolen_s() -> float:
    """Seconds that the hypervisor gave to others though a CPU had work."""
    return readings.stolen_ticks(Path("/proc/stat").read_text()) / _TICKS_A_SECOND


def memory(rig: Rig) -> Mapping[str, Value]:
    """Resident memory of a rig's processes."""
    sizes = [readings.resident_mib(Path(f"/proc/{pid}/status").read_text()) for pid in rig.translators()]
    return dict(zip((RESIDENT.key, SUPERVISOR.key), sizes, strict=False))


def idle(rigs: list[Rig], seconds: float) -> Mapping[str, Value]:
    """Milliseconds of CPU a second that each rig's processes use together while there is no traffic."""
    before = {rig.name: _cpu_ns(rig) for rig in rigs}
    started = time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - started
    return {rig.name: (_cpu_ns(rig) - before[rig.name]) / 1e6 / lasted for rig in rigs}


def _cpu_ns(rig: Rig) -> int:
    tasks = [task for pid in rig.translators() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(readings.cpu_ns((task / "schedstat").read_text()) for task in tasks)
