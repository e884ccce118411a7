# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's translators: which there are, for whom they count, and what becomes of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.model import Link, Mode, Reason, Running, RunState, Settings, World
from clatnm.policy.plan import decide
from clatnm.policy.steps import wake_at
from tests.unit.policy.worlds import NOW, a_link, a_route4, a_world, an_uplink, run_all, the_plan, the_reason

VIA_IPV6 = (a_route4(gateway=None),)


def a_translator(name: str = "clat", address: str = "192.0.0.1", *, metric: int | None = 2048) -> Link:
    routes = () if metric is None else (a_route4(metric=metric, gateway=None),)
    return a_link(name, index=9, ipv6=("fe80::9/64",), ipv4=(address,), default4=routes, default6=(), link_address=None)


def beside(device: Link, *, mode: Mode | None = None) -> World:
    return a_world(a_link(), device, uplinks=[an_uplink(mode=mode)])


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.FORCE])
@pytest.mark.parametrize("name", ["clat", "cl-wlan0", "v4-rmnet0", "464xlat", "ds-lite"])
def test_other_translator_is_named_whatever_its_device_is_called(name: str, mode: Mode) -> None:
    (verdict,) = decide(beside(a_translator(name), mode=mode), NOW)
    assert verdict.reason is Reason.OTHER_TRANSLATOR
    assert verdict.evidence["other-translator"] == f"{name}/192.0.0.1"


@pytest.mark.parametrize(
    "device",
    [
        pytest.param(a_translator(metric=None), id="no-default-route"),
        pytest.param(a_translator(address="192.0.0.8"), id="rfc7600-not-of-the-29"),
        pytest.param(a_translator("clat-eth9"), id="clatnm-by-hand"),
    ],
)
def test_what_is_no_translator_or_not_in_use_is_none(device: Link) -> None:
    assert the_reason(beside(device)) is None


def test_it_counts_for_every_connection_also_if_a_manager_lists_its_device() -> None:
    world = a_world(a_link(), a_link("eth0", index=3), a_translator())
    assert {v.reason for v in decide(world, NOW)} == {Reason.OTHER_TRANSLATOR}


def test_the_one_with_the_best_route_is_named() -> None:
    world = a_world(a_link(), a_translator(), a_translator("tun9", "192.0.0.2", metric=50), uplinks=[an_uplink()])
    assert decide(world, NOW)[0].evidence["other-translator"] == "tun9/192.0.0.2"


def test_managers_clat_of_another_connection_is_that_ones_alone() -> None:
    native = a_link("eth0", index=3, ipv4=("192.0.0.5",), default4=VIA_IPV6)
    wlan, eth = a_link(), native
    reasons = {v.uplink.interface: v.reason for v in decide(a_world(wlan, eth), NOW)}
    assert reasons == {"eth0": Reason.MANAGER_TRANSLATES, "wlan0": None}
    unplugged = replace(native, default6=(), carrier=False)
    assert decide(a_world(wlan, unplugged, uplinks=[an_uplink(), an_uplink("eth0")]), NOW)[1].reason is None


ON_THE_UPLINK = {
    "nm-address-before-its-route": (("192.0.0.5",), (), Reason.MANAGER_TRANSLATES),
    "nm": (("192.0.0.5",), VIA_IPV6, Reason.MANAGER_TRANSLATES),
    "nm-forced-beside-native": (("192.0.0.5", "10.0.0.2"), (a_route4(), *VIA_IPV6), Reason.MANAGER_TRANSLATES),
    "nm-until-a-lease-has-come": (("192.0.0.5", "10.0.0.2"), (a_route4(),), Reason.MANAGER_TRANSLATES),
    "guest-of-a-phone": (("192.0.0.2",), (a_route4(gateway="192.0.0.1"),), Reason.OTHER_TRANSLATOR),
}


@pytest.mark.parametrize(("ipv4", "routes", "reason"), ON_THE_UPLINK.values(), ids=ON_THE_UPLINK)
def test_address_on_the_uplink_itself_is_the_managers_or_the_networks(
    ipv4: tuple[str, ...], routes: tuple[object, ...], reason: Reason
) -> None:
    link = a_link(ipv4=ipv4, default4=routes)  # type: ignore[arg-type]
    assert the_reason(a_world(link)) is reason
    (verdict,) = decide(a_world(link), NOW)
    named = verdict.evidence.get("manager-clat") or verdict.evidence["other-translator"]
    assert named == (ipv4[0] if reason is Reason.MANAGER_TRANSLATES else f"wlan0/{ipv4[0]}")


def test_ours_drains_when_another_comes_and_has_its_route_back_when_that_goes() -> None:
    plan = the_plan(a_world())
    (verdict,) = decide(replace(beside(a_translator()), running=run_all(plan)), NOW)
    assert (verdict.plan, verdict.keep) == (None, (replace(plan, offered=False),))
    withdrawn = {plan.key: Running(plan=verdict.keep[0], state=RunState.ON, withdrawn_at=NOW)}
    assert the_plan(replace(a_world(), running=withdrawn), now=NOW + 1) == plan
    kept = decide(replace(beside(a_translator()), running=withdrawn), NOW + 11)[0].keep
    assert kept == (), "nobody uses it"


def test_ours_ends_at_once_when_the_manager_translates() -> None:
    plan = the_plan(a_world())
    with_native = a_world(a_link(ipv4=("192.0.0.5",)), running=run_all(plan))
    assert decide(with_native, NOW)[0].keep == ()


def test_old_connections_go_on_while_the_manager_has_the_right_of_way() -> None:
    plan = the_plan(a_world())
    uplink = replace(an_uplink(), manager_wait_s=1.0)
    world = replace(a_world(uplinks=[uplink], running=run_all(plan)), told_since={"wlan0": NOW})
    (verdict,) = decide(world, NOW)
    assert (verdict.reason, verdict.keep) == (Reason.MANAGER_TRANSLATES, (replace(plan, offered=False),))
    assert wake_at(world, NOW) == NOW + 1
    assert the_plan(world, now=NOW + 1) == plan
    ended_with_drains = replace(world, settings=Settings(drain_s=0))
    assert decide(ended_with_drains, NOW)[0].keep == ()


def test_no_new_connections_while_ipv6_is_away_with_which_the_manager_may_come_back() -> None:
    plan = the_plan(a_world())
    uplink = replace(an_uplink(), manager_wait_s=0.3)
    away = replace(
        a_world(a_link(ipv6=("fe80::5/64",)), uplinks=[uplink], running=run_all(plan)),
        without_ipv6_since={"wlan0": NOW},
    )
    (verdict,) = decide(away, NOW)
    assert (verdict.reason, verdict.keep) == (Reason.NO_IPV6, (replace(plan, offered=False),))
    (older,) = decide(replace(away, uplinks=(an_uplink(),)), NOW)
    assert older.keep == (plan,), "a manager that cannot translate"
