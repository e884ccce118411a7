# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plan says, what stays as it is while a translator runs, and how several uplinks share what is scarce."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from clatnm.model import Link, Mode, Plan, Reason, Retry, RunState, Settings, World
from clatnm.policy.plan import decide
from clatnm.policy.steps import wake_at
from tests.unit.policy.worlds import (
    MAC,
    NOW,
    OWN_PREFIX,
    UUID,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_route6,
    a_world,
    an_address,
    an_uplink,
    run_all,
    the_plan,
    the_reason,
)

TWO_EQUAL = ("2001:db8:a::5/64", "2001:db8:b::5/64")  # neither is closer to the well-known prefix


def test_plan_says_all_a_translator_needs() -> None:
    plan = the_plan(a_world(a_link("eth0", index=7, mtu_bytes=1400, default6=(a_route6(metric=300),))))
    assert plan == Plan(
        interface="eth0",
        ifindex=7,
        uuid=UUID,
        device="clat-eth0",
        backend="tun",
        clat_v4=plan.clat_v4,
        clat_v6=plan.clat_v6,
        prefix=WELL_KNOWN,
        gateway=IPv6Address("fe80::1"),
        link_address=MAC,
        ipv6_mtu_bytes=1400,
        ipv4_mtu_bytes=1372,
        metric=350,
    )
    assert plan.clat_v6 in IPv6Network("2001:db8:a::/64")
    assert plan.clat_v4 in {IPv4Address(f"192.0.0.{n}") for n in range(8)}


def test_gateway_is_that_of_the_best_default_route() -> None:
    routes = (a_route6(metric=1024, gateway="fe80::2"), a_route6(metric=100, gateway="fe80::1"))
    assert the_plan(a_world(a_link(default6=routes))).gateway == IPv6Address("fe80::1")


def test_point_to_point_uplink_has_neither_gateway_nor_link_address() -> None:
    plan = the_plan(a_world(a_link("wwan0", default6=(a_route6(gateway=None),), link_address=None)))
    assert (plan.gateway, plan.link_address) == (None, None)


def test_mtu_of_the_router_counts_on_its_own_link_only() -> None:
    told = replace(a_world(), advertised_mtus={"wlan0": 1400, "eth0": 1300})
    assert the_plan(told).ipv6_mtu_bytes == 1400
    assert the_plan(replace(told, advertised_mtus={"eth0": 1300})).ipv6_mtu_bytes == 1500


@pytest.mark.parametrize(
    ("backends", "wanted", "chosen"),
    [
        ({"ebpf": "", "tun": ""}, "auto", "ebpf"),
        ({"ebpf": "kernel too old", "tun": ""}, "auto", "tun"),
        ({"ebpf": "", "tun": ""}, "tun", "tun"),
        ({"ebpf": "", "tun": "no"}, "tun", None),
    ],
)
def test_backend_is_the_first_that_works_and_is_allowed(
    backends: dict[str, str], wanted: str, chosen: str | None
) -> None:
    (verdict,) = decide(a_world(backends=backends, settings=Settings(backend=wanted)), NOW)
    assert (verdict.plan.backend if verdict.plan else None) == chosen
    assert verdict.reason is (None if chosen else Reason.NO_TRANSLATOR)


# Several uplinks


def many(count: int) -> list[Link]:
    """Uplinks `up0`, `up1`, … with a /64 and an Ethernet address of their own, all of the same metric."""
    return [a_link(f"up{n}", index=n + 2, ipv6=(f"2001:db8:{n + 1:x}::5/64",)) for n in range(count)]


def test_two_uplinks_get_plans_that_do_not_meet() -> None:
    one, other = (verdict.plan for verdict in decide(a_world(*many(2)), NOW))
    assert one is not None
    assert other is not None
    assert one.clat_v4 != other.clat_v4
    assert one.device != other.device
    assert (one.metric, other.metric) == (150, 151)


def test_ninth_uplink_finds_192_0_0_0_29_used_up() -> None:
    verdicts = decide(a_world(*many(9)), NOW)
    assert [verdict.reason for verdict in verdicts] == [None] * 8 + [Reason.NO_CLAT_ADDRESS]
    assert len({verdict.plan.clat_v4 for verdict in verdicts if verdict.plan}) == 8


def test_ninth_uplink_takes_the_place_of_one_that_went() -> None:
    links = many(9)
    eight = [verdict.plan for verdict in decide(a_world(*links), NOW) if verdict.plan]
    left = eight[1:]
    world = a_world(*(link for link in links if link.name != eight[0].interface), running=run_all(*left))
    verdicts = decide(world, NOW)
    assert [verdict.reason for verdict in verdicts] == [None] * 8
    assert verdicts[-1].plan is not None
    assert verdicts[-1].plan.clat_v4 == eight[0].clat_v4


def test_address_in_use_is_not_taken_by_a_connection_that_comes_first() -> None:
    late = a_link("wlan0", index=3, ipv6=("2001:db8:b::5/64",))
    running = run_all(the_plan(a_world(late)))
    first, second = decide(a_world(a_link("eth0"), late, running=running), NOW)
    assert second.plan is not None
    assert second.plan.clat_v4 == next(iter(running.values())).plan.clat_v4
    assert first.plan is not None
    assert first.plan.clat_v4 != second.plan.clat_v4


@pytest.mark.parametrize("state", list(RunState))
def test_address_of_a_translator_on_its_way_out_is_still_in_use(state: RunState) -> None:
    gone = replace(the_plan(a_world()), interface="eth9", device="clat-eth9")
    assert the_plan(a_world(running=run_all(gone, state=state))).clat_v4 != gone.clat_v4


def test_foreign_addresses_and_metrics_are_left_alone() -> None:
    free = the_plan(a_world())
    other = a_link("clat", index=9, ipv6=(), ipv4=(str(free.clat_v4),), default6=())
    another = a_link("vpn", index=10, ipv6=(), default4=(a_route4(metric=free.metric, gateway=None),), default6=())
    plan = the_plan(a_world(a_link(), other, another, uplinks=[an_uplink()]))
    assert plan.clat_v4 != free.clat_v4
    assert plan.metric == free.metric + 1


def test_own_device_is_no_competition() -> None:
    plan = the_plan(a_world())
    own = a_link(
        plan.device,
        index=9,
        ipv6=(),
        ipv4=(str(plan.clat_v4),),
        default4=(a_route4(metric=plan.metric, gateway=None),),
        default6=(),
        link_address=None,
    )
    assert the_plan(a_world(a_link(), own, uplinks=[an_uplink()], running=run_all(plan))) == plan


def test_force_with_native_ipv4_is_worse_than_native() -> None:
    link = a_link(ipv4=("192.168.2.7",), default4=(a_route4(metric=600),), default6=(a_route6(metric=100),))
    plan = the_plan(a_world(link, uplinks=[an_uplink(mode=Mode.FORCE)]))
    assert plan.metric > 600


# What stays


def test_prefix_in_use_stays_while_it_is_valid() -> None:
    best_first = (a_candidate(OWN_PREFIX), a_candidate(WELL_KNOWN))
    running = run_all(replace(the_plan(a_world()), prefix=WELL_KNOWN))
    assert the_plan(a_world(prefixes={"wlan0": best_first}, running=running)).prefix == WELL_KNOWN


def test_prefix_is_the_best_when_nothing_runs_or_the_old_one_is_gone() -> None:
    best_first = (a_candidate(OWN_PREFIX), a_candidate(WELL_KNOWN))
    gone = run_all(replace(the_plan(a_world()), prefix=IPv6Network("2001:db8:99::/96")))
    for running in ({}, gone):
        assert the_plan(a_world(prefixes={"wlan0": best_first}, running=running)).prefix == OWN_PREFIX


def test_same_prefix_from_another_router_changes_nothing() -> None:
    plan = the_plan(a_world())
    other = replace(a_candidate(), router=IPv6Address("fe80::2"), expires_at=NOW + 9)
    assert the_plan(a_world(prefixes={"wlan0": (other,)}, running=run_all(plan))) == plan


@pytest.mark.parametrize("used", [f"192.0.0.{n}" for n in range(8)])
def test_clat_v4_in_use_stays(used: str) -> None:
    running = run_all(replace(the_plan(a_world()), clat_v4=IPv4Address(used)))
    assert the_plan(a_world(running=running)).clat_v4 == IPv4Address(used)


def test_clat_v4_in_use_moves_when_another_program_takes_it() -> None:
    plan = the_plan(a_world())
    other = a_link("tun7", index=9, ipv6=(), ipv4=(str(plan.clat_v4),), default6=())
    moved = the_plan(a_world(a_link(), other, uplinks=[an_uplink()], running=run_all(plan)))
    assert moved.clat_v4 != plan.clat_v4


@pytest.mark.parametrize("order", [TWO_EQUAL, TWO_EQUAL[::-1]])
def test_source_prefix_in_use_stays_when_an_equal_one_appears(order: tuple[str, str]) -> None:
    for first in order:
        running = the_plan(a_world(a_link(ipv6=(first,))))
        assert the_plan(a_world(a_link(ipv6=order), running=run_all(running))) == running


def test_source_prefix_moves_when_it_is_deprecated() -> None:
    old = the_plan(a_world(a_link(ipv6=TWO_EQUAL[:1])))
    renumbered = a_link(ipv6=(an_address(TWO_EQUAL[0], deprecated=True), TWO_EQUAL[1]))
    moved = the_plan(a_world(renumbered, running=run_all(old)))
    assert moved.clat_v6 in IPv6Network("2001:db8:b::/64")


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param({"uuid": "another"}, id="another-connection"),
        pytest.param({"ifindex": 99}, id="device-made-anew"),
    ],
)
def test_nothing_stays_from_another_connection_or_device(stranger: dict[str, object]) -> None:
    base = the_plan(a_world(a_link(ipv6=TWO_EQUAL)))
    away = replace(
        base,
        clat_v4=IPv4Address("192.0.0.7"),
        clat_v6=IPv6Address("2001:db8:b::77"),
        **stranger,  # type: ignore[arg-type]
    )
    assert the_plan(a_world(a_link(ipv6=TWO_EQUAL), running=run_all(away))) == base


def test_collision_changes_the_ipv6_address_and_nothing_else() -> None:
    collided = Retry(failures=0, error="", not_before=NOW, collisions=1)
    before, after = the_plan(a_world()), the_plan(a_world(retries={"wlan0": collided}))
    assert after.clat_v6 != before.clat_v6
    assert replace(after, clat_v6=before.clat_v6) == before


# When to look again


def wakes(prefixes: tuple[float | None, ...] = (), retries: tuple[float, ...] = ()) -> World:
    return replace(
        a_world(),
        prefixes={"wlan0": tuple(a_candidate(expires_at=end) for end in prefixes)},
        retries={f"up{n}": Retry(failures=1, error="", not_before=end) for n, end in enumerate(retries)},
    )


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(wakes(), None, id="nothing"),
        pytest.param(wakes((None,)), None, id="endless-prefix"),
        pytest.param(wakes((NOW + 8, NOW + 5, None)), NOW + 5, id="first-prefix-to-expire"),
        pytest.param(wakes((), (NOW + 3,)), NOW + 3, id="back-off"),
        pytest.param(wakes((NOW + 8,), (NOW + 3, NOW + 1)), NOW + 1, id="soonest-of-all"),
        pytest.param(wakes((NOW + 8,), (NOW, NOW - 9)), NOW + 8, id="back-offs-that-are-over"),
        pytest.param(wakes((NOW, NOW - 1)), None, id="never-in-the-past"),
    ],
)
def test_wake_at_is_when_time_alone_changes_something(world: World, expected: float | None) -> None:
    assert wake_at(world, NOW) == expected


def test_verdict_changes_at_wake_at_and_not_before() -> None:
    world = a_world(retries={"wlan0": Retry(failures=3, error="", not_before=NOW + 2)})
    wake = wake_at(world, NOW)
    assert wake is not None
    assert the_reason(world, now=wake - 0.001) is Reason.BACKING_OFF
    assert the_reason(world, now=wake) is None
