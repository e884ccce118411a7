# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans of Edge Relays: what they carry, and which addresses the translator itself speaks with."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from clatnm.model import Choices, Link, Mode, Plan, PrefixCandidate, PrefixSource, Relay, Settings
from clatnm.proto.eam import EamTable
from tests.unit.policy.worlds import OWN_PREFIX, a_link, a_world, an_uplink, run_all, the_plan

NOBODY = IPv4Address("192.0.0.8")
LAN = IPv6Network("2001:db8:a::/64")
ON_LINK = EamTable([(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:a::100/120"))])
ROUTED = EamTable([(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:77::/120"))])
SERVICE = IPv4Address("192.0.2.7")


def plan_for(relay: Relay, link: Link | None = None, **choices: object) -> Plan:
    link = link or a_link()
    uplink = replace(an_uplink(link.name), choices=Choices(relay=relay, **choices))  # type: ignore[arg-type]
    candidate = PrefixCandidate(prefix=OWN_PREFIX, source=PrefixSource.STATIC)
    world = a_world(
        link,
        uplinks=[uplink],
        prefixes={link.name: (candidate,)},
        settings=Settings(mode=Mode.FORCE),
        backends={"tun": ""},
    )
    plan = the_plan(world)
    assert the_plan(replace(world, running=run_all(plan))) == plan  # nothing flaps
    return plan


@pytest.mark.parametrize("table", [ON_LINK, ROUTED], ids=["on-link", "routed"])
@pytest.mark.parametrize("addresses", [(), (SERVICE,)], ids=["router", "host"])
def test_plan_has_the_relay_and_reports_as_nobody(table: EamTable, addresses: tuple[IPv4Address, ...]) -> None:
    """RFC 7600: 192.0.0.8 stands for a router without an IPv4 address."""
    relay = Relay(mappings=table, addresses=addresses)
    plan = plan_for(relay)
    assert (plan.relay, plan.clat_v4, plan.shared) == (relay, NOBODY, False)


def test_it_speaks_with_its_own_mapped_address_where_that_is_of_the_link() -> None:
    assert plan_for(Relay(mappings=ON_LINK, addresses=(SERVICE,))).clat_v6 == IPv6Address("2001:db8:a::107")


@pytest.mark.parametrize(
    "relay",
    [
        pytest.param(Relay(mappings=ROUTED, addresses=(SERVICE,)), id="routed"),
        pytest.param(Relay(mappings=ON_LINK), id="router-for-others"),
    ],
)
def test_else_with_one_made_for_it_which_all_neighbours_answer(relay: Relay) -> None:
    plan = plan_for(relay)
    assert plan.clat_v6 in LAN
    assert relay.mappings.to_ipv4(plan.clat_v6) is None
    assert plan.clat_v6 not in {own.address for own in a_link().addresses6}


@pytest.mark.parametrize(
    ("relay", "speaker"),
    [
        pytest.param(Relay(mappings=ROUTED, addresses=(SERVICE,)), "2001:db8:77::7", id="host"),
        pytest.param(Relay(mappings=ROUTED), "2001:db8:77::", id="router-for-others"),
    ],
)
def test_on_a_link_without_a_64_with_a_mapped_one(relay: Relay, speaker: str) -> None:
    """Never with the host's own, which is not the translator's to answer for."""
    link = a_link("wwan0", ipv6=("2001:db8:a::5/128",), link_address=None)
    assert plan_for(relay, link).clat_v6 == IPv6Address(speaker)


def test_whoever_knows_better_chooses_both() -> None:
    four, six = IPv4Address("198.51.100.9"), IPv6Address("2001:db8:a::99")
    plan = plan_for(Relay(mappings=ROUTED), clat_v4=four, clat_v6=six)
    assert (plan.clat_v4, plan.clat_v6) == (four, six)


def test_other_mappings_are_an_update_and_other_addresses_another_translator() -> None:
    plan = plan_for(Relay(mappings=ON_LINK, addresses=(SERVICE,)))
    assert plan.relay is not None
    assert plan.same_translator(replace(plan, relay=replace(plan.relay, mappings=ROUTED)))
    assert not plan.same_translator(replace(plan, relay=replace(plan.relay, addresses=())))
    assert not plan.same_translator(replace(plan, relay=replace(plan.relay, routes=(IPv4Network("10.0.0.0/8"),))))
    assert not plan.same_translator(replace(plan, relay=None))
