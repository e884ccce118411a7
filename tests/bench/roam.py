# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench.roam`: a quick roam there and back, and how long IPv4 is wrong after the new network spoke.

Network A is IPv6-only, B has native IPv4. NetworkManager 1.42 keeps the other network's lease over the flap, so coming
into A "right" means that IPv4 goes through the CLAT though that lease is still there; coming into B, that it does not.
Counted from the new network's first router advertisement after the flap, as its sender stamps it.
"""

from __future__ import annotations

import re
import statistics
import sys

from tests.bench.first_reply import announced
from tests.e2e import clat
from tests.lab import Lab, eventually
from tests.lab.process import Service
from tests.lab.requirements import LAB_TOOLS, missing

ROUNDS = 10
PATIENCE_S = 30.0
# From which address IPv4 leaves, each time that it changes.
_WATCH = """
import socket, sys, time
last = None
print("watching", flush=True)
while True:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((sys.argv[1], 9))
            source = sock.getsockname()[0]
        except OSError:
            source = "none"
    if source != last:
        print(f"{time.monotonic()} {source}", flush=True)
        last = source
    time.sleep(0.001)
"""


def main() -> int:
    """Measure and print; the exit status."""
    reason = missing(LAB_TOOLS)
    if reason:
        print(f"error: the benchmark {reason}", file=sys.stderr)
        return 1
    times = measure(ROUNDS)
    for letter, taken in times.items():
        ordered = ", ".join(f"{value:.0f}" for value in sorted(taken))
        print(f"into {letter}: median {statistics.median(taken):.0f} ms of {len(taken)} ({ordered})")
    return 0


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds by the network that is roamed into."""
    times: dict[str, list[float]] = {"b": [], "a": []}
    with Lab() as lab:
        joined = clat.join(lab, ipv4="auto")
        watch = lab.host.popen(sys.executable, "-c", _WATCH, clat.INET)
        eventually(lambda: "watching" in watch.log(), message="the watch")
        for _ in range(rounds):
            for letter, taken in times.items():
                taken.append(_roam(lab, letter, watch) * 1000)
                _rest(joined, letter)
    return times


def _rest(joined: clat.Joined, letter: str) -> None:
    def settled() -> bool:
        return bool((clat.connection(joined.daemon)["state"] == "on") == (letter == "a"))

    eventually(settled, timeout_s=PATIENCE_S, message="all is at rest")


def _roam(lab: Lab, letter: str, watch: Service) -> float:
    """Seconds from the first advertisement in the new network until IPv4 goes the right way; 0 if it did before."""
    router = {"a": lab.a, "b": lab.b}[letter]
    spoken, changes = len(announced(router)), len(_sources(watch))
    lab.host.plug("up0", letter)

    def right() -> float | None:
        at, source = _sources(watch)[-1]
        is_right = source.startswith("192.0.0." if letter == "a" else "192.168.")
        return at if is_right and len(announced(router)) > spoken else None

    at = eventually(right, timeout_s=PATIENCE_S, message=f"IPv4 is right in {letter}")
    assert at is not None
    assert len(_sources(watch)) >= changes
    return max(0.0, at - announced(router)[spoken])


def _sources(watch: Service) -> list[tuple[float, str]]:
    found = re.findall(r"^([0-9.]+) (\S+)$", watch.log(), re.MULTILINE)
    return [(float(at), source) for at, source in found]


if __name__ == "__main__":
    sys.exit(main())
