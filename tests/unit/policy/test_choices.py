# SPDX-License-Identifier: GPL-2.0-or-later
"""What a connection's settings choose for its translator: device, addresses, metric, MTU."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm.model import AddressKind, Choices, Plan, Settings, World
from clatnm.policy import addressing
from clatnm.policy.plan import decide
from tests.unit.policy.worlds import NOW, UUID, a_link, a_route4, a_route6, a_world, an_uplink, run_all, the_plan

CHOSEN: dict[str, tuple[Settings, dict[str, Any]]] = {
    "device": (Settings(device="clat"), {"device": "clat"}),
    "clat-v4": (Settings(clat_v4=IPv4Address("192.0.0.1")), {"clat_v4": IPv4Address("192.0.0.1")}),
    "clat-v6": (Settings(clat_v6=IPv6Address("2001:db8:a::c1a7")), {"clat_v6": IPv6Address("2001:db8:a::c1a7")}),
    "host-s-own-address": (
        Settings(clat_v6=IPv6Address("2001:db8:a::5")),
        {"clat_v6": IPv6Address("2001:db8:a::5"), "shared": True, "backend": "ebpf"},
    ),
    "shared": (
        Settings(clat_v6=AddressKind.SHARED),
        {"clat_v6": IPv6Address("2001:db8:a::5"), "shared": True, "backend": "ebpf"},
    ),
    "metric": (Settings(metric=2048), {"metric": 2048}),
    "no-default-route": (Settings(default_route=False), {"default_route": False}),
    "metric-zero": (Settings(metric=0), {"metric": 0}),
    "mtu-less-than-fits": (Settings(mtu_bytes=1260), {"ipv4_mtu_bytes": 1260}),
    "mtu-with-no-room-for-fragments": (Settings(mtu_bytes=1480), {"ipv4_mtu_bytes": 1480}),
    "mtu-that-does-not-fit": (Settings(mtu_bytes=9000), {"ipv4_mtu_bytes": 1480}),
}


def world_with(settings: Settings) -> World:
    world = a_world(a_link())
    return replace(world, settings=settings, backends={"ebpf": ""}, sharing_backends=frozenset({"ebpf"}))


@pytest.mark.parametrize(("settings", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_plan_has_what_is_set(settings: Settings, expected: dict[str, Any]) -> None:
    for place in (settings, Settings(connections={UUID: settings})):
        plan = the_plan(world_with(place))
        assert {name: getattr(plan, name) for name in expected} == expected


def test_another_connection_s_settings_do_not_matter() -> None:
    other = Settings(connections={"11111111-dfd2-4e95-8d38-c9bc4872809c": Settings(device="clat", metric=3)})
    assert the_plan(world_with(other)) == the_plan(world_with(Settings()))


def test_choice_by_hand_goes_before_a_setting() -> None:
    choices = Choices(device="mine", clat_v4=IPv4Address("192.0.0.7"), address_kind=AddressKind.DEDICATED, metric=5)
    settings = Settings(device="clat", clat_v4=IPv4Address("192.0.0.1"), clat_v6=AddressKind.SHARED, metric=6)
    world = replace(world_with(settings), uplinks=(replace(an_uplink(), choices=choices),))
    plan = the_plan(world)
    assert (plan.device, plan.clat_v4, plan.metric, plan.shared) == ("mine", IPv4Address("192.0.0.7"), 5, False)


def test_setting_that_changes_is_applied_to_what_runs() -> None:
    world = world_with(Settings())
    before = replace(world, running=run_all(the_plan(world)))
    (verdict,) = decide(replace(before, settings=Settings(metric=9, mtu_bytes=1300)), NOW)
    (running,) = before.running.values()
    assert verdict.plan is not None
    assert (verdict.plan.metric, verdict.plan.ipv4_mtu_bytes) == (9, 1300)
    assert running.plan.same_translator(verdict.plan)


def test_draining_translator_keeps_the_mtu_that_is_set() -> None:
    settings = Settings(mtu_bytes=1260)
    world = world_with(settings)
    before = replace(world, running=run_all(the_plan(world)))
    native = a_link(ipv4=("192.168.2.5",), default4=(a_route4(),))
    links = {**before.links, native.name: native}
    (verdict,) = decide(replace(before, links=links, told_since={}), NOW)
    kept: tuple[Plan, ...] = verdict.keep
    assert [plan.ipv4_mtu_bytes for plan in kept] == [1260]
    assert [plan.offered for plan in kept] == [False]


@pytest.mark.parametrize(
    ("chosen", "taken", "behind", "expected"),
    [
        (2048, (), None, 2048),
        (2048, (2048,), None, 2049),
        (2048, (2048, 2049), None, 2050),
        (0xFFFFFFFF, (0xFFFFFFFF,), None, 0),
        (5, (), 50, 51),
        (500, (), 50, 500),
        (5, (51,), 50, 52),
    ],
)
def test_metric_is_the_one_chosen_or_the_next_free_one(
    chosen: int, taken: tuple[int, ...], behind: int | None, expected: int
) -> None:
    link = a_link(default4=(a_route4(metric=100),), default6=(a_route6(metric=300),))
    assert addressing.metric(link, dead=(), taken=taken, behind=behind, chosen=chosen) == expected
