# SPDX-License-Identifier: GPL-2.0-or-later
"""From what runs to what should run."""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest

from clatnm.model import Plan, Relay, Running, RunState, Start, Stop, Update
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff
from clatnm.proto.eam import EamTable, host_pair
from tests.unit.policy.worlds import NOW, a_link, a_world, run_all, the_plan

PLAN = the_plan(a_world())
OTHER = the_plan(a_world(a_link("eth0", index=3, ipv6=("2001:db8:b::5/64",))))

RESTART = "stop, then start at the next look"
LIVE = "update"
# Every field of Plan: another value for it, and what that costs.
CHANGES: dict[str, tuple[Any, str]] = {
    "ifindex": (99, RESTART),
    "uuid": ("another", RESTART),
    "device": ("clat-other", LIVE),
    "backend": ("ebpf", RESTART),
    "clat_v6": (IPv6Address("2001:db8:b::7"), LIVE),
    "prefix": (IPv6Network("2001:db8:64::/96"), LIVE),
    "gateway": (IPv6Address("fe80::99"), LIVE),
    "link_address": (bytes.fromhex("0200000000ff"), LIVE),
    "ipv6_mtu_bytes": (1280, LIVE),
    "ipv4_mtu_bytes": (1252, LIVE),
    "metric": (700, LIVE),
    "gateways": ((IPv4Address("198.51.100.20"),), LIVE),
    "shared": (True, RESTART),
    "offered": (False, LIVE),
    "default_route": (False, RESTART),
    "relay": (Relay(mappings=EamTable([host_pair(PLAN.clat_v4, PLAN.clat_v6)])), RESTART),
    "static": ("edge", RESTART),
}


def test_every_field_of_a_plan_has_a_row() -> None:
    assert {field.name for field in fields(Plan)} == {"interface", "clat_v4", *CHANGES}


@pytest.mark.parametrize(("field", "value", "cost"), [(field, *row) for field, row in CHANGES.items()], ids=CHANGES)
def test_changed_field_costs_an_update_or_a_restart(field: str, value: Any, cost: str) -> None:
    new = replace(PLAN, **{field: value})
    assert PLAN.same_translator(new) is (cost == LIVE)
    steps = diff(run_all(PLAN), [new])
    assert steps == ((Update(old=PLAN, plan=new),) if cost == LIVE else (Stop(plan=PLAN),))
    if cost == RESTART:
        assert diff({}, [new]) == (Start(plan=new),)


@pytest.mark.parametrize(("old", "new"), [(PLAN.link_address, None), (None, PLAN.link_address)])
def test_gaining_or_losing_an_ethernet_header_costs_a_restart(old: bytes | None, new: bytes | None) -> None:
    before, after = replace(PLAN, link_address=old), replace(PLAN, link_address=new)
    assert diff(run_all(before), [after]) == (Stop(plan=before),)


def test_losing_the_gateway_is_a_live_change() -> None:
    new = replace(PLAN, gateway=None)
    assert diff(run_all(PLAN), [new]) == (Update(old=PLAN, plan=new),)


def test_another_interface_is_another_translator() -> None:
    moved = replace(PLAN, interface="wlan1", device="clat-wlan1")
    assert diff(run_all(PLAN), [moved]) == (Stop(plan=PLAN), Start(plan=moved))
    assert not PLAN.same_translator(moved)


def test_another_ipv4_address_is_another_translator() -> None:
    other = replace(PLAN, clat_v4=IPv4Address("192.0.0.7"))
    assert not PLAN.same_translator(other)
    assert diff(run_all(PLAN), [other]) == (Stop(plan=PLAN),)
    beside = replace(other, device="clat-beside")
    assert diff(run_all(PLAN), [PLAN, beside]) == (Start(plan=beside),)


@pytest.mark.parametrize("state", [RunState.STARTING, RunState.STOPPING])
def test_nothing_starts_beside_a_translator_on_its_way(state: RunState) -> None:
    beside = replace(PLAN, clat_v4=IPv4Address("192.0.0.7"), device="clat-beside")
    assert diff(run_all(PLAN, state=state), [PLAN, beside]) == ()


def test_nothing_to_do_gives_no_steps() -> None:
    assert diff({}, []) == ()
    assert diff(run_all(PLAN, OTHER), [OTHER, PLAN]) == ()


def test_same_input_twice_gives_no_steps() -> None:
    world = a_world(a_link(), a_link("eth0", index=3, ipv6=("2001:db8:b::5/64",)))
    plans = [verdict.plan for verdict in decide(world, NOW) if verdict.plan]
    assert {step.plan.interface for step in diff({}, plans)} == {"eth0", "wlan0"}
    again = [verdict.plan for verdict in decide(replace(world, running=run_all(*plans)), NOW) if verdict.plan]
    assert diff(run_all(*plans), again) == ()


def test_unwanted_translator_is_stopped() -> None:
    assert diff(run_all(PLAN, OTHER), [OTHER]) == (Stop(plan=PLAN),)


@pytest.mark.parametrize("state", [RunState.STARTING, RunState.STOPPING])
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param([], id="unwanted"),
        pytest.param([PLAN], id="as-planned"),
        pytest.param([replace(PLAN, metric=700)], id="live-change"),
        pytest.param([replace(PLAN, uuid="another")], id="restart"),
    ],
)
def test_translator_on_its_way_up_or_down_is_left_alone(state: RunState, wanted: list[Plan]) -> None:
    assert diff({PLAN.key: Running(plan=PLAN, state=state)}, wanted) == ()


def test_stops_come_first() -> None:
    wanted = [replace(PLAN, metric=700), replace(PLAN, interface="new0", device="clat-new0")]
    steps = diff(run_all(PLAN, OTHER), wanted)
    assert [type(step) for step in steps] == [Stop, Update, Start]


def test_device_is_not_made_before_another_owner_has_given_it_up() -> None:
    static = replace(PLAN, static="edge")
    assert diff(run_all(PLAN), [PLAN, static]) == ()
    assert diff({}, [static]) == (Start(plan=static),)


@pytest.mark.parametrize("state", [RunState.ON, RunState.STOPPING])
def test_static_translator_takes_over_mappings_only_when_they_are_free(state: RunState) -> None:
    """The mappings of a file that is gone may be in another one now, whose translator goes on."""
    stays, gone = (replace(PLAN, static=name, device=f"clat-s-{name}") for name in "ab")
    more = replace(stays, metric=stays.metric + 1)
    elsewhere = replace(gone, interface="eth9")
    running = {**run_all(stays), **run_all(gone, state=state)}
    assert [type(step) for step in diff(running, [more])] == ([Stop] if state is RunState.ON else [])
    assert diff(run_all(stays), [more]) == (Update(old=stays, plan=more),)
    beside = {**run_all(stays), **run_all(elsewhere, state=state)}
    assert Update(old=stays, plan=more) in diff(beside, [more])


def test_static_translator_waits_for_one_that_leaves_its_uplink() -> None:
    """They may have the same mapped addresses: a file has another name."""
    old, new = (replace(PLAN, static=name, device=f"clat-s-{name}") for name in "ab")
    assert diff(run_all(old), [new]) == (Stop(plan=old),)
    assert diff(run_all(old, state=RunState.STOPPING), [new]) == ()
    assert diff(run_all(old, state=RunState.STARTING), [old, new]) == (Start(plan=new),)
    assert diff(run_all(PLAN, state=RunState.STOPPING), [new]) == (Start(plan=new),)
