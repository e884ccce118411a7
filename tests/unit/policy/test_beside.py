# SPDX-License-Identifier: GPL-2.0-or-later
"""Two translators at once: of two connections, or of one that changes from an old one to a new one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from clatnm.model import Choices, Reason, Retry, RunState, Start, Stop, Update
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, trying, wanted
from tests.unit.policy.machine import Machine
from tests.unit.policy.story import Story
from tests.unit.policy.worlds import (
    NOW,
    OWN_PREFIX,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_world,
    an_uplink,
    run_all,
    the_plan,
)

WLAN = a_link("wlan0", index=3, ipv6=("2001:db8:b::5/64",))
ETH = a_link("eth0")
BOTH = a_world(ETH, WLAN)
CHANGED = {"wlan0": (a_candidate(OWN_PREFIX), replace(a_candidate(), fading=True))}


def test_route_of_one_that_leaves_is_taken_over_only_when_it_has_left() -> None:
    machine = Machine(BOTH, now=NOW)
    machine.settle()
    before = {run.plan.interface: run.plan for run in machine.running.values()}
    assert {name: plan.metric for name, plan in before.items()} == {"eth0": 150, "wlan0": 151}
    machine.facts = replace(BOTH, uplinks=BOTH.uplinks[1:])
    assert machine.look() == (Stop(plan=before["eth0"]),)
    machine.finish(before["eth0"].key)
    assert machine.look() == (Update(old=before["wlan0"], plan=replace(before["wlan0"], metric=150)),)


def test_connection_that_comes_takes_no_route_away() -> None:
    machine = Machine(replace(BOTH, uplinks=BOTH.uplinks[1:]), now=NOW)
    machine.settle()
    machine.facts = BOTH
    (step,) = machine.settle()
    assert isinstance(step, Start)
    assert (step.plan.interface, step.plan.metric) == ("eth0", 151)


def test_route_that_is_still_there_is_reckoned_with() -> None:
    plan = the_plan(a_world(WLAN))
    device = a_link(plan.device, index=9, ipv6=(), default4=(a_route4(metric=150, gateway=None),), default6=())
    on_the_way = run_all(replace(plan, metric=700), state=RunState.STARTING)
    world = replace(BOTH, links={**BOTH.links, device.name: device}, running=on_the_way)
    assert decide(world, NOW)[0].plan is not None
    assert {v.plan.interface: v.plan.metric for v in decide(world, NOW) if v.plan}["eth0"] == 151


def test_device_that_is_being_renamed_is_ours_by_either_name() -> None:
    plan = the_plan(a_world())
    device = a_link("clat-wlan0", index=9, ipv6=(), ipv4=(str(plan.clat_v4),), default6=())
    renamed = run_all(replace(plan, device="clat-0123456789"), state=RunState.STARTING)
    world = replace(a_world(), running=renamed)
    with_device = replace(world, links={**world.links, device.name: device})
    assert wanted(decide(with_device, NOW)) == wanted(decide(world, NOW))


@pytest.mark.parametrize("left", [{"uuid": "another"}, {"ifindex": 99}])
def test_nothing_starts_beside_what_another_connection_left(left: dict[str, object]) -> None:
    older = replace(the_plan(a_world()), device="clat-0123456789", clat_v4=IPv4Address("192.0.0.7"), **left)  # type: ignore[arg-type]
    world = a_world(running=run_all(older))
    assert diff(world.running, wanted(decide(world, NOW))) == (Stop(plan=older),)


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param(Choices(clat_v6=IPv6Address("2001:db8:a::c1a7")), id="dedicated-address-set-by-hand"),
        pytest.param(Choices(clat_v4=IPv4Address("192.0.0.1")), id="ipv4-address-set-by-hand"),
    ],
)
def test_translators_that_could_not_be_told_apart_are_not_put_beside_each_other(choices: Choices) -> None:
    uplink = replace(an_uplink(), choices=choices)
    before = the_plan(a_world(uplinks=[uplink]))
    (verdict,) = decide(a_world(uplinks=[uplink], prefixes=CHANGED, running=run_all(before)), NOW)
    assert verdict.plan == replace(before, prefix=OWN_PREFIX)
    assert verdict.keep == ()


@pytest.mark.parametrize("same_prefix", [True, False])
def test_shared_address_is_told_apart_by_the_prefix(same_prefix: bool) -> None:
    link = a_link(ipv6=("2001:db8:a::7/128",))
    world = replace(
        a_world(link, backends={"ebpf": "", "tun": ""}), sharing_backends=frozenset({"ebpf", "ebpf-clsact"})
    )
    before = the_plan(world)
    other = replace(world, backends={"ebpf-clsact": ""}) if same_prefix else replace(world, prefixes=CHANGED)
    (verdict,) = decide(replace(other, running=run_all(before)), NOW)
    assert bool(verdict.keep) is not same_prefix
    assert verdict.plan is not None
    assert verdict.plan.clat_v6 == before.clat_v6


def test_older_translator_helps_out_while_the_newer_one_cannot_start() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    for second in (10, 20):
        story.at(second, lambda: story.ra(OWN_PREFIX))
    story.at(21, lambda: story.users(1))
    assert story.told[-1] == (20, f"clat {OWN_PREFIX}; {WELL_KNOWN} drains")

    def dies() -> None:
        (newer,) = (key for key, run in story.running.items() if run.plan.prefix == OWN_PREFIX)
        story.fail(newer)

    for second in (30, 31, 33):
        story.at(second, dies)
    assert story.told[-1] == (33, f"clat {WELL_KNOWN}")
    assert story.verdicts()[0].reason is Reason.BACKING_OFF
    story.at(60)
    assert story.told[-1][1] == f"clat {OWN_PREFIX}; {WELL_KNOWN} drains"


def test_failure_is_history_only_when_the_translator_is() -> None:
    refused = Retry(failures=1, error="no", not_before=NOW - 1, refused=frozenset({"ebpf"}))
    native = a_link(ipv4=("192.168.2.7",), default4=(a_route4(),))
    draining = run_all(replace(the_plan(a_world()), offered=False))
    world = a_world(native, running=draining, retries={"wlan0": refused})
    assert trying(decide(world, NOW), world.running) == {"wlan0"}
    assert trying(decide(replace(world, running={}), NOW), {}) == set()
    assert trying(decide(a_world(retries={"wlan0": replace(refused, not_before=NOW + 1)}), NOW), {}) == {"wlan0"}
