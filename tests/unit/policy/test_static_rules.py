# SPDX-License-Identifier: GPL-2.0-or-later
"""Static translators: when one runs, what it is told, and that it and connections leave each other alone."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from clatnm.model import Choices, Link, Mode, Plan, Reason, Relay, Retry, Settings, Static, Verdict, World
from clatnm.policy.plan import decide
from clatnm.policy.rehearsal import Rehearsal
from clatnm.policy.steps import diff, wake_at, wanted
from clatnm.proto.eam import EamTable
from tests.unit.policy.worlds import NOW, a_link, a_route4, a_route6, a_world, run_all

PREFIX = IPv6Network("2001:db8:46::/96")
TABLE = EamTable([(IPv4Network("192.0.2.1"), IPv6Network("2001:db8:a::c000:201"))])
SOME = Relay(mappings=TABLE, addresses=(IPv4Address("192.0.2.1"),), routes=(IPv4Network("203.0.113.0/24"),))
EVERYWHERE = Relay(mappings=TABLE, addresses=(IPv4Address("192.0.2.1"),))


def a_static(name: str = "web", **choices: Any) -> Static:
    return Static(name=name, uplink="eth0", prefix=PREFIX, choices=Choices(**choices))


def with_static(*statics: Static, links: tuple[Link, ...] = (), mode: Mode = Mode.AUTO, **others: Any) -> World:
    """A server's eth0 that no manager has, unless `uplinks` says so."""
    settings = Settings(mode=mode, statics=tuple(sorted(statics, key=lambda static: static.name)))
    return a_world(*(links or (a_link("eth0"),)), settings=settings, **{"uplinks": (), **others})


def verdict_of(name: str, world: World, *, now: float = NOW) -> Verdict:
    (found,) = (verdict for verdict in decide(world, now) if verdict.uplink.static == name)
    assert (found.plan is None) == (found.reason is not None)
    return found


def the_static_plan(world: World, name: str = "web") -> Plan:
    found = verdict_of(name, world)
    assert found.plan is not None, found.line()
    return found.plan


def test_static_clat_runs_where_nobody_manages_anything() -> None:
    plan = the_static_plan(with_static(a_static()))
    assert (plan.interface, plan.device, plan.prefix) == ("eth0", "clat-s-web", PREFIX)
    assert plan.clat_v4 == IPv4Address("192.0.0.4")
    assert plan.clat_v6 in IPv6Network("2001:db8:a::/64")
    assert (plan.gateway, plan.offered, plan.relay) == (IPv6Address("fe80::1"), True, None)


def test_everything_chosen_by_hand_is_as_chosen() -> None:
    chosen: dict[str, Any] = {
        "clat_v4": IPv4Address("192.0.0.1"),
        "clat_v6": IPv6Address("2001:db8:a::c1a7"),
        "device": "siit",
    }
    plan = the_static_plan(with_static(a_static(**chosen, metric=2048, mtu_bytes=1260)))
    assert (plan.clat_v4, plan.clat_v6, plan.device) == tuple(chosen.values())
    assert (plan.metric, plan.ipv4_mtu_bytes, plan.ipv6_mtu_bytes) == (2048, 1260, 1500)


def test_relay_is_told_its_table() -> None:
    plan = the_static_plan(with_static(a_static(relay=SOME)))
    assert plan.relay == SOME


def test_backend_is_the_files_own() -> None:
    world = with_static(replace(a_static(), backend="tun"), backends={"ebpf": "", "tun": ""})
    assert the_static_plan(world).backend == "tun"
    assert the_static_plan(with_static(a_static(), backends={"ebpf": "", "tun": ""})).backend == "ebpf"


NO_ROUTE = a_link("eth0", default6=())
MANAGERS = a_link("eth0", ipv4=("192.0.0.5",), default4=(a_route4(gateway=None),))
CLATD = a_link("clat", index=9, ipv6=(), ipv4=("192.0.0.1",), default4=(a_route4(gateway=None),), default6=())
FAILED = Retry(failures=3, error="no luck", not_before=NOW + 5)

# A world → why there is none; with a relay for some networks only
REASONS: dict[str, tuple[dict[str, Any], Reason | None, Reason | None]] = {
    "no-interface": ({"links": (a_link("eth1"),)}, Reason.NO_IPV6, Reason.NO_IPV6),
    "no-carrier": ({"links": (a_link("eth0", carrier=False),)}, Reason.NO_IPV6, Reason.NO_IPV6),
    "no-route": ({"links": (NO_ROUTE,)}, Reason.NO_IPV6, Reason.NO_IPV6),
    "only-link-local": ({"links": (a_link("eth0", ipv6=("fe80::5/64",)),)}, Reason.NO_IPV6, Reason.NO_IPV6),
    "failed": ({"retries": {"static.d/web": FAILED}}, Reason.BACKING_OFF, Reason.BACKING_OFF),
    "failure-of-a-connection": ({"retries": {"eth0": FAILED}}, None, None),
    "no-backend": ({"backends": {"tun": "no /dev/net/tun"}}, Reason.NO_TRANSLATOR, Reason.NO_TRANSLATOR),
    "manager-translates": ({"links": (MANAGERS,)}, Reason.MANAGER_TRANSLATES, None),
    "clatd-is-there": ({"links": (a_link("eth0"), CLATD)}, Reason.OTHER_TRANSLATOR, None),
    "native-ipv4": ({"links": (a_link("eth0", ipv4=("192.0.2.9",), default4=(a_route4(),)),)}, None, None),
    "opted-out-for-all": ({"mode": Mode.NO}, None, None),
}


@pytest.mark.parametrize(("others", "as_clat", "as_relay"), REASONS.values(), ids=REASONS)
def test_static_translator_has_its_reasons(
    others: dict[str, Any], as_clat: Reason | None, as_relay: Reason | None
) -> None:
    assert verdict_of("web", with_static(a_static(), **others)).reason is as_clat
    assert verdict_of("web", with_static(a_static(relay=EVERYWHERE), **others)).reason is as_clat
    assert verdict_of("web", with_static(a_static(relay=SOME), **others)).reason is as_relay
    assert verdict_of("web", with_static(a_static(default_route=False), **others)).reason is as_relay


# Whose the address is already
IN_USE: dict[str, tuple[Static, Link, str]] = {
    "clat-v4": (a_static(clat_v4=IPv4Address("192.0.0.1")), a_link("lo", index=1, ipv4=("192.0.0.1",)), "192.0.0.1"),
    "service-address": (a_static(relay=SOME), a_link("lo", index=1, ipv4=("192.0.2.1",)), "192.0.2.1"),
    "prefix-of-the-link-itself": (
        replace(a_static(), prefix=IPv6Network("2001:db8::/32")),
        a_link("eth0", ipv6=("fe80::5/64", "2001:db8:a::5/64")),
        "2001:db8:a::5",
    ),
    "mapped-address-is-the-hosts-own": (
        a_static(relay=SOME),
        a_link("eth0", ipv6=("fe80::5/64", "2001:db8:a::c000:201/64")),
        "2001:db8:a::c000:201",
    ),
    "relay-speaks-with-the-hosts-own": (
        a_static(relay=SOME, clat_v6=IPv6Address("2001:db8:a::5")),
        a_link("eth0", ipv6=("fe80::5/64", "2001:db8:a::5/64")),
        "2001:db8:a::5",
    ),
    "mapped-address-is-the-routers": (
        a_static(relay=SOME),
        a_link("eth0", default6=(a_route6(gateway="2001:db8:a::c000:201"),)),
        "2001:db8:a::c000:201",
    ),
}


@pytest.mark.parametrize(("static", "link", "address"), IN_USE.values(), ids=IN_USE)
def test_address_that_the_host_has_elsewhere_is_named(static: Static, link: Link, address: str) -> None:
    links = (link,) if link.name == "eth0" else (a_link("eth0"), link)
    found = verdict_of("web", with_static(static, links=links))
    assert (found.reason, found.evidence["in-use"]) == (Reason.NO_CLAT_ADDRESS, address)


# Beside connections


def beside(*statics: Static, **others: Any) -> World:
    """The same where eth0 is also a manager's connection, which has a CLAT."""
    return with_static(*statics, uplinks=None, **others)


def test_connection_and_static_translator_have_devices_addresses_and_metrics_of_their_own() -> None:
    world = beside(a_static(), a_static("eth0"))
    plans = wanted(decide(world, NOW))
    assert len(plans) == 3
    for field in ("device", "clat_v4", "clat_v6", "metric", "key", "owner"):
        assert len({getattr(plan, field) for plan in plans}) == 3, field
    again = replace(world, running=run_all(*plans))
    assert diff(again.running, wanted(decide(again, NOW))) == ()


def test_chosen_address_is_the_static_translators_even_if_a_connection_has_it() -> None:
    alone = wanted(decide(beside(), NOW))
    chosen = beside(a_static(clat_v4=alone[0].clat_v4, metric=alone[0].metric), running=run_all(*alone))
    connection, static = (verdict.plan for verdict in decide(chosen, NOW))
    assert connection is not None
    assert static is not None
    assert static.clat_v4 == alone[0].clat_v4 != connection.clat_v4


# What a connection would have to speak with: chosen for it, or the host's own
SPEAKS: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "mapped": ("2001:db8:a::c000:201", ("fe80::5/64", "2001:db8:a::5/64"), False),
    "spoken-with": ("2001:db8:a::5eaf", ("fe80::5/64", "2001:db8:a::5/64"), False),
    "its-own": ("2001:db8:a::c1a7", ("fe80::5/64", "2001:db8:a::5/64"), True),
}


@pytest.mark.parametrize(("address", "ipv6", "runs"), SPEAKS.values(), ids=SPEAKS)
def test_connection_does_not_speak_with_an_address_of_a_static_translator(
    address: str, ipv6: tuple[str, ...], runs: bool
) -> None:
    static = a_static(relay=SOME, clat_v6=IPv6Address("2001:db8:a::5eaf"))
    settings = Settings(statics=(static,), clat_v6=IPv6Address(address))
    world = replace(beside(static, links=(a_link("eth0", ipv6=ipv6),)), settings=settings)
    connection, relay = decide(world, NOW)
    assert (connection.plan is not None, connection.reason) == (runs, None if runs else Reason.NO_CLAT_ADDRESS)
    assert relay.plan is not None


@pytest.mark.parametrize(("prefix", "runs"), [("64:ff9b::/96", False), ("2001:db8:46::/96", True)])
def test_two_share_the_hosts_address_only_where_the_prefix_tells_them_apart(prefix: str, runs: bool) -> None:
    link = a_link("eth0", ipv6=("fe80::5/64", "2001:db8:a::5/128"))
    static = replace(a_static(), prefix=IPv6Network(prefix))
    world = beside(static, links=(link,), backends={"ebpf": ""})
    connection, clat = decide(replace(world, sharing_backends=frozenset({"ebpf"})), NOW)
    assert clat.plan is not None
    assert clat.plan.shared
    assert connection.candidate is not None
    assert connection.candidate.prefix == IPv6Network("64:ff9b::/96")
    assert (connection.plan is not None, connection.reason) == (runs, None if runs else Reason.NO_CLAT_ADDRESS)


def test_connection_is_decided_as_without_it() -> None:
    running = run_all(*wanted(decide(beside(), NOW)))
    (without,) = decide(beside(running=running), NOW)
    with_it = decide(beside(a_static(relay=SOME), running=running), NOW)
    assert with_it[0] == without
    assert [verdict.uplink.static for verdict in with_it] == ["", "web"]


def test_history_of_a_static_translator() -> None:
    """Start, live changes, a change that takes a restart, the end; the connection beside it is left alone."""
    world = beside(a_static(relay=SOME, metric=7))
    mind = Rehearsal(world, now=NOW)
    mind.settle()
    assert sorted(run.plan.owner for run in mind.running.values()) == ["eth0", "static.d/web"]
    mind.facts = beside(a_static(relay=SOME, metric=7), links=(a_link("eth0", mtu_bytes=1400),))
    assert [(type(step).__name__, step.plan.owner) for step in mind.settle()] == [
        ("Update", "eth0"),
        ("Update", "static.d/web"),
    ]
    elsewhere = replace(SOME, routes=(IPv4Network("198.51.100.0/24"),))
    mind.facts = replace(mind.facts, settings=Settings(statics=(a_static(relay=elsewhere, metric=7),)))
    assert [type(step).__name__ for step in mind.settle()] == ["Stop", "Start"]
    mind.facts = replace(mind.facts, settings=Settings())
    assert [(type(step).__name__, step.plan.owner) for step in mind.settle()] == [("Stop", "static.d/web")]
    assert [run.plan.owner for run in mind.running.values()] == ["eth0"]


def test_table_changes_live() -> None:
    other = replace(SOME, mappings=EamTable([*TABLE, (IPv4Network("192.0.2.2"), IPv6Network("2001:db8:a::c000:202"))]))
    before = with_static(a_static(relay=SOME))
    plan = the_static_plan(before)
    after = with_static(a_static(relay=other), running=run_all(plan))
    (step,) = diff(after.running, wanted(decide(after, NOW)))
    assert type(step).__name__ == "Update"
    assert step.plan.relay == other


def test_other_file_is_not_disturbed() -> None:
    world = with_static(a_static("a", relay=SOME), a_static("b"))
    plans = wanted(decide(world, NOW))
    changed = with_static(a_static("a", relay=SOME), a_static("b", metric=9), running=run_all(*plans))
    assert {step.plan.static for step in diff(changed.running, wanted(decide(changed, NOW)))} == {"b"}


def test_it_outlives_a_moment_without_ipv6() -> None:
    plan = the_static_plan(with_static(a_static()))
    gone = replace(with_static(a_static(), links=(NO_ROUTE,), running=run_all(plan)), without_ipv6_since={"eth0": NOW})
    assert verdict_of("web", gone, now=NOW + 2).keep == (plan,)
    wake = wake_at(gone, NOW + 2)
    assert wake is not None
    assert verdict_of("web", gone, now=wake).keep == ()


def test_next_hop_is_followed() -> None:
    plan = the_static_plan(with_static(a_static()))
    moved = a_link("eth0", default6=(a_route6(gateway="fe80::2"),))
    now = the_static_plan(with_static(a_static(), links=(moved,), running=run_all(plan)))
    assert now == replace(plan, gateway=IPv6Address("fe80::2"))
