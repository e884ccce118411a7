# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that is restarted or killed, and what it leaves to the next one."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import clat
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

SECOND = "2001:db8:64::/96"  # network A translates it as well
ESTATE = "/run/clatnm/translators"


def restarted(daemon: Daemon) -> None:
    """As systemd does in a restart job."""
    daemon.signal(signal.SIGUSR1)
    assert daemon.wait() == 0, daemon.log()


def killed(daemon: Daemon) -> None:
    daemon.kill()


WAYS: dict[str, Callable[[Daemon], None]] = {"restarted": restarted, "killed": killed}
ways = pytest.mark.parametrize("leave", WAYS.values(), ids=WAYS)


def connect(host: Host) -> None:
    """Join A without clatnm."""
    host.dad(False)
    host.add_profile("netA", "up0")
    host.up("netA")
    eventually(host.has_ipv6, message="IPv6 in A")


def joined_with(lab: Lab, backend: str) -> clat.Joined:
    lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\n")
    joined = clat.join(lab)
    clat.ping(lab.host)
    return joined


def files(host: Host) -> set[str]:
    """What the daemons have left in their directory, which the first one to leave something makes."""
    try:
        return {path.name for path in host.path(ESTATE).iterdir()}
    except FileNotFoundError:
        return set()


def wait_entrusted(host: Host, count: int = 1) -> None:
    """Until so many translators could be adopted."""
    eventually(lambda: sum(name.endswith(".memo") for name in files(host)) == count, message="it is written down")


def ours(host: Host) -> list[str]:
    """Command lines of the processes that belong to clatnm."""
    lines = [Path(f"/proc/{pid}/cmdline") for pid in host.processes()]
    told = []
    for line in lines:
        with contextlib.suppress(OSError):  # it has just ended
            told.append(line.read_bytes().replace(b"\0", b" ").decode())
    return [line for line in told if "-m clatnm." in line]


def caretakers(host: Host) -> list[str]:
    """Those of them who wait for a daemon's end."""
    return [line for line in ours(host) if "-m clatnm.caretaker" in line]


def at_hand(host: Host) -> int:
    """How many processes a daemon has that may have been started already, or not yet: one descriptor each. The next
    translator's and the caretaker; AssertionError when there are two of a kind."""
    kinds = clat.spares(host), caretakers(host)
    assert all(len(kind) <= 1 for kind in kinds), kinds
    return sum(map(len, kinds))


def packets(daemon: Daemon) -> int:
    """How many the translator of up0 has counted, both ways together."""
    counters = clat.connection(daemon)["translator"]["counters"]
    rows = [row for flow in ("ipv4_to_ipv6", "ipv6_to_ipv4") for row in counters[flow]["protocols"].values()]
    return sum(row["packets"] for row in rows)


def restart_after(joined: clat.Joined, change: Callable[[], object]) -> Daemon:
    """Kill the daemon, change something, and have another one come."""
    wait_entrusted(joined.host)
    joined.daemon.kill()
    change()
    return joined.host.daemon("-v")
