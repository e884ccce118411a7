# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator that was taken over: it stays while nobody has told yet why there is one, and no longer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from clatnm.model import Link, Mode, PrefixCandidate, Reason, Running, RunState, Stop, World
from clatnm.policy.drain import BELIEVED_S, SETTLE_S
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, unjudged, wake_at, wanted
from tests.unit.policy.worlds import NOW, OWN_PREFIX, a_candidate, a_link, a_route4, a_world, an_uplink, the_plan

PLAN = the_plan(a_world())
RUN = Running(plan=PLAN, state=RunState.ON, adopted_at=NOW)
RUNNING = {PLAN.key: RUN}
SOON, LATE = NOW + SETTLE_S - 0.1, NOW + SETTLE_S + 0.1


def steps(world: World, now: float) -> tuple[object, ...]:
    """As the daemon finds them."""
    verdicts = decide(world, now)
    return diff(world.running, (*wanted(verdicts), *unjudged(verdicts, world.running, now)))


def test_equal_plan_changes_nothing() -> None:
    world = a_world(running=RUNNING)
    assert steps(world, NOW) == steps(world, LATE) == ()


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(a_world(running=RUNNING, prefixes={}), id="no-prefix-told-yet"),
        pytest.param(a_world(running=RUNNING, prefixes={}, uplinks=[]), id="no-connection-told-yet"),
        pytest.param(
            a_world(running=RUNNING, uplinks=[replace(an_uplink(), manager_wait_s=60.0)]), id="manager-may-still-come"
        ),
    ],
)
def test_what_nobody_has_told_yet_ends_nothing_for_a_while(world: World) -> None:
    assert steps(world, SOON) == ()
    assert wake_at(world, NOW) == NOW + SETTLE_S
    old = replace(world, running={PLAN.key: replace(RUN, adopted_at=None)})
    assert steps(old, SOON) != (), "one that is ours since its start has heard all of that"
    assert steps(world, LATE) != ()


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (a_world(running=RUNNING, uplinks=[an_uplink(mode=Mode.NO)]), Reason.OPTED_OUT),
        (a_world(a_link(ipv6=("fe80::5/64",)), running=RUNNING), Reason.NO_IPV6),
        (a_world(running=RUNNING, uplinks=[an_uplink(manager_clat="192.0.0.1")]), Reason.MANAGER_TRANSLATES),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_what_is_known_counts_at_once(world: World, reason: Reason) -> None:
    assert decide(world, NOW)[0].reason is reason
    assert steps(world, NOW) == (Stop(plan=PLAN),)


def _native(link: Link) -> Link:
    return replace(link, addresses4=frozenset({IPv4Address("192.168.2.5")}), default4=(a_route4(),))


@pytest.mark.parametrize("prefixes", [None, {}], ids=["prefix-told", "not-told-yet"])
def test_native_ipv4_that_came_meanwhile_lets_it_drain(prefixes: dict[str, tuple[PrefixCandidate, ...]] | None) -> None:
    world = a_world(_native(a_link()), running=RUNNING, prefixes=prefixes)
    (step,) = steps(world, NOW)
    assert step.plan == replace(PLAN, offered=False)  # type: ignore[attr-defined]


def test_another_connection_on_the_device_is_none_of_its() -> None:
    world = a_world(running=RUNNING, uplinks=[an_uplink(uuid="another")], prefixes={})
    assert steps(world, NOW) == (Stop(plan=PLAN),)


def test_connections_of_a_prefix_that_is_told_no_more_may_finish() -> None:
    world = a_world(running=RUNNING, prefixes={"wlan0": (a_candidate(OWN_PREFIX),)})
    (verdict,) = decide(world, NOW)
    assert verdict.plan is not None and verdict.plan.prefix == OWN_PREFIX
    assert [plan.prefix for plan in verdict.keep] == [PLAN.prefix]
    late = replace(RUN, adopted_at=NOW - BELIEVED_S)
    (verdict,) = decide(replace(world, running={PLAN.key: late}), NOW)
    assert verdict.keep == ()
