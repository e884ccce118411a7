# SPDX-License-Identifier: GPL-2.0-or-later
"""What VPNs do to a CLAT: where IPv4 and IPv6 would go without us, and what is left for us then."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from clatnm.model import AroundVpn, DefaultRoute, Link, Mode, Reason, Running, RunState, Settings, Uplink, Ways, World
from clatnm.policy.plan import decide
from clatnm.policy.vpn import interfaces
from tests.unit.policy.worlds import NOW, a_link, a_world, an_uplink, run_all, the_plan

OFFICE = "5f5dd7d0-6c1b-4b9f-8d5c-6d6c6e1f1a01"


def a_tunnel(name: str = "wg0", *, metric4: int | None = None, kind: str = "wireguard") -> Link:
    default4 = () if metric4 is None else (DefaultRoute(gateway=None, metric=metric4),)
    return replace(
        a_link(name, index=7, ipv6=("2001:db8:8::2/64",), default6=(), default4=default4, link_address=None), kind=kind
    )


def a_vpn(name: str = "wg0", *, mode: Mode | None = None) -> Uplink:
    return replace(an_uplink(name, uuid=OFFICE, is_vpn=True, mode=mode), name="Office")


def beside(
    ways: Ways, *, tunnel: Link | None = None, settings: Settings | None = None, mode: Mode | None = None
) -> World:
    """The only connection, and a VPN that the manager tells of."""
    world = a_world(
        a_link(), tunnel or a_tunnel(), uplinks=[an_uplink(mode=mode), a_vpn()], settings=settings or Settings()
    )
    return replace(world, ways=ways)


def reason(world: World, interface: str = "wlan0") -> Reason | None:
    return next(v.reason for v in decide(world, NOW) if v.uplink.interface == interface)


def metric(world: World) -> int:
    (plan,) = (v.plan for v in decide(world, NOW) if v.plan is not None)
    return plan.metric


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        pytest.param(Ways(ipv4="wg0", ipv6="wg0"), None, id="takes-both"),
        pytest.param(Ways(ipv4="", ipv6="wg0"), Reason.VPN_WITHOUT_IPV4, id="takes-ipv6"),
        pytest.param(Ways(ipv4="eth0", ipv6="wg0"), Reason.VPN_WITHOUT_IPV4, id="takes-ipv6-beside-ipv4-elsewhere"),
        pytest.param(Ways(ipv4="wg0", ipv6="wlan0"), None, id="takes-ipv4"),
        pytest.param(Ways(ipv4="", ipv6="wlan0"), None, id="takes-neither"),
        pytest.param(Ways(), None, id="no-way-at-all"),
        pytest.param(Ways(ipv4="", ipv6="eth0"), None, id="another-uplink-has-ipv6"),
    ],
)
def test_ipv4_does_not_go_around_a_vpn_that_has_ipv6_alone(ways: Ways, expected: Reason | None) -> None:
    assert reason(beside(ways)) is expected


@pytest.mark.parametrize("kind", ["tun", "wireguard", "ipip", "xfrm"])
def test_vpn_that_no_manager_knows_is_known_by_its_kind(kind: str) -> None:
    world = replace(a_world(a_link(), a_tunnel(kind=kind), uplinks=[an_uplink()]), ways=Ways(ipv6="wg0"))
    assert reason(world) is Reason.VPN_WITHOUT_IPV4
    assert interfaces(world) == {"wg0"}


def test_vpn_that_only_its_manager_knows_is_one_too() -> None:
    """PPTP and L2TP have a `ppp` device, as a modem has."""
    ppp = replace(a_tunnel("ppp0"), kind="ppp")
    world = a_world(a_link(), ppp, uplinks=[an_uplink(), a_vpn("ppp0")])
    assert reason(replace(world, ways=Ways(ipv6="ppp0"))) is Reason.VPN_WITHOUT_IPV4
    modem = replace(a_world(a_link(), ppp, uplinks=[an_uplink()]), ways=Ways(ipv6="ppp0"))
    assert reason(modem) is None


def test_devices_of_ours_are_no_vpns() -> None:
    assert interfaces(a_world(a_link(), a_tunnel("clat-wlan0", kind="tun"), uplinks=[an_uplink()])) == set()


def test_device_of_ours_with_another_name_is_neither_a_connection_nor_a_vpn() -> None:
    """`device = clat`: NetworkManager shows it as a connection that somebody else has made."""
    settings = Settings(metric=3000)
    plan = replace(the_plan(a_world(settings=settings)), device="clat")
    clat = a_tunnel("clat", metric4=3000, kind="tun")
    world = a_world(a_link(), clat, uplinks=[an_uplink(), an_uplink("clat", uuid=OFFICE)], settings=settings)
    before = replace(world, ways=Ways(ipv4="clat", ipv6="wlan0"))
    assert [v.uplink.interface for v in decide(before, NOW)] == ["clat", "wlan0"]
    assert interfaces(before) == {"clat"}
    now = replace(before, running=run_all(plan))
    assert [v.uplink.interface for v in decide(now, NOW)] == ["wlan0"]
    assert interfaces(now) == set()


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.FORCE])
def test_mode_is_no_leave_to_go_around_a_vpn(mode: Mode) -> None:
    assert reason(beside(Ways(ipv6="wg0"), mode=mode)) is Reason.VPN_WITHOUT_IPV4


def written(vpn: AroundVpn) -> Settings:
    return Settings(vpn=vpn, written=frozenset({"vpn"}))


STRICT, BYPASS = written(AroundVpn.STRICT), written(AroundVpn.BYPASS)
UPLINK = an_uplink().uuid


@pytest.mark.parametrize(
    ("settings", "goes"),
    [
        pytest.param(BYPASS, True, id="for-all"),
        pytest.param(replace(STRICT, connections={UPLINK: BYPASS}), True, id="for-the-uplink"),
        pytest.param(replace(STRICT, connections={OFFICE: BYPASS}), True, id="for-the-vpn"),
        pytest.param(replace(BYPASS, connections={OFFICE: STRICT}), False, id="not-for-this-vpn"),
        pytest.param(replace(BYPASS, connections={UPLINK: STRICT}), False, id="not-for-this-uplink"),
        pytest.param(replace(STRICT, connections={UPLINK: STRICT, OFFICE: BYPASS}), True, id="the-vpn-knows-best"),
        pytest.param(replace(BYPASS, connections={OFFICE: Settings()}), True, id="the-vpn-says-nothing-about-it"),
    ],
)
def test_leave_to_go_around_a_vpn_is_given_for_all_for_an_uplink_or_for_the_vpn(settings: Settings, goes: bool) -> None:
    expected = None if goes else Reason.VPN_WITHOUT_IPV4
    assert reason(beside(Ways(ipv6="wg0"), settings=settings)) is expected


def test_evidence_names_the_vpn() -> None:
    for ways in (Ways(ipv6="wg0"), Ways(ipv4="wg0", ipv6="wlan0"), Ways(ipv4="wg0", ipv6="wg0")):
        told = {v.uplink.interface: v.evidence for v in decide(beside(ways), NOW)}
        assert told["wlan0"]["vpn"] == "wg0"
        assert "vpn" not in told["wg0"]
    (evidence,) = (v.evidence for v in decide(a_world(), NOW))
    assert "vpn" not in evidence


# IPv4 that a VPN has stays in it


@pytest.mark.parametrize(
    ("ways", "metric4", "expected"),
    [
        pytest.param(Ways(ipv4="wg0"), 50, 150, id="better-anyway"),
        pytest.param(Ways(ipv4="wg0"), 700, 750, id="worse-than-ours-would-be"),
        pytest.param(Ways(ipv4="wg0"), None, 150, id="in-a-table-of-its-own"),
        pytest.param(Ways(ipv4="eth0"), 700, 150, id="not-in-use"),
    ],
)
def test_default_route_comes_after_that_of_a_vpn(ways: Ways, metric4: int | None, expected: int) -> None:
    assert metric(beside(ways, tunnel=a_tunnel(metric4=metric4))) == expected


def test_where_it_may_go_around_the_metric_is_as_ever() -> None:
    world = beside(Ways(ipv4="wg0"), tunnel=a_tunnel(metric4=700), settings=Settings(vpn=AroundVpn.BYPASS))
    assert metric(world) == 150


def test_routes_of_our_own_are_no_reason_to_change_anything() -> None:
    world = beside(Ways(ipv4="wg0", ipv6="wg0"), tunnel=a_tunnel(metric4=700))
    (plan,) = (v.plan for v in decide(world, NOW) if v.plan is not None)
    (again,) = (v.plan for v in decide(replace(world, running=run_all(plan)), NOW) if v.plan is not None)
    assert again == plan


@pytest.mark.parametrize(("for_s", "stays"), [(0.0, True), (9.9, True), (10.0, False)])
def test_translator_outlasts_the_moment_in_which_a_vpn_has_only_half_of_its_routes(for_s: float, stays: bool) -> None:
    """Without a default route from the first moment on; whoever still uses it then has ten seconds, and no drain."""
    plan = the_plan(a_world())
    run = Running(plan=replace(plan, offered=False), state=RunState.ON, withdrawn_at=NOW - for_s)
    world = replace(beside(Ways(ipv6="wg0")), running={plan.key: run}, users={plan.clat_v4: 3})
    kept = decide(world, NOW)[-1].keep
    assert [each.offered for each in kept] == [False] * stays


# A VPN as an uplink


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.FORCE])
def test_vpn_gets_a_clat_of_its_own_when_it_is_told_to_have_one(mode: Mode) -> None:
    link = a_link("wg0", index=7, ipv6=("2001:db8:8::2/64",), link_address=None)
    world = replace(a_world(link, uplinks=[a_vpn(mode=mode)]), ways=Ways(ipv6="wg0"))
    plan = the_plan(world)
    assert (plan.interface, plan.device, plan.link_address) == ("wg0", "clat-wg0", None)
    own_file = Settings(connections={OFFICE: Settings(mode=mode, written=frozenset({"mode"}))})
    assert the_plan(replace(world, uplinks=(a_vpn(),), settings=own_file)) == plan


@pytest.mark.parametrize("mode", [None, Mode.NO])
def test_vpn_has_no_clat_because_all_connections_have_one(mode: Mode | None) -> None:
    link = a_link("wg0", index=7, link_address=None)
    world = a_world(link, uplinks=[a_vpn(mode=mode)], settings=Settings(mode=Mode.FORCE, written=frozenset({"mode"})))
    assert reason(world, "wg0") is Reason.NOT_AN_UPLINK


# What a profile says of IPv4's default route


def test_connection_that_is_never_the_default_gets_no_clat_unless_forced() -> None:
    never = replace(an_uplink(), never_default=True)
    assert reason(a_world(uplinks=[never])) is Reason.NEVER_DEFAULT
    assert reason(a_world(uplinks=[never], settings=Settings(mode=Mode.FORCE))) is None


@pytest.mark.parametrize(("own", "expected"), [(None, 150), (0, 50), (20, 70), (600, 650)])
def test_metric_follows_the_one_that_the_profile_has_for_ipv4(own: int | None, expected: int) -> None:
    assert the_plan(a_world(uplinks=[replace(an_uplink(), ipv4_metric=own)])).metric == expected


def test_far_ends_of_vpns_are_led_through_the_translator() -> None:
    ends = (IPv4Address("198.51.100.20"),)
    plan = the_plan(a_world(uplinks=[replace(an_uplink(), vpn_gateways=ends)]))
    assert plan.gateways == ends
    assert plan.same_translator(replace(plan, gateways=()))
