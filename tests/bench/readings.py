# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers out of what iperf3, ping and /proc print. Pure; ReadingError when a text has not got them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

UDP_PAYLOAD_BYTES = 64
_RTT = re.compile(r"\btime=([0-9.]+) ms")


class ReadingError(ValueError):
    """A tool did not say what was asked of it; the text is its own error where it gave one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What the receiving end of a TCP load got, all streams together."""

    size_bytes: int
    duration_s: float

    @property
    def gbit_s(self) -> float:
        return self.size_bytes * 8 / self.duration_s / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What the receiving end of a UDP load got, and what was sent."""

    received: int
    sent: int
    duration_s: float

    @property
    def received_kpps(self) -> float:
        return self.received / self.duration_s / 1e3

    @property
    def lost_percent(self) -> float:
        return 100 * (1 - min(self.received / self.sent, 1.0)) if self.sent else 0.0


def tcp(text: str) -> Stream:
    """From `iperf3 --json`, either direction."""
    received = _end(text)["sum_received"]
    if not received["bytes"]:
        raise ReadingError("iperf3: nothing was received")
    return Stream(size_bytes=int(received["bytes"]), duration_s=float(received["seconds"]))


def udp(text: str) -> Flood:
    """From `iperf3 --udp --json` with `UDP_PAYLOAD_BYTES` a packet, either direction."""
    end = _end(text)
    received, sent = end["sum_received"], end["sum_sent"]
    if not received["bytes"]:
        raise ReadingError("iperf3: nothing was received")
    return Flood(
        received=int(received["bytes"]) // UDP_PAYLOAD_BYTES,
        sent=int(sent["packets"]),
        duration_s=float(received["seconds"]),
    )


def _end(text: str) -> Any:
    try:
        told = json.loads(text)
        if "error" in told:
            raise ReadingError(f"iperf3: {told['error']}")
        end = told["end"]
        if "sum_received" not in end or "sum_sent" not in end:
            raise ReadingError("iperf3: no sums")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ReadingError(f"iperf3: unexpected output: {text[:80]!r}") from error
    return end


def round_trips_us(text: str) -> list[float]:
    """Each round-trip time from ping's lines, microseconds."""
    times = [float(found) * 1000 for found in _RTT.findall(text)]
    if not times:
        raise ReadingError("ping: no answer")
    return times


def busy_ticks(proc_stat: str) -> int:
    """Ticks all CPUs have worked since boot, from /proc/stat; waiting and time stolen by the hypervisor are no work."""
    fields = proc_stat.partition("\n")[0].split()
    if fields[:1] != ["cpu"] or len(fields) < 8:
        raise ReadingError("/proc/stat: no line `cpu`")
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[1:8])
    return user + nice + system + irq + softirq


def stolen_ticks(proc_stat: str) -> int:
    """Ticks the hypervisor gave to others though a CPU had work."""
    fields = proc_stat.partition("\n")[0].split()
    return int(fields[8]) if len(fields) > 8 else 0


def cpu_ns(schedstat: str) -> int:
    """Nanoseconds on a CPU, from a task's /proc/…/schedstat."""
    try:
        return int(schedstat.split()[0])
    except (IndexError, ValueError) as error:
        raise ReadingError("schedstat: no number") from error


def resident_mib(proc_status: str) -> float:
    """Resident memory from /proc/PID/status, MiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", proc_status, re.MULTILINE)
    if found is None:
        raise ReadingError("/proc/PID/status: no VmRSS")
    return int(found[1]) / 1024


def first_answer_ms(text: str) -> float:
    """From the starter's log (see `starter.py`), milliseconds."""
    found = re.search(r"^answer after ([0-9.]+) ms$", text, re.MULTILINE)
    if found is None:
        raise ReadingError("no answer line")
    return float(found[1])
