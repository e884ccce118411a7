# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection as the bus has it: word for word, and only what stays the same while nothing happens."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm import status
from clatnm.dbus.properties import PROPERTIES, values
from clatnm.model import Retry, Running, RunState, World
from clatnm.policy.plan import decide
from tests.unit.policy.test_static_rules import SOME, a_static, with_static
from tests.unit.policy.worlds import NOW, UUID, a_candidate, a_link, a_route4, a_world, the_plan

PLAN = replace(the_plan(a_world()), clat_v4=IPv4Address("192.0.0.4"), clat_v6=IPv6Address("2001:db8:a::c1a7"))
ON = Running(plan=PLAN, state=RunState.ON)
NATIVE = a_world(a_link(ipv4=("192.168.2.7",), default4=(a_route4(),)), prefixes={})
FAILED = Retry(failures=3, error="it ended with signal 9", not_before=NOW + 2)
PYTHON_TYPES = {"s": str, "b": bool, "u": int, "as": list, "a{ss}": dict}


def told(world: World, run: Running | None = None, retry: Retry | None = None, *, now: float = NOW) -> dict[str, Any]:
    (verdict,) = decide(world, now)
    return status.connection(verdict, run, retry, counters={"ipv4_to_ipv6": {}}, now=now)


def test_running_connection_has_every_property() -> None:
    assert values(told(a_world(), ON)) == {
        "Interface": "wlan0",
        "Name": "Net of wlan0",
        "Uuid": UUID,
        "Manager": "NetworkManager",
        "Static": False,
        "Mode": "auto",
        "State": "on",
        "Reason": "",
        "Explanation": "",
        "Evidence": {"mode": "auto", "ipv4": "none", "ipv6": "yes", "pref64": "64:ff9b::/96", "from": "ra"},
        "Failures": 0,
        "Error": "",
        "Prefix": "64:ff9b::/96",
        "PrefixSource": "ra",
        "PrefixRouter": "fe80::1",
        "Device": "clat-wlan0",
        "Backend": "tun",
        "ClatV4": "192.0.0.4",
        "ClatV6": "2001:db8:a::c1a7",
        "Shared": False,
        "Gateway": "fe80::1",
        "Ipv4Mtu": 1472,
        "Ipv6Mtu": 1500,
        "DefaultRoute": True,
        "Metric": 150,
        "Mappings": 0,
        "Addresses": [],
        "Routes": [],
    }


def test_refused_connection_has_a_reason_and_no_translator() -> None:
    shown = values(told(NATIVE))
    assert (shown["State"], shown["Reason"]) == ("off", "native-ipv4")
    assert shown["Explanation"] == "the connection has native IPv4"
    empty = ("Device", "Backend", "ClatV4", "ClatV6", "Gateway", "Prefix", "PrefixSource", "PrefixRouter", "Error")
    assert {shown[name] for name in empty} == {""}
    assert (shown["Ipv4Mtu"], shown["Metric"], shown["DefaultRoute"]) == (0, 0, False)


def test_failure_is_told() -> None:
    shown = values(told(a_world(retries={"wlan0": FAILED}), None, FAILED))
    assert (shown["Reason"], shown["Failures"], shown["Error"]) == ("backing-off", 3, FAILED.error)


def test_drain_has_no_default_route() -> None:
    draining = replace(ON, plan=replace(PLAN, offered=False))
    shown = values(told(NATIVE, draining))
    assert (shown["State"], shown["DefaultRoute"], shown["Device"]) == ("draining", False, "clat-wlan0")


def test_edge_relay_tells_what_it_serves() -> None:
    world = with_static(a_static(relay=SOME))
    (verdict,) = decide(world, NOW)
    assert verdict.plan is not None
    shown = values(told(world, Running(plan=verdict.plan, state=RunState.ON)))
    assert (shown["Static"], shown["Mode"], shown["Mappings"]) == (True, "", 1)
    assert (shown["Addresses"], shown["Routes"]) == (["192.0.2.1"], ["203.0.113.0/24"])
    assert shown["Name"] in shown["Uuid"]


@pytest.mark.parametrize(
    ("world", "run"), [(a_world(), ON), (a_world(), None), (NATIVE, None)], ids=["on", "starting", "native"]
)
def test_value_has_the_type_that_is_declared(world: World, run: Running | None) -> None:
    shown = values(told(world, run))
    assert list(shown) == [row.name for row in PROPERTIES]
    for row in PROPERTIES:
        assert type(shown[row.name]) is PYTHON_TYPES[row.signature], row.name


def test_time_alone_changes_nothing() -> None:
    world = a_world(prefixes={"wlan0": (a_candidate(expires_at=NOW + 1800),)})
    assert values(told(world, ON)) == values(told(world, ON, now=NOW + 600))


def test_advertisement_that_repeats_the_prefix_changes_nothing() -> None:
    before, after = (a_world(prefixes={"wlan0": (a_candidate(expires_at=NOW + left),)}) for left in (900, 1800))
    assert values(told(before, ON)) == values(told(after, ON))


@pytest.mark.parametrize("name", ["Caf\0é", "lone \ud800 surrogate", "\N{SNOWMAN}", "", "x" * 5000])
def test_name_from_elsewhere_fits_into_a_message(name: str) -> None:
    shown = values({**told(a_world()), "name": name})
    assert "\0" not in shown["Name"]
    assert shown["Name"].encode("utf-8").decode("utf-8") == shown["Name"]
    assert len(shown["Name"]) == len(name)
