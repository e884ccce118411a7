# SPDX-License-Identifier: GPL-2.0-or-later
"""From the arrival of the RA that carries PREF64 to the first IPv4 echo reply, through whoever brings IPv4 up.

The host is connected and IPv6 works; then the router begins to announce its NAT64 prefix. A probe in the host sends an
echo request every millisecond and tells when the first answer came; the RA sender tells when it sent. Both use
CLOCK_MONOTONIC of the same kernel. Median of several rounds; between them the prefix is withdrawn.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.e2e import clat
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.lab.router import Router

ROUNDS = 11
PREFIX = "64:ff9b::/96"
BACKENDS = ("ebpf", "tun")

_PROBE = r"""
import select, socket, struct, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
sock.setblocking(False)
print("probing", flush=True)
deadline = time.monotonic() + 20
number = 0
while time.monotonic() < deadline:
    number += 1
    try:
        sock.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, number & 0xffff) + bytes(8), (sys.argv[1], 0))
    except OSError:
        pass
    if select.select([sock], [], [], 0.001)[0]:
        sock.recv(1500)
        print(f"answer {time.monotonic()}", flush=True)
        break
"""


class Subject(Protocol):
    """Who brings IPv4 up when the router begins to announce its NAT64 prefix."""

    @property
    def name(self) -> str: ...

    def join(self, lab: Lab) -> None:
        """Connect the host to A, which announces no prefix; return when it has IPv6 and waits for one."""

    def wait_up(self) -> None:
        """Until all is up, which may be some time after the first reply."""

    def wait_down(self) -> None:
        """Until nothing of it is left after the prefix was withdrawn, and it is at rest."""


class Clatnm:
    """The running daemon, with one backend."""

    def __init__(self, backend: str) -> None:
        self.name = backend
        self._lab: Lab | None = None
        self._daemon: Daemon | None = None

    def join(self, lab: Lab) -> None:
        lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {self.name}\n")
        self._lab, self._daemon = lab, clat.join(lab, wait=False).daemon
        self.wait_down()

    def wait_up(self) -> None:
        assert self._daemon is not None
        told = clat.wait_on(self._daemon)
        assert told["translator"]["backend"] == self.name, told

    def wait_down(self) -> None:
        assert self._lab is not None
        assert self._daemon is not None
        clat.wait_off(self._daemon, "no-pref64")
        clat.wait_no_device(self._lab.host)
        host = self._lab.host
        # Networks follow each other more slowly outside of benchmarks.
        eventually(lambda: clat.spares(host), message="a process waits for the next start")


def main() -> int:
    """Measure and print; the exit status."""
    reason = missing(LAB_TOOLS)
    if reason:
        print(f"error: the benchmark {reason}", file=sys.stderr)
        return 1
    for backend in BACKENDS:
        times = measure(Clatnm(backend))
        ordered = ", ".join(f"{value:.0f}" for value in sorted(times))
        median = statistics.median(times)
        print(f"{backend}: RA with PREF64 → first IPv4 echo reply: median {median:.1f} ms of {len(times)} ({ordered})")
    return 0


def measure(subject: Subject, rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each round, in a lab of its own."""
    with joined(subject) as lab:
        return [one_round(lab, subject) for _ in range(rounds)]


@contextmanager
def joined(subject: Subject, root: Path = Path("/")) -> Iterator[Lab]:
    """A lab whose host waits for a prefix; `root`: the tree that its NetworkManager is taken from."""
    with Lab(root=root) as lab:
        lab.a.ra(pref64=[], interval=1000)
        lab.a.dns("plain")  # nor by DNS64
        subject.join(lab)
        lab.host.sysctl(ipv4__ping_group_range="0 2147483647")
        lab.a.run("ping", "-c", "1", "-W", "5", clat.INET)  # whoever comes first finds that the routers have met
        yield lab


def one_round(lab: Lab, subject: Subject) -> float:
    """Milliseconds from the prefix's announcement to the first reply; afterwards it is withdrawn."""
    took_s = _round(lab)
    subject.wait_up()
    lab.a.ra(pref64=[[PREFIX, 0]])
    subject.wait_down()
    return took_s * 1000


def _round(lab: Lab) -> float:
    probe = lab.host.popen(sys.executable, "-c", _PROBE, clat.INET)
    eventually(lambda: "probing" in probe.log(), message="the probe runs")
    sent_before = len(announced(lab.a))
    lab.a.ra(pref64=[[PREFIX, 600]])
    text = eventually(lambda: "answer" in probe.log() and probe.log(), message="an answer")
    answered = float(re.findall(r"answer ([0-9.]+)", str(text))[0])
    sent = eventually(lambda: announced(lab.a)[sent_before:], message="the router says when it announced")
    return answered - sent[0]


def announced(router: Router) -> list[float]:
    """When it sent each of its RAs, CLOCK_MONOTONIC seconds."""
    return [float(stamp) for stamp in re.findall(r"^([0-9.]+) sent to", router.ra_log(), re.MULTILINE)]


if __name__ == "__main__":
    sys.exit(main())
