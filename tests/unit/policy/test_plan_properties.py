# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold in any world, however odd."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm.model import (
    Address6,
    DefaultRoute,
    Link,
    Mode,
    Plan,
    PrefixCandidate,
    PrefixSource,
    Reason,
    Retry,
    Running,
    RunState,
    Settings,
    ToldMode,
    Uplink,
    World,
)
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, wake_at, wanted
from tests.unit.policy.machine import Machine, Summary, play
from tests.unit.policy.worlds import (
    NOW,
    OWN_PREFIX,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_route6,
    a_told_mode,
    a_world,
    an_uplink,
)

NAMES = ["up0", "up1", "up2", "clat-up1", "enx020000000001", "wlañ0"]
PREFIXES = [WELL_KNOWN, OWN_PREFIX, IPv6Network("2001:db8:64:ff::/64"), IPv6Network("fd00:64::/32")]
PROPERTY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

DEAD = IPv4Address("192.168.9.1")
SLAAC = [PREFIXES[2], IPv6Network("2001:db8:9::/64")]

times = st.sampled_from([NOW - 1, NOW, NOW + 0.5, NOW + 60, NOW + 65528])
metrics = st.sampled_from([0, 50, 100, 101, 150, 600, 1024, 2**32 - 51, 2**32 - 1])
clat_v4s = st.integers(0, 9).map(lambda n: IPv4Address("192.0.0.0") + n)
ipv4s = st.one_of(clat_v4s, st.sampled_from([IPv4Address("192.168.1.7"), IPv4Address("169.254.1.1")]))
ipv6s = st.sampled_from(
    [IPv6Address(text) for text in ("fe80::5", "2001:db8:a::5", "2001:db8:b::5", "fd00:1::5", "2001:db8:64::1", "::1")]
)
gateways4 = st.sampled_from([None, DEAD, IPv4Address("192.168.1.1")])
routes4 = st.lists(st.builds(DefaultRoute, gateway=gateways4, metric=metrics), max_size=2).map(tuple)
gateways6 = st.sampled_from([None, IPv6Address("fe80::1"), IPv6Address("fe80::2")])
routes6 = st.lists(st.builds(DefaultRoute, gateway=gateways6, metric=metrics), max_size=2).map(tuple)
addresses6 = st.builds(
    Address6,
    address=ipv6s,
    prefixlen=st.sampled_from([64, 64, 64, 128, 56, 0]),
    tentative=st.booleans(),
    deprecated=st.booleans(),
    temporary=st.booleans(),
)
candidates = st.builds(
    PrefixCandidate,
    prefix=st.sampled_from(PREFIXES),
    source=st.sampled_from(PrefixSource),
    router=st.none(),
    expires_at=st.none() | times,
)
retries = st.builds(
    Retry, failures=st.integers(0, 9), error=st.text(max_size=3), not_before=times, collisions=st.integers(0, 3)
)


seeds = st.integers(0, 2**16)


def links_named(name: str) -> st.SearchStrategy[Link]:
    return st.builds(
        Link,
        index=st.just(100 + NAMES.index(name)),
        name=st.just(name),
        ipv6_mtu_bytes=st.sampled_from([0, 1280, 1500, 65536]),
        carrier=st.sampled_from([True, True, True, False]),
        link_address=st.sampled_from([None, bytes(5) + b"\1"]),
        addresses4=st.frozensets(ipv4s, max_size=2),
        addresses6=st.lists(addresses6, max_size=3).map(tuple),
        default4=routes4,
        default6=routes6,
    )


told_modes = st.builds(
    ToldMode, source=st.text(max_size=3), text=st.text(max_size=3), mode=st.none() | st.sampled_from(Mode)
)


def uplinks_named(name: str) -> st.SearchStrategy[Uplink]:
    return st.builds(
        Uplink,
        interface=st.just(name),
        uuid=st.sampled_from(["", "one", "two"]),
        name=st.text(max_size=3),
        manager=st.just("NetworkManager"),
        told_modes=st.lists(told_modes, max_size=3).map(tuple),
        is_vpn=st.sampled_from([False, False, False, True]),
        manager_clat=st.sampled_from(["", "", "", "192.0.0.5"]),
    )


def plans_named(name: str) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        interface=st.just(name),
        ifindex=st.sampled_from([100 + NAMES.index(name), 999]),
        uuid=st.sampled_from(["", "one", "two"]),
        device=st.sampled_from([f"clat-{name}"[:15], "clat-old"]),
        backend=st.sampled_from(["tun", "ebpf"]),
        clat_v4=clat_v4s,
        clat_v6=ipv6s,
        prefix=st.sampled_from(PREFIXES),
        gateway=gateways6,
        link_address=st.sampled_from([None, bytes(5) + b"\1"]),
        ipv6_mtu_bytes=st.just(1500),
        ipv4_mtu_bytes=st.just(1472),
        metric=metrics,
    )


@st.composite
def worlds(draw: st.DrawFn, *, states: tuple[RunState, ...] = tuple(RunState)) -> World:
    linked = draw(st.sets(st.sampled_from(NAMES)))
    active = draw(st.sets(st.sampled_from(NAMES)))
    running = draw(st.sets(st.sampled_from(NAMES))) if states else set()
    return World(
        uplinks=tuple(draw(uplinks_named(name)) for name in sorted(active)),
        links={name: draw(links_named(name)) for name in sorted(linked)},
        prefixes={name: tuple(draw(st.lists(candidates, max_size=3))) for name in sorted(active)},
        advertised_mtus=draw(
            st.dictionaries(st.sampled_from(NAMES), st.sampled_from([68, 1280, 1400, 9000]), max_size=2)
        ),
        advertised_prefixes=draw(
            st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(SLAAC), max_size=2), max_size=2)
        ),
        dead_gateways=draw(st.dictionaries(st.sampled_from(NAMES), st.just(frozenset({DEAD})), max_size=2)),
        running={
            plan.key: Running(plan=plan, state=draw(st.sampled_from(states)))
            for plan in (draw(plans_named(name)) for name in sorted(running))
        },
        retries={name: draw(retries) for name in sorted(draw(st.sets(st.sampled_from(NAMES), max_size=4)))},
        backends=draw(st.sampled_from([{"tun": ""}, {"ebpf": "old kernel", "tun": ""}, {"tun": "no"}, {}])),
        settings=Settings(mode=draw(st.sampled_from(Mode)), backend=draw(st.sampled_from(["auto", "auto", "tun"]))),
        secret=draw(st.binary(max_size=4)),
    )


def check_a_translator_can_work_with(plan: Plan, world: World) -> None:
    link = world.links[plan.interface]
    assert plan.clat_v4 in {IPv4Address("192.0.0.0") + n for n in range(8)}
    own = {IPv6Network((a.address, 64), strict=False) for a in link.addresses6}
    heard = world.advertised_prefixes.get(plan.interface, frozenset())
    assert any(plan.clat_v6 in prefix for prefix in own | heard)
    assert not plan.clat_v6.is_link_local
    assert len(plan.device.encode()) <= 15
    assert 0 <= plan.metric < 2**32
    assert plan.ipv6_mtu_bytes >= 1280
    assert plan.ipv4_mtu_bytes == plan.ipv6_mtu_bytes - 28
    assert plan.prefix in {candidate.prefix for candidate in world.prefixes[plan.interface]}


@given(worlds())
@PROPERTY
def test_every_connection_gets_a_plan_or_a_reason(world: World) -> None:
    verdicts = decide(world, NOW)
    ours = {run.plan.device for run in world.running.values()}
    connections = [uplink for uplink in world.uplinks if uplink.interface not in ours]
    assert [verdict.uplink for verdict in verdicts] == connections
    for verdict in verdicts:
        assert (verdict.plan is None) == isinstance(verdict.reason, Reason)
        assert verdict.line().count("\n") == 0
        if verdict.plan:
            check_a_translator_can_work_with(verdict.plan, world)
    diff(world.running, [verdict.plan for verdict in verdicts if verdict.plan])
    wake = wake_at(world, NOW)
    assert wake is None or wake > NOW


@given(worlds())
@PROPERTY
def test_plans_never_meet_each_other_or_what_others_have(world: World) -> None:
    verdicts = decide(world, NOW)
    plans = [verdict.plan for verdict in verdicts if verdict.plan]
    own = {run.plan.device for run in world.running.values()}
    everything = wanted(verdicts)
    assert len({plan.key for plan in everything}) == len(everything)
    assert len({plan.device for plan in everything}) == len(everything)
    others = [link for link in world.links.values() if link.name not in own]
    addresses, metrics_taken = [plan.clat_v4 for plan in plans], [plan.metric for plan in plans]
    assert len(set(addresses)) == len(plans)
    assert len(set(metrics_taken)) == len(plans)
    assert len({plan.device for plan in plans}) == len(plans)
    assert not {address for link in others for address in link.addresses4} & set(addresses)
    assert not {route.metric for link in others for route in link.default4} & set(metrics_taken)
    for plan in plans:
        assert plan.clat_v4 not in {
            run.plan.clat_v4 for run in world.running.values() if run.plan.interface != plan.interface
        }


@given(worlds(states=()))
@PROPERTY
def test_once_applied_there_is_nothing_left_to_do(world: World) -> None:
    machine = Machine(replace(world, retries={}), now=NOW)
    machine.look()
    before = {name: run.plan for name, run in machine.running.items()}
    machine.settle(rounds=1)
    assert {name: run.plan for name, run in machine.running.items()} == before


@given(worlds(states=(RunState.ON,)))
@PROPERTY
def test_whatever_runs_a_few_looks_lead_to_rest(world: World) -> None:
    machine = Machine(world, now=NOW)
    machine.come_to_rest()
    goal = {verdict.plan.key: verdict.plan for verdict in machine.verdicts() if verdict.plan}
    assert {key: run.plan for key, run in machine.running.items()} == goal


@given(worlds(), seeds)
@PROPERTY
def test_order_in_which_things_were_found_does_not_matter(world: World, seed: int) -> None:
    rng = random.Random(seed)

    def shuffled(found: Mapping[str, object]) -> dict[str, object]:
        return {name: found[name] for name in rng.sample(sorted(found), len(found))}

    mixed = replace(
        world,
        links=shuffled(world.links),  # type: ignore[arg-type]
        prefixes=shuffled(world.prefixes),  # type: ignore[arg-type]
        running=shuffled(world.running),  # type: ignore[arg-type]
        retries=shuffled(world.retries),  # type: ignore[arg-type]
    )
    verdicts = decide(world, NOW)
    assert decide(mixed, NOW) == verdicts
    plans = wanted(verdicts)
    one, other = diff(world.running, plans), diff(mixed.running, rng.sample(plans, len(plans)))
    assert sorted(map(repr, one)) == sorted(map(repr, other))


@given(worlds(states=(RunState.ON,)), seeds)
@PROPERTY
def test_order_of_uplinks_changes_no_address_once_they_run(world: World, seed: int) -> None:
    rng = random.Random(seed)
    machine = Machine(world, now=NOW)
    machine.come_to_rest()
    mixed = replace(machine.world(), uplinks=tuple(rng.sample(world.uplinks, len(world.uplinks))))
    after = {v.uplink.interface: (v.reason, v.plan and v.plan.clat_v4) for v in decide(mixed, machine.now)}
    assert after == {v.uplink.interface: (v.reason, v.plan and v.plan.clat_v4) for v in machine.verdicts()}


# Random histories

FINAL = a_world(
    a_link("eth0", index=2, ipv4=("192.168.2.7",), default4=(a_route4(),)),
    a_link("wlan0", index=3),
    a_link("wwan0", index=4, ipv6=("2001:db8:c::5/64",), link_address=None, default6=(a_route6(metric=700),)),
    a_link("wlan1", index=5, ipv6=("2001:db8:d::5/128",)),
    uplinks=[an_uplink("eth0"), an_uplink("wlan0"), an_uplink("wwan0", mode=Mode.FORCE), an_uplink("wlan1")],
    prefixes={name: (a_candidate(OWN_PREFIX, expires_at=None),) for name in ("eth0", "wlan0", "wlan1")}
    | {"wwan0": (a_candidate(WELL_KNOWN, expires_at=None),)},
)
_OTHER_LINK = a_link("wlan0", index=30, ipv6=("fd00:9::5/64", "2001:db8:9::5/64"), mtu_bytes=1400, default6=())
_DETOURS: list[Mapping[str, object]] = [
    {"uplinks": ()},
    {"uplinks": FINAL.uplinks[:2]},
    {"uplinks": tuple(replace(uplink, told_modes=(a_told_mode(Mode.NO),)) for uplink in FINAL.uplinks)},
    {"uplinks": tuple(replace(uplink, manager_clat="192.0.0.5") for uplink in FINAL.uplinks)},
    {"uplinks": tuple(replace(uplink, uuid="another") for uplink in FINAL.uplinks)},
    {"links": {}},
    {"links": {"wlan0": _OTHER_LINK}},
    {"links": {name: replace(link, carrier=False) for name, link in FINAL.links.items()}},
    {"links": {name: replace(link, default4=(), ipv6_mtu_bytes=1280) for name, link in FINAL.links.items()}},
    {"prefixes": {}},
    {"prefixes": {name: (a_candidate(WELL_KNOWN, expires_at=None),) for name in FINAL.links}},
    {"settings": Settings(mode=Mode.NO)},
    {"backends": {"tun": "/dev/net/tun cannot be opened"}},
]
_LAST: list[Mapping[str, object]] = [
    {"uplinks": FINAL.uplinks},
    {"links": FINAL.links},
    {"prefixes": FINAL.prefixes},
    {"settings": FINAL.settings},
    {"backends": FINAL.backends},
]


def without_history(summary: Summary) -> Summary:
    """The CLAT's addresses are what was free at the time; everything else must follow from the facts alone."""

    def plain(plan: Plan) -> Plan:
        network = IPv6Network((plan.clat_v6, 64), strict=False)
        return replace(plan, clat_v4=IPv4Address("192.0.0.0"), clat_v6=network[0])

    return {name: (reason, plan and plain(plan)) for name, (reason, plan) in summary.items()}


def test_random_histories_end_as_if_they_had_never_been() -> None:
    fresh = Machine(FINAL, now=NOW)
    fresh.come_to_rest()
    expected = without_history(fresh.summary())
    assert {name: reason for name, (reason, _) in expected.items()} == {
        "eth0": Reason.NATIVE_IPV4,
        "wlan0": None,
        "wlan1": Reason.NO_CLAT_ADDRESS,
        "wwan0": None,
    }
    devices = {run.plan.device for run in fresh.running.values()}
    for seed in range(1000):
        rng = random.Random(seed)
        machine = Machine(World(secret=FINAL.secret), now=NOW)
        play(machine, [*rng.choices(_DETOURS + _LAST, k=12), *rng.sample(_LAST, len(_LAST))], rng)
        machine.come_to_rest()
        assert without_history(machine.summary()) == expected, f"seed {seed}"
        assert {run.plan.device for run in machine.running.values()} == devices, f"seed {seed}"
