# SPDX-License-Identifier: GPL-2.0-or-later
"""The right moment: whole stories on a simulated clock. Each says what a user would notice, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from clatnm.model import Reason
from clatnm.policy.drain import HOLD_S, LINGER_S
from clatnm.proto.ndp import Preference
from tests.unit.policy.story import NAME, Story
from tests.unit.policy.worlds import OWN_PREFIX, WELL_KNOWN, a_link, an_address

THIRD = IPv6Network("2001:db8:64:ff::/96")
ON, OTHER = f"clat {WELL_KNOWN}", f"clat {OWN_PREFIX}"
DRAINS = f"{WELL_KNOWN} drains"

Told = list[tuple[float, str]]


def settings(story: Story, **fields: object) -> None:
    story.facts = replace(story.facts, settings=replace(story.facts.settings, **fields))  # type: ignore[arg-type]


# DHCPv4 and the router, in any order


@pytest.mark.parametrize("lease", [3, 12, 60])
def test_native_ipv4_after_the_router_takes_over_and_the_translator_lingers(lease: float) -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(lease, story.lease)
    story.at(lease + 100)
    assert story.told == [(0, ON), (lease, f"native-ipv4; {DRAINS}"), (lease + LINGER_S, "native-ipv4")]
    assert (story.starts, story.stops) == (1, 1)


def test_lease_with_the_router_means_no_translator() -> None:
    story = Story()
    story.at(0, story.lease, lambda: story.ra(WELL_KNOWN))
    story.at(100)
    assert story.told == [(0, "native-ipv4")]
    assert story.starts == 0


def test_router_after_the_lease_changes_nothing() -> None:
    story = Story()
    story.at(0, story.lease)
    story.at(5, lambda: story.ra(WELL_KNOWN))
    assert story.told == [(0, "native-ipv4")]


def test_translator_comes_with_the_router_when_no_lease_ever_does() -> None:
    story = Story()
    story.at(0)
    story.at(2.5, lambda: story.ra(WELL_KNOWN))
    story.at(590, lambda: story.ra(WELL_KNOWN))
    assert story.told == [(0, "no-pref64"), (2.5, ON)]


def test_option_108_starts_at_once_and_says_why() -> None:
    story = Story()
    story.at(0, story.refused, lambda: story.ra(WELL_KNOWN))
    assert story.told == [(0, ON)]
    assert story.verdicts()[0].evidence["ipv4"] == "ipv6-only"


def test_ipv4_disabled_starts_at_once_and_says_why() -> None:
    story = Story()
    story.facts = replace(story.facts, uplinks=(replace(story.facts.uplinks[0], ipv4_disabled=True),))
    story.at(0, lambda: story.ra(WELL_KNOWN))
    assert story.told == [(0, ON)]
    assert story.verdicts()[0].evidence["ipv4"] == "disabled"


def test_native_ipv4_that_goes_brings_the_translator_back_at_once() -> None:
    story = Story()
    story.at(0, story.lease, lambda: story.ra(WELL_KNOWN))
    story.at(300, story.no_lease)
    assert story.told == [(0, "native-ipv4"), (300, ON)]


def test_native_ipv4_that_flaps_each_second_for_a_minute_costs_no_start() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    for second in range(1, 61):
        story.at(second, story.lease if second % 2 else story.no_lease)
    assert (story.starts, story.stops) == (1, 0)
    assert story.told[-1] == (60, ON)


# Draining


def test_connections_keep_the_translator_until_they_end() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN, lifetime_s=7200))
    story.at(1, story.lease, lambda: story.users(2))
    story.at(500, lambda: story.users(0))
    story.at(600)
    assert story.told == [(0, ON), (1, f"native-ipv4; {DRAINS}"), (500, "native-ipv4")]


def test_drain_has_an_end_though_connections_go_on() -> None:
    story = Story()
    settings(story, drain_s=120)
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, story.lease, lambda: story.users(2))
    story.at(500)
    assert story.told[-2:] == [(10, f"native-ipv4; {DRAINS}"), (130, "native-ipv4")]


def test_drain_of_0_seconds_is_none() -> None:
    story = Story()
    settings(story, drain_s=0)
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, story.lease, lambda: story.users(2))
    assert story.told[-1] == (10, "native-ipv4")


def test_drain_ends_with_its_prefix() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN, lifetime_s=64))
    story.at(10, story.lease, lambda: story.users(2))
    story.at(100)
    assert story.told[-1] == (64, "native-ipv4")


# IPv6 that goes


def test_ipv6_that_comes_back_in_time_was_never_missed() -> None:
    # nmcli device reapply: NetworkManager takes addresses and routes away and puts them back
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    before = story.only()
    story.at(10, story.no_route)
    assert story.only() == before
    story.at(11.5, story.route)
    assert story.told == [(0, ON)]
    assert (story.starts, story.stops) == (1, 0)


def test_ipv6_that_stays_away_ends_it() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, story.no_route)
    story.at(30)
    assert story.told == [(0, ON), (10 + HOLD_S, "no-ipv6")]


def test_drain_outlives_a_moment_without_ipv6() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, story.lease, story.no_route, lambda: story.users(1))
    story.at(11, story.route)
    story.at(60)
    assert story.told == [(0, ON), (10, f"native-ipv4; {DRAINS}")]


def test_carrier_that_goes_ends_it_at_once() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, story.unplug)
    assert story.told == [(0, ON), (10, "no-ipv6")]


# Routers


def test_silent_router_counts_until_its_prefix_expires() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN, lifetime_s=64))
    story.at(100)
    assert story.told == [(0, ON), (64, "no-pref64")]


@pytest.mark.parametrize(
    "last_word",
    [
        pytest.param({"lifetime_s": 0}, id="rfc8781-4-lifetime-0"),
        pytest.param({"router_lifetime_s": 0}, id="rfc4861-router-lifetime-0"),
    ],
)
def test_prefix_that_is_withdrawn_ends_at_once(last_word: dict[str, int]) -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, lambda: story.ra(WELL_KNOWN, **last_word))  # type: ignore[arg-type]
    assert story.told == [(0, ON), (10, "no-pref64")]


def test_prefix_withdrawn_for_another_changes_in_place() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, lambda: story.ra(WELL_KNOWN, lifetime_s=0), lambda: story.ra(OWN_PREFIX))
    assert story.told == [(0, ON), (10, OTHER)]
    assert (story.starts, story.stops) == (1, 0)


@pytest.mark.parametrize("preference", list(Preference))
def test_second_router_changes_nothing_while_the_first_prefix_is_valid(preference: Preference) -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, lambda: story.ra(OWN_PREFIX, router="fe80::2", preference=preference))
    story.at(500)
    assert story.told == [(0, ON)]
    story.at(700)
    assert story.told[1:] == [] or story.told[-1][1] == "no-pref64"


def test_first_of_several_is_that_of_the_preferred_router() -> None:
    story = Story()
    story.at(
        0, lambda: story.ra(WELL_KNOWN), lambda: story.ra(OWN_PREFIX, router="fe80::2", preference=Preference.HIGH)
    )
    assert story.told == [(0, OTHER)]


def test_prefix_that_its_router_replaces_goes_on_for_old_connections() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, lambda: story.ra(OWN_PREFIX))
    assert story.state() == ON, "one advertisement may have been a part of what it says"
    story.at(20, lambda: story.ra(OWN_PREFIX), lambda: story.users(1))
    assert story.told[-1] == (20, f"{OTHER}; {DRAINS}")
    assert story.only_device(OWN_PREFIX) == f"clat-{NAME}"
    story.at(590, lambda: story.ra(OWN_PREFIX))
    story.at(700)
    assert story.told[-1] == (600, OTHER), "the old prefix has expired"
    assert (story.starts, story.stops) == (2, 1)


def test_change_of_mind_ends_where_it_began() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    for second in (10, 20):
        story.at(second, lambda: story.ra(OWN_PREFIX))
    story.at(21, lambda: story.ra(WELL_KNOWN), lambda: story.ra(WELL_KNOWN), lambda: story.users(0))
    story.at(590, lambda: story.ra(WELL_KNOWN))
    story.at(1100)
    assert story.state() == ON
    assert len(story.running) == 1


def test_old_prefix_that_is_told_again_does_not_win_its_connections_back() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    for second in (10, 20):
        story.at(second, lambda: story.ra(OWN_PREFIX))
    story.at(21, lambda: story.users(1))
    story.at(30, lambda: story.ra(WELL_KNOWN, OWN_PREFIX))
    story.at(500)
    assert story.told == [(0, ON), (20, f"{OTHER}; {DRAINS}")]


# DNS64


def test_dns64_alone_is_enough() -> None:
    story = Story()
    story.dns_settled = False
    story.at(0, story.ra)
    story.at(0.2, lambda: story.dns64(WELL_KNOWN))
    assert story.told == [(0, "no-pref64"), (0.2, ON)]


def test_router_is_believed_rather_than_dns() -> None:
    story = Story()
    story.at(0, lambda: story.dns64(WELL_KNOWN), lambda: story.ra(OWN_PREFIX))
    assert story.told == [(0, OTHER)]


def test_router_that_disagrees_with_dns_gets_new_connections() -> None:
    story = Story()
    story.at(0, lambda: story.dns64(WELL_KNOWN))
    story.at(10, lambda: story.ra(OWN_PREFIX), lambda: story.users(1))
    assert story.told == [(0, ON), (10, f"{OTHER}; {DRAINS}")]


def test_same_prefix_from_another_source_restarts_nothing() -> None:
    story = Story()
    story.at(0, lambda: story.dns64(WELL_KNOWN))
    before = story.only()
    story.at(10, lambda: story.ra(WELL_KNOWN))
    story.at(100)
    assert story.told == [(0, ON)]
    assert story.only() == before


def test_router_that_withdraws_leaves_it_to_dns() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, lambda: story.dns64(WELL_KNOWN, ttl_s=600), lambda: story.ra(WELL_KNOWN, lifetime_s=0))
    assert story.told == [(0, ON)]
    assert story.starts == 1


def test_resolver_that_changes_its_mind_is_followed() -> None:
    story = Story()
    story.at(0, lambda: story.dns64(WELL_KNOWN))
    story.at(10, lambda: story.dns64(OWN_PREFIX))
    assert story.told == [(0, ON), (10, OTHER)]
    story.at(20, story.dns64)
    assert story.told[-1] == (20, "no-pref64")


# Configuration


def test_fallback_waits_until_everybody_had_a_chance() -> None:
    story = Story()
    settings(story, fallback_prefix=THIRD)
    story.dns_settled = False
    story.at(0)
    story.at(1, story.ra)
    story.at(2, story.dns64)
    assert story.told == [(0, "no-pref64"), (2, f"clat {THIRD}")]
    story.at(30, lambda: story.ra(WELL_KNOWN))
    assert story.told[-1] == (30, f"{ON}; {THIRD} drains")


def test_fallback_in_use_is_not_given_up_because_somebody_is_asked_late() -> None:
    story = Story()
    settings(story, fallback_prefix=THIRD)
    story.at(0, story.ra)
    story.at(4, story.dns64_is_asked)
    story.at(5, story.dns64)
    assert story.told == [(0, f"clat {THIRD}")]
    story.at(6, story.dns64_is_asked)
    story.at(7, lambda: story.dns64(OWN_PREFIX, ttl_s=600))
    assert story.told[1:] == [(7, f"{OTHER}; {THIRD} drains")]


def test_static_prefix_is_asked_nobody_for() -> None:
    story = Story()
    settings(story, prefix=THIRD, fallback_prefix=OWN_PREFIX)
    story.at(0, lambda: story.ra(WELL_KNOWN))
    assert story.told == [(0, f"clat {THIRD}")]


# The PLAT


def rounds(kind: str, *seconds: float) -> Callable[[Story], None]:
    """Rounds of pings at these seconds, all with this outcome."""

    def play(story: Story) -> None:
        for second in seconds:
            story.at(second, getattr(story, kind))

    return play


def answer(second: float) -> Callable[[Story], None]:
    return lambda story: story.at(second, story.asked, story.replied)


GONE = str(Reason.PLAT_UNREACHABLE)
PLATS: dict[str, tuple[list[Callable[[Story], None]], str]] = {
    "answers": ([answer(1)], ON),
    "slow": ([rounds("silence", 1), answer(5)], ON),
    "silent-network": ([rounds("silence", 1, 3, 8, 18, 300)], ON),
    "refused-once": ([rounds("refuses", 1)], ON),
    "refused": ([rounds("refuses", 1, 4)], GONE),
    "dies": ([answer(1), rounds("refuses", 100, 103, 110)], GONE),
    "back": ([answer(1), rounds("refuses", 100, 103, 110), answer(200)], ON),
}


@pytest.mark.parametrize(("events", "outcome"), PLATS.values(), ids=PLATS)
def test_plat_that_does_not_work_is_given_up_and_only_that(events: list[Callable[[Story], None]], outcome: str) -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN, lifetime_s=7200))
    for event in events:
        event(story)
    assert story.state() == outcome
    changes = [state for _, state in story.told]
    assert len(changes) <= 3, "no flap"


def test_of_two_prefixes_the_one_that_works_wins() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN, OWN_PREFIX))
    story.at(1, story.silence, lambda: story.asked(OWN_PREFIX), lambda: story.replied(OWN_PREFIX))
    story.at(5, story.silence)
    story.at(20)
    assert story.told == [(0, ON), (5, f"{OTHER}; {DRAINS}"), (5 + LINGER_S, OTHER)]


def test_plat_check_switched_off_forgives_what_it_had_found() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN, lifetime_s=7200))
    rounds("refuses", 1, 4)(story)
    assert story.state() == GONE
    story.at(60, lambda: settings(story, plat_check=False))
    assert story.state() == ON


# Addresses


def test_renumbering_lets_old_connections_go_on() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    before = story.only().clat_v6
    old = an_address("2001:db8:a::5/64", deprecated=True)
    story.at(10, lambda: story.addresses("fe80::5/64", old, "2001:db8:b::5/64"), lambda: story.users(1))
    plans = {run.plan.offered: run.plan.clat_v6 for run in story.running.values()}
    assert plans[True] in IPv6Network("2001:db8:b::/64")
    assert plans[False] == before
    story.at(60, lambda: story.users(0))
    assert story.only().device == f"clat-{NAME}"


def test_prefix_that_is_gone_from_the_link_changes_in_place() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    story.at(10, lambda: story.addresses("fe80::5/64", "2001:db8:b::5/64"))
    assert story.only().clat_v6 in IPv6Network("2001:db8:b::/64")
    assert (story.starts, story.stops) == (1, 0)


def test_temporary_address_that_comes_and_goes_changes_nothing() -> None:
    story = Story()
    story.at(0, lambda: story.ra(WELL_KNOWN))
    before = story.only()
    temporary = an_address("2001:db8:a::7777/64", temporary=True)
    story.at(10, lambda: story.addresses("fe80::5/64", "2001:db8:a::5/64", temporary))
    story.at(20, lambda: story.addresses("fe80::5/64", "2001:db8:a::5/64", replace(temporary, deprecated=True)))
    story.at(30, lambda: story.addresses("fe80::5/64", "2001:db8:a::5/64"))
    assert story.only() == before
    assert a_link().addresses6 == story.facts.links[NAME].addresses6
