# SPDX-License-Identifier: GPL-2.0-or-later
"""The right prefix: stories on a simulated clock about sources that disagree, NAT64s that fail, and renumbering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from clatnm.model import Reason
from clatnm.policy.drain import LINGER_S
from tests.unit.policy.story import DRAINS, NAME, ON, OTHER, THIRD, Story, settings
from tests.unit.policy.worlds import OWN_PREFIX, WELL_KNOWN, a_link, an_address

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
