# SPDX-License-Identifier: GPL-2.0-or-later
"""Should this connection have a CLAT: every rule, every exception from it, and the order in which they are asked."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from clatnm.model import Link, Mode, PlatHealth, PlatState, Reason, Retry, Settings, Uplink, Ways, World
from clatnm.policy.addressing import CONTINUITY_PREFIX
from clatnm.policy.modes import mode_of
from clatnm.policy.plan import decide
from clatnm.policy.steps import wake_at
from clatnm.policy.verdict import case, has_native_ipv4, requires_clat, should_start_clat
from tests.unit.policy.worlds import (
    NOW,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_world,
    an_address,
    an_uplink,
    the_reason,
)

NATIVE = a_link(ipv4=("192.168.2.7",), default4=(a_route4(),))
CLATD = a_link(
    "clat", index=9, ipv6=(), ipv4=("192.0.0.1",), default4=(a_route4(metric=2048, gateway=None),), default6=()
)
FAILED = Retry(failures=2, error="no", not_before=NOW + 1)

REFUSALS: dict[str, tuple[World, Reason]] = {
    "vpn": (a_world(uplinks=[an_uplink(is_vpn=True)]), Reason.NOT_AN_UPLINK),
    "own-device": (a_world(a_link("clat-eth0")), Reason.NOT_AN_UPLINK),
    "mode-no": (a_world(uplinks=[an_uplink(mode=Mode.NO)]), Reason.OPTED_OUT),
    "global-no": (a_world(settings=Settings(mode=Mode.NO)), Reason.OPTED_OUT),
    "nm-1.58-clat": (a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")]), Reason.MANAGER_TRANSLATES),
    "nm-1.58-right-of-way": (
        replace(
            a_world(uplinks=[replace(an_uplink(), manager_wait_s=1.0)]),
            told_since={"wlan0": NOW - 0.9},
        ),
        Reason.MANAGER_TRANSLATES,
    ),
    "clatd": (a_world(a_link(), CLATD, uplinks=[an_uplink()]), Reason.OTHER_TRANSLATOR),
    "never-default": (a_world(uplinks=[replace(an_uplink(), never_default=True)]), Reason.NEVER_DEFAULT),
    "vpn-has-ipv6-alone": (
        replace(
            a_world(a_link(), a_link("wg0", index=7, kind="wireguard"), uplinks=[an_uplink()]), ways=Ways(ipv6="wg0")
        ),
        Reason.VPN_WITHOUT_IPV4,
    ),
    "native": (a_world(NATIVE), Reason.NATIVE_IPV4),
    "no-link": (a_world(uplinks=[an_uplink("wwan0")], prefixes={"wwan0": (a_candidate(),)}), Reason.NO_IPV6),
    "no-carrier": (a_world(a_link(carrier=False)), Reason.NO_IPV6),
    "no-default-route": (a_world(a_link(default6=())), Reason.NO_IPV6),
    "link-local-only": (a_world(a_link(ipv6=("fe80::5/64",))), Reason.NO_IPV6),
    "no-address": (a_world(a_link(ipv6=())), Reason.NO_IPV6),
    "no-prefix": (a_world(prefixes={}), Reason.NO_PREF64),
    "prefix-list-empty": (a_world(prefixes={"wlan0": ()}), Reason.NO_PREF64),
    "plat-gone": (
        replace(a_world(), plats={("wlan0", WELL_KNOWN): PlatHealth(state=PlatState.DEAD, since=NOW)}),
        Reason.PLAT_UNREACHABLE,
    ),
    "after-failure": (a_world(retries={"wlan0": FAILED}), Reason.BACKING_OFF),
    "rfc6877-no-slash-64": (a_world(a_link(ipv6=("2001:db8:a::5/128",))), Reason.NO_CLAT_ADDRESS),
    "rfc7335-29-used-up": (
        a_world(a_link(), a_link("lo9", index=9, ipv4=[f"192.0.0.{n}" for n in range(8)]), uplinks=[an_uplink()]),
        Reason.NO_CLAT_ADDRESS,
    ),
    "backend-broken": (a_world(backends={"tun": "/dev/net/tun cannot be opened"}), Reason.NO_TRANSLATOR),
    "no-backend": (a_world(backends={}), Reason.NO_TRANSLATOR),
    "other-backend-asked-for": (a_world(settings=Settings(backend="ebpf")), Reason.NO_TRANSLATOR),
}


@pytest.mark.parametrize(("world", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_refusal_names_its_reason(world: World, reason: Reason) -> None:
    assert the_reason(world) is reason
    (verdict,) = decide(world, NOW)
    assert verdict.line().endswith(f" ret={reason}]")


def test_every_reason_is_reached() -> None:
    assert {reason for _, reason in REFUSALS.values()} == set(Reason)


def test_ipv6_only_uplink_with_a_prefix_is_wanted() -> None:
    assert the_reason(a_world()) is None


# Each world breaks all rules from one on; the first broken one must be the answer.
ALL_WRONG = an_uplink("clat-x", mode=Mode.NO, manager_clat="192.0.0.5")
ORDER: list[tuple[Uplink, Link | None, Reason]] = [
    (ALL_WRONG, None, Reason.NOT_AN_UPLINK),
    (an_uplink(mode=Mode.NO, manager_clat="192.0.0.5"), NATIVE, Reason.OPTED_OUT),
    (an_uplink(manager_clat="192.0.0.5"), NATIVE, Reason.MANAGER_TRANSLATES),
    (an_uplink(), a_link(ipv4=("192.168.2.7",), default4=(a_route4(),), ipv6=()), Reason.NATIVE_IPV4),
    (an_uplink(), a_link(ipv6=()), Reason.NO_IPV6),
    (an_uplink(), a_link(), Reason.NO_PREF64),
]


@pytest.mark.parametrize(("uplink", "link", "reason"), ORDER, ids=[str(row[2]) for row in ORDER])
def test_first_broken_rule_is_the_reason(uplink: Uplink, link: Link | None, reason: Reason) -> None:
    world = a_world(link or a_link(), uplinks=[uplink], prefixes={}, backends={}, retries={uplink.interface: FAILED})
    assert the_reason(world) is reason


@pytest.mark.parametrize("own", [None, *Mode])
@pytest.mark.parametrize("default", list(Mode))
def test_connection_mode_overrules_the_global_default(own: Mode | None, default: Mode) -> None:
    world = a_world(uplinks=[an_uplink(mode=own)], settings=Settings(mode=default))
    assert mode_of(world.uplinks[0], world) is (own if own is not None else default)
    (verdict,) = decide(world, NOW)
    assert verdict.mode is (own or default)
    assert verdict.evidence["mode"] == str(own or default)
    assert (verdict.reason is Reason.OPTED_OUT) == ((own or default) is Mode.NO)


NATIVE_CASES: dict[str, tuple[Link, bool]] = {
    "dhcp": (NATIVE, True),
    "nothing": (a_link(), False),
    "address-without-route": (a_link(ipv4=("192.168.2.7",)), False),
    "route-without-address": (a_link(default4=(a_route4(),)), False),
    "rfc3927-link-local": (a_link(ipv4=("169.254.7.7",), default4=(a_route4(gateway=None),)), False),
    "loopback": (a_link(ipv4=("127.0.0.9",), default4=(a_route4(),)), False),
    "rfc7335-nm-clat-address": (a_link(ipv4=("192.0.0.5",), default4=(a_route4(gateway=None),)), False),
    "rfc7335-last-of-29": (a_link(ipv4=("192.0.0.7",), default4=(a_route4(),)), False),
    "rfc7335-past-the-29": (a_link(ipv4=("192.0.0.8",), default4=(a_route4(),)), True),
    "rfc6598-cgn": (a_link(ipv4=("100.64.1.1",), default4=(a_route4(),)), True),
    "point-to-point-no-gateway": (a_link(ipv4=("10.1.2.3",), default4=(a_route4(gateway=None),)), True),
    "link-local-beside-native": (a_link(ipv4=("169.254.7.7", "10.0.0.2"), default4=(a_route4(),)), True),
    "clat-beside-native": (a_link(ipv4=("192.0.0.5", "10.0.0.2"), default4=(a_route4(),)), True),
}


@pytest.mark.parametrize(("link", "native"), NATIVE_CASES.values(), ids=NATIVE_CASES)
def test_native_ipv4_needs_a_real_address_and_a_default_route(link: Link, native: bool) -> None:
    assert has_native_ipv4(link) is native
    # Whoever translates on the link itself is asked about first: see test_others.py.
    translated = any(address in CONTINUITY_PREFIX for address in link.addresses4)
    assert translated or the_reason(a_world(link)) is (Reason.NATIVE_IPV4 if native else None)


def test_native_ipv4_whose_gateway_is_silent_does_not_count() -> None:
    # RFC 4436: a lease kept from another network
    stale = replace(a_world(NATIVE), dead_gateways={"wlan0": frozenset({IPv4Address("192.168.2.1")})})
    assert the_reason(stale) is None
    assert decide(stale, NOW)[0].evidence["ipv4"] == "stale"
    elsewhere = replace(stale, dead_gateways={"eth0": frozenset({IPv4Address("192.168.2.1")})})
    assert the_reason(elsewhere) is Reason.NATIVE_IPV4


def test_native_ipv4_with_one_living_gateway_counts() -> None:
    link = a_link(ipv4=("192.168.2.7",), default4=(a_route4(), a_route4(gateway="192.168.3.1", metric=600)))
    one_dead = replace(a_world(link), dead_gateways={"wlan0": frozenset({IPv4Address("192.168.2.1")})})
    assert the_reason(one_dead) is Reason.NATIVE_IPV4


def test_native_ipv4_that_nothing_can_come_before_counts_even_with_a_silent_gateway() -> None:
    link = a_link(ipv4=("192.168.2.7",), default4=(a_route4(metric=0),))
    dead = replace(a_world(link), dead_gateways={"wlan0": frozenset({IPv4Address("192.168.2.1")})})
    assert the_reason(dead) is Reason.NATIVE_IPV4


def test_native_ipv4_on_another_uplink_does_not_count() -> None:
    other = a_link("eth0", index=3, ipv4=("192.168.2.7",), default4=(a_route4(),))
    by_name = {verdict.uplink.interface: verdict.reason for verdict in decide(a_world(a_link(), other), NOW)}
    assert by_name == {"eth0": Reason.NATIVE_IPV4, "wlan0": None}


def test_force_overrules_native_ipv4() -> None:
    assert the_reason(a_world(NATIVE, uplinks=[an_uplink(mode=Mode.FORCE)])) is None
    assert the_reason(a_world(NATIVE, settings=Settings(mode=Mode.FORCE))) is None


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (a_world(uplinks=[an_uplink(mode=Mode.FORCE, manager_clat="192.0.0.5")]), Reason.MANAGER_TRANSLATES),
        (a_world(uplinks=[an_uplink(is_vpn=True)], settings=Settings(mode=Mode.FORCE)), Reason.NOT_AN_UPLINK),
        (a_world(a_link(ipv6=()), uplinks=[an_uplink(mode=Mode.FORCE)]), Reason.NO_IPV6),
        (a_world(uplinks=[an_uplink(mode=Mode.FORCE)], prefixes={}), Reason.NO_PREF64),
    ],
)
def test_force_overrules_nothing_else(world: World, reason: Reason) -> None:
    assert the_reason(world) is reason


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(an_address("2001:db8:a::5/64", tentative=True), id="rfc4862-tentative"),
        pytest.param(an_address("2001:db8:a::5/64", deprecated=True), id="rfc4862-deprecated"),
        pytest.param(an_address("2001:db8:a::5/128"), id="dhcpv6"),
        pytest.param(an_address("fd00:1::5/64"), id="rfc4193-ula"),
    ],
)
def test_any_non_link_local_address_counts_as_ipv6(address: object) -> None:
    world = a_world(a_link(ipv6=("fe80::5/64", address)))  # type: ignore[arg-type]
    assert requires_clat(case(world.uplinks[0], None, world, NOW)) is None


def test_requires_clat_does_not_ask_for_a_prefix_or_for_patience() -> None:
    world = a_world(prefixes={}, retries={"wlan0": FAILED})
    this = case(world.uplinks[0], None, world, NOW)
    assert requires_clat(this) is None
    assert should_start_clat(this) is Reason.NO_PREF64


def test_manager_that_translates_nothing_has_the_right_of_way_for_a_time_only() -> None:
    world = a_world(uplinks=[replace(an_uplink(), manager_wait_s=1.0)])
    world = replace(world, told_since={"wlan0": NOW})
    assert decide(world, NOW)[0].evidence["manager-clat"] == "expected"
    assert the_reason(world, now=NOW + 0.999) is Reason.MANAGER_TRANSLATES
    assert wake_at(world, NOW) == NOW + 1
    assert the_reason(world, now=NOW + 1) is None
    without_prefix = replace(world, prefixes={}, told_since={})
    assert the_reason(without_prefix) is Reason.NO_PREF64


def test_back_off_ends_on_time() -> None:
    world = a_world(retries={"wlan0": FAILED})
    assert the_reason(world, now=FAILED.not_before - 0.001) is Reason.BACKING_OFF
    assert the_reason(world, now=FAILED.not_before) is None


EVIDENCE: dict[str, tuple[World, str]] = {
    "wanted": (a_world(), "[mode=auto ipv4=none ipv6=yes pref64=64:ff9b::/96 from=ra left=1800s ret=wanted]"),
    "never-expires": (
        a_world(prefixes={"wlan0": (a_candidate(expires_at=None),)}),
        "[mode=auto ipv4=none ipv6=yes pref64=64:ff9b::/96 from=ra ret=wanted]",
    ),
    "native": (a_world(NATIVE, prefixes={}), "[mode=auto ipv4=native ipv6=yes pref64=none ret=native-ipv4]"),
    "unplugged": (
        a_world(a_link(carrier=False), prefixes={}),
        "[mode=auto ipv4=none ipv6=no pref64=none carrier=no ret=no-ipv6]",
    ),
    "nm-clat": (
        a_world(uplinks=[an_uplink(mode=Mode.FORCE, manager_clat="192.0.0.5")], prefixes={}),
        "[mode=force ipv4=none ipv6=yes pref64=none manager-clat=192.0.0.5 ret=manager-translates]",
    ),
    "failed": (
        a_world(retries={"wlan0": FAILED}, prefixes={"wlan0": (a_candidate(expires_at=NOW + 0.6),)}),
        "[mode=auto ipv4=none ipv6=yes pref64=64:ff9b::/96 from=ra left=1s failures=2 ret=backing-off]",
    ),
}


@pytest.mark.parametrize(("world", "line"), EVIDENCE.values(), ids=EVIDENCE)
def test_evidence_is_one_line_of_what_was_looked_at(world: World, line: str) -> None:
    (verdict,) = decide(world, NOW)
    assert verdict.line() == line


def test_evidence_never_shows_a_negative_lifetime() -> None:
    world = a_world(prefixes={"wlan0": (a_candidate(expires_at=NOW - 5),)})
    (verdict,) = decide(world, NOW)
    assert verdict.evidence["left"] == "0s"
