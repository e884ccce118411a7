# SPDX-License-Identifier: GPL-2.0-or-later
"""Worlds as lines of JSON, and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import trace
from clatnm.errors import ParseError
from clatnm.model import (
    AddressKind,
    Choices,
    Dhcp4,
    Dhcp4State,
    PlatHealth,
    PlatState,
    PrefixSource,
    Relay,
    Retry,
    RunState,
    Settings,
    SourceReport,
    Static,
    Ways,
    World,
)
from clatnm.policy.plan import decide
from clatnm.proto.eam import EamTable
from tests.unit.policy.test_plan_properties import worlds
from tests.unit.policy.worlds import NOW, SECRET, WELL_KNOWN, a_link, a_route4, a_world, an_uplink, run_all, the_plan

RELAY = Relay(
    mappings=EamTable(
        [
            (IPv4Network("192.0.2.1"), IPv6Network("2001:db8::1")),
            (IPv4Network("192.0.2.16/28"), IPv6Network("2001:db8:1::/124")),
        ]
    ),
    addresses=(IPv4Address("192.0.2.1"),),
)
FULL = replace(
    a_world(
        a_link("wlan 0", ipv4=("192.168.2.7",), default4=(a_route4(),)), a_link("ppp0", index=3, link_address=None)
    ),
    reports={"ppp0": (SourceReport(source=PrefixSource.DNS64, settled=True, detail="“no”", since=1.5),)},
    told_since={"ppp0": 1.0},
    ways=Ways(ipv6="ppp0"),
    without_ipv6_since={"ppp0": 2.0},
    advertised_mtus={"ppp0": 1400},
    advertised_prefixes={"ppp0": frozenset({IPv6Network("2001:db8:a::/64")})},
    dead_gateways={"ppp0": frozenset({IPv4Address("192.168.2.1")})},
    dhcp4={"ppp0": Dhcp4(state=Dhcp4State.REFUSED, since=1.0, until=301.0)},
    plats={("wlan 0", WELL_KNOWN): PlatHealth(state=PlatState.ALIVE, since=3.0)},
    users={IPv4Address("192.0.0.4"): 3},
    running=run_all(the_plan(a_world()), state=RunState.STARTING),
    retries={"ppp0": Retry(failures=1, error="no", not_before=4.0, refused=frozenset({"tun"}))},
    settings=Settings(
        dns64_servers=(IPv6Address("fe80::1"), IPv4Address("192.0.2.1")),
        written=frozenset({"dns64_servers"}),
        connections={
            "x": Settings(drain_s=0, clat_v6=AddressKind.SHARED),
            "y": Settings(clat_v6=IPv6Address("2001:db8::5")),
        },
        statics=(Static(name="web", uplink="ppp0", prefix=WELL_KNOWN, choices=Choices(relay=RELAY)),),
    ),
    sharing_backends=frozenset({"ebpf"}),
)


def there_and_back(world: World, at: float = NOW) -> tuple[float, World]:
    (found,) = trace.parse([trace.line(world, at)])
    return found


def test_example_has_every_field_of_a_world() -> None:
    empty = World()
    same = {field.name for field in fields(World) if getattr(FULL, field.name) == getattr(empty, field.name)}
    assert same == set(), "or the round trip below does not cover it"


def test_world_comes_back_as_it_was() -> None:
    assert there_and_back(FULL, 12.3456) == (12.346, replace(FULL, secret=b""))


@given(worlds())
def test_any_world_comes_back_and_is_decided_alike(world: World) -> None:
    at, again = there_and_back(world)
    assert again == replace(world, secret=b"")
    assert decide(again, at) == decide(replace(world, secret=b""), at)


def test_secret_is_in_no_trace() -> None:
    text = trace.line(a_world(uplinks=[an_uplink()]), NOW)
    assert SECRET.hex() not in text
    assert "secret" not in text


BROKEN = {
    "no-json": "{",
    "no-object": "[]",
    "no-time": '{"world": {}}',
    "no-world": '{"at": 1}',
    "unknown-field": '{"at": 1, "world": {"weather": "fine"}}',
    "wrong-type": '{"at": 1, "world": {"links": []}}',
    "no-address": '{"at": 1, "world": {"dead_gateways": {"eth0": ["one"]}}}',
    "missing-field": '{"at": 1, "world": {"links": {"eth0": {"name": "eth0"}}}}',
    "key": '{"at": 1, "world": {"plats": {"eth0": {"state": "dead", "since": 1}}}}',
    "deep": "[" * 100_000,
    "no-moment": '{"at": NaN, "world": {}}',
    "never": '{"at": 1e999, "world": {}}',
    "large-time": '{"at": 1%s, "world": {}}' % ("0" * 400),
    "large-number": '{"at": 1, "world": {"settings": {"drain_s": 1%s}}}' % ("0" * 400),
    "no-text": '{"at": 1, "world": {"backends": {"tun": "\\ud800"}}}',
    "no-flag": '{"at": 1, "world": {"settings": {"dns64": "no"}}}',
    "text-as-time": '{"at": "inf", "world": {}}',
    "mapping": trace.line(FULL, NOW).replace("192.0.2.1/32 ", "192.0.2.300 "),
    "mapping-with-one-side": trace.line(FULL, NOW).replace("192.0.2.1/32 ", ""),
    "two-static-translators-of-one-name": trace.line(
        replace(FULL, settings=Settings(statics=(*FULL.settings.statics, *FULL.settings.statics))), NOW
    ),
    "two-connections-on-one-interface": trace.line(
        replace(a_world(), uplinks=(an_uplink(), an_uplink(uuid="another"))), NOW
    ),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_line_that_is_no_world_is_named(text: str) -> None:
    good = trace.line(a_world(), NOW)
    with pytest.raises(ParseError, match=r"^line 3 is not of a trace: ."):
        list(trace.parse([good, "", text]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda t: (
            st.lists(t)
            | st.dictionaries(st.sampled_from(["at", "world", "links", "running", "settings"]) | st.text(), t)
        ),
    )
)
def test_any_json_is_a_world_or_a_parse_error(value: object) -> None:
    for text in (json.dumps(value), json.dumps({"at": 1, "world": value})):
        try:
            list(trace.parse([text]))
        except ParseError as error:
            assert "\n" not in str(error)
