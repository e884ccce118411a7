# SPDX-License-Identifier: GPL-2.0-or-later
"""The right moment: whole stories on a simulated clock. Each says what a user would notice, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.policy.drain import HOLD_S, LINGER_S
from clatnm.proto.ndp import Preference
from tests.unit.policy.story import DRAINS, NAME, ON, OTHER, Story, settings
from tests.unit.policy.worlds import OWN_PREFIX, WELL_KNOWN

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
