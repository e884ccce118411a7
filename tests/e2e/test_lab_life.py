# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab comes, goes and leaves no trace, however it ends; and its small helpers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import EventuallyError, Lab, eventually
from tests.lab.process import start_time
from tests.lab.requirements import missing
from tests.lab.session import BASE, NETNS_DIR

REPOSITORY = Path(__file__).parents[2]
HOLD_A_LAB = """
from tests.lab import Lab
with Lab() as lab:
    print(lab.prefix, flush=True)
    lab.host.run("sleep", "60", timeout_s=60)
"""


def traces(prefix: str) -> list[str]:
    return [str(path) for base in (NETNS_DIR, BASE) for path in base.glob(f"{prefix}*")]


def mounts() -> set[str]:
    """Mount points, without the namespaces of whoever else works on this machine (`traces` looks for ours)."""
    points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return {point for point in points if not point.startswith(f"{NETNS_DIR}/")}


def test_second_lab_lives_beside_the_first_and_leaves_nothing(lab: Lab) -> None:
    before = mounts()
    started = time.monotonic()
    with Lab() as other:
        assert time.monotonic() - started < 6
        prefix = other.prefix
        assert prefix != lab.prefix
        spaces = (other.host, other.switch, other.inet, *other.routers)
        pids = {pid: start_time(pid) for space in spaces for pid in space.processes()}
        assert len(pids) >= 12
        assert lab.host.nm_running
        assert len(traces(prefix)) == len(spaces) + 1
    assert traces(prefix) == []
    assert mounts() == before
    assert [pid for pid, started_at in pids.items() if start_time(pid) == started_at] == []
    assert lab.host.nmcli("general").returncode == 0


def test_own_lab_is_not_the_shared_one(lab: Lab, own_lab: Lab) -> None:
    assert own_lab.prefix != lab.prefix
    own_lab.host.nm_stop()
    assert lab.host.nm_running
    assert not own_lab.host.nm_running


def test_interrupted_lab_leaves_nothing(lab: Lab) -> None:
    prefix = ""
    with pytest.raises(KeyboardInterrupt), Lab() as other:
        prefix = other.prefix
        raise KeyboardInterrupt
    assert prefix
    assert traces(prefix) == []


def start_elsewhere(*argv: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, *argv], env=environment, stdout=subprocess.PIPE, text=True)


def test_crashed_lab_is_reaped_by_the_next(lab: Lab) -> None:
    crashed = start_elsewhere("-c", HOLD_A_LAB)
    assert crashed.stdout
    prefix = crashed.stdout.readline().strip()
    assert prefix, "the lab to crash did not come up"
    assert len(traces(prefix)) > 6
    crashed.kill()
    crashed.communicate()
    with Lab():  # or any other lab that happens to start on this machine at this moment
        assert traces(prefix) == []
        assert traces(lab.prefix) != []


def test_run_gives_the_commands_status_and_cleans_up() -> None:
    script = "nmcli -g STATE general; ip netns identify; exit 7"
    process = start_elsewhere("-m", "tests.lab", "run", "--", "sh", "-c", script)
    output, _ = process.communicate(timeout=30)
    state, netns = output.split()
    assert (process.returncode, state) == (7, "connected")
    assert traces(netns.removesuffix("host")) == []


def test_run_ended_by_a_signal_cleans_up() -> None:
    process = start_elsewhere("-m", "tests.lab", "run", "--", "sh", "-c", "ip netns identify; sleep 60")
    assert process.stdout
    prefix = process.stdout.readline().strip().removesuffix("host")
    assert traces(prefix) != []
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert traces(prefix) == []


# Helpers that need no lab


def test_eventually_tells_the_last_value() -> None:
    asked: list[int] = []

    def check() -> list[int]:
        asked.append(1)
        return []

    with pytest.raises(EventuallyError, match=r"a wonder: not within 0\.05 s; last: \[\]"):
        eventually(check, timeout_s=0.05, message="a wonder")
    assert len(asked) >= 2


def test_eventually_treats_a_failed_assertion_as_not_yet() -> None:
    values = iter([0, 0, 3])

    def check() -> int:
        value = next(values)
        assert value, "still zero"
        return value

    assert eventually(check, message="a three") == 3


def test_missing_tool_is_named_with_its_package() -> None:
    assert missing({"ip": "iproute2", "no-such-tool": "nowhere"}) == "needs no-such-tool (package nowhere)"
