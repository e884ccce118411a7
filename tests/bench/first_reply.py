# SPDX-License-Identifier: GPL-2.0-or-later
"""From the arrival of the RA that carries PREF64 to the first IPv4 echo reply, through a running daemon.

The host is connected and IPv6 works; then the router begins to announce its NAT64 prefix. A probe in the host sends an
echo request every millisecond and tells when the first answer came; the RA sender tells when it sent. Both use
CLOCK_MONOTONIC of the same kernel. Median of several rounds; between them the prefix is withdrawn.
"""

from __future__ import annotations

import re
import statistics
import sys

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.requirements import LAB_TOOLS, missing

ROUNDS = 11
PREFIX = "64:ff9b::/96"

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


def main() -> int:
    """Measure and print; the exit status."""
    reason = missing(LAB_TOOLS)
    if reason:
        print(f"error: the benchmark {reason}", file=sys.stderr)
        return 1
    times = measure()
    ordered = ", ".join(f"{value:.0f}" for value in sorted(times))
    print(
        f"RA with PREF64 → first IPv4 echo reply: median {statistics.median(times):.0f} ms of {len(times)} ({ordered})"
    )
    return 0


def measure(rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each round, in a lab of its own."""
    with Lab() as lab:
        return _measure(lab, rounds)


def _measure(lab: Lab, rounds: int) -> list[float]:
    lab.a.ra(pref64=[], interval=1000)
    joined = clat.join(lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    lab.host.sysctl(ipv4__ping_group_range="0 2147483647")
    times: list[float] = []
    for _ in range(rounds):
        times.append(_round(lab) * 1000)
        clat.wait_on(joined.daemon)
        lab.a.ra(pref64=[[PREFIX, 0]])
        clat.wait_off(joined.daemon, "no-pref64")
        clat.wait_no_device(lab.host)
    return times


def _round(lab: Lab) -> float:
    probe = lab.host.popen(sys.executable, "-c", _PROBE, clat.INET)
    eventually(lambda: "probing" in probe.log(), message="the probe runs")
    sent_before = len(_sent(lab))
    lab.a.ra(pref64=[[PREFIX, 600]])
    text = eventually(lambda: "answer" in probe.log() and probe.log(), message="an answer")
    answered = float(re.findall(r"answer ([0-9.]+)", str(text))[0])
    return answered - _sent(lab)[sent_before]


def _sent(lab: Lab) -> list[float]:
    """When the router sent each of its RAs, CLOCK_MONOTONIC seconds."""
    return [float(stamp) for stamp in re.findall(r"^([0-9.]+) sent to", lab.a.ra_log(), re.MULTILINE)]


if __name__ == "__main__":
    sys.exit(main())
