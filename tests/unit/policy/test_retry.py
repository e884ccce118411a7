# SPDX-License-Identifier: GPL-2.0-or-later
"""How long to wait after which failure, on a clock that only moves when told."""

from __future__ import annotations

import pytest

from clatnm.model import Reason, Retry
from clatnm.policy import retry
from clatnm.policy.steps import wake_at
from tests.unit.policy.worlds import NOW, a_candidate, a_world, the_plan, the_reason

NEVER_RAN, CRASHED_SOON, STABLE = 0.0, 59.9, 60.0


def waits(*runs_s: float) -> list[float]:
    """The wait after each failure of a translator that ran for so many seconds each time."""
    now, entry, found = NOW, None, []
    for ran_for_s in runs_s:
        now += ran_for_s
        entry = retry.failed(entry, error="died", backend="tun", ran_for_s=ran_for_s, now=now)
        found.append(round(entry.not_before - now, 6))
        now = entry.not_before
    return found


@pytest.mark.parametrize(
    ("runs_s", "expected_s"),
    [
        pytest.param([NEVER_RAN], [0], id="first-restart-is-at-once"),
        pytest.param([NEVER_RAN] * 9, [0, 1, 2, 5, 10, 30, 60, 60, 60], id="never-starts"),
        pytest.param([CRASHED_SOON] * 9, [0, 1, 2, 5, 10, 30, 60, 60, 60], id="always-dies-within-a-minute"),
        pytest.param([STABLE] * 4, [0, 0, 0, 0], id="dies-once-in-a-while"),
        pytest.param([0, 0, 0, STABLE, 0, 0], [0, 1, 2, 0, 1, 2], id="a-long-run-forgives"),
        pytest.param([0] * 12 + [STABLE] + [0], [0, 1, 2, 5, 10, 30] + [60] * 6 + [0, 1], id="even-a-long-history"),
    ],
)
def test_wait_grows_with_failures_in_a_row(runs_s: list[float], expected_s: list[float]) -> None:
    assert waits(*runs_s) == expected_s


def test_failure_keeps_its_error_and_counts() -> None:
    first = retry.failed(None, error="no /dev/net/tun", backend="tun", ran_for_s=0, now=NOW)
    assert first == Retry(failures=1, error="no /dev/net/tun", not_before=NOW)
    assert retry.failed(first, error="other", backend="tun", ran_for_s=0, now=NOW).failures == 2


def test_backend_that_cannot_start_gives_way_to_the_next() -> None:
    backends = {"ebpf": "", "tun": ""}
    assert the_plan(a_world(backends=backends)).backend == "ebpf"
    entry = retry.failed(None, error="refused", backend="ebpf", ran_for_s=None, now=NOW)
    assert the_plan(a_world(backends=backends, retries={"wlan0": entry})).backend == "tun"
    entry = retry.failed(entry, error="refused", backend="tun", ran_for_s=None, now=NOW)
    world = a_world(backends=backends, retries={"wlan0": entry})
    assert the_plan(world, now=entry.not_before).backend == "ebpf"


def test_backend_that_started_and_died_is_kept() -> None:
    entry = retry.failed(None, error="died", backend="ebpf", ran_for_s=NEVER_RAN, now=NOW)
    world = a_world(backends={"ebpf": "", "tun": ""}, retries={"wlan0": entry})
    assert the_plan(world).backend == "ebpf"


def test_collision_takes_the_next_address_at_once_and_is_no_failure() -> None:
    entry = retry.collided(None, address="2001:db8::7", now=NOW)
    assert entry == Retry(failures=0, error="2001:db8::7 is in use by another host", not_before=NOW, collisions=1)
    assert retry.collided(entry, address="2001:db8::8", now=NOW).collisions == 2


def test_host_that_claims_every_address_is_asked_once_a_minute() -> None:
    entry, waits_s = None, []
    for _ in range(5):
        entry = retry.collided(entry, address="2001:db8::7", now=NOW)
        waits_s.append(entry.not_before - NOW)
    assert waits_s == [0, 0, 0, 60, 60]


def test_collision_keeps_the_failures_and_a_failure_keeps_the_collisions() -> None:
    entry = retry.failed(None, error="died", backend="tun", ran_for_s=0, now=NOW)
    entry = retry.collided(entry, address="2001:db8::7", now=NOW)
    assert (entry.failures, entry.collisions) == (1, 1)
    entry = retry.failed(entry, error="died", backend="tun", ran_for_s=STABLE, now=NOW)
    assert (entry.failures, entry.collisions) == (1, 1)


def test_every_collision_gives_another_address() -> None:
    entry, seen = None, {the_plan(a_world()).clat_v6}
    for _ in range(20):
        world = a_world(retries={} if entry is None else {"wlan0": entry})
        taken = the_plan(world, now=NOW if entry is None else entry.not_before).clat_v6
        entry = retry.collided(entry, address=str(taken), now=NOW)
        seen.add(the_plan(a_world(retries={"wlan0": entry}), now=entry.not_before).clat_v6)
    assert len(seen) == 21


def test_clock_driven_day_of_failures() -> None:
    """Looking only when `wake_at` says so, each try happens exactly when its back-off ends."""
    now, entry = NOW, None
    tries: list[float] = []
    while len(tries) < 9:
        world = a_world(
            prefixes={"wlan0": (a_candidate(expires_at=None),)}, retries={} if entry is None else {"wlan0": entry}
        )
        if the_reason(world, now=now) is None:
            tries.append(now - NOW)
            entry = retry.failed(entry, error="died", backend="tun", ran_for_s=0, now=now)
        else:
            assert the_reason(world, now=now) is Reason.BACKING_OFF
            wake = wake_at(world, now)
            assert wake is not None
            assert wake > now
            now = wake
    assert tries == [0, 0, 1, 3, 8, 18, 48, 108, 168]
