# SPDX-License-Identifier: GPL-2.0-or-later
"""From one Wi-Fi access point to another: a carrier that is away for a moment counts for nothing, but raises doubts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.discovery.roaming import PATIENCE_S, Roaming
from clatnm.model import Link, Uplink

LINK = Link(index=2, name="wlan0", ipv6_mtu_bytes=1500, carrier=True, carrier_changes=3)
WIFI = Uplink(interface="wlan0", uuid="u-1", name="six", manager="NetworkManager", access_point="02:00:00:00:02:00")
OTHER = replace(WIFI, access_point="02:00:00:00:03:00")
CABLE = replace(WIFI, access_point="")
LOST = replace(LINK, carrier=False, carrier_changes=4)
BACK = replace(LINK, carrier_changes=5)


class Stage:
    """The station, looked at again and again."""

    def __init__(self, first: Uplink = WIFI) -> None:
        self.roaming = Roaming()
        assert self.look(LINK, first, 0.0) == (LINK, False)

    def look(self, link: Link, uplink: Uplink | None, now: float) -> tuple[Link, bool]:
        """As what it counts, and whether it has roamed."""
        counted, roamed = self.roaming.take({link.name: link}, [] if uplink is None else [uplink], now)
        assert counted.keys() == {link.name}
        return counted[link.name], link.name in roamed


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_carrier_that_is_back_soon_was_never_away(stage: Stage) -> None:
    assert stage.look(LOST, WIFI, 10.0) == (LINK, False)
    assert stage.roaming.wait_until() == 10.0 + PATIENCE_S
    assert stage.look(LOST, OTHER, 10.1) == (LINK, False), "another access point, and not yet connected to it"
    assert stage.look(BACK, OTHER, 10.3) == (LINK, True)
    assert stage.roaming.wait_until() is None
    assert stage.look(BACK, OTHER, 10.4) == (LINK, False), "a roam is one moment"


def test_flap_that_was_over_before_anybody_looked_is_a_roam(stage: Stage) -> None:
    assert stage.look(BACK, WIFI, 10.0) == (LINK, True)


def test_what_has_changed_meanwhile_counts(stage: Stage) -> None:
    stage.look(LOST, WIFI, 10.0)
    assert stage.look(replace(BACK, ipv6_mtu_bytes=1400), WIFI, 10.3) == (replace(LINK, ipv6_mtu_bytes=1400), True)


def test_carrier_that_stays_away_is_lost(stage: Stage) -> None:
    stage.look(LOST, WIFI, 10.0)
    assert stage.look(LOST, WIFI, 10.0 + PATIENCE_S / 2) == (LINK, False), "another look does not begin anew"
    assert stage.look(LOST, WIFI, 10.0 + PATIENCE_S) == (LOST, False)
    assert stage.roaming.wait_until() is None
    assert stage.look(BACK, WIFI, 20.0) == (BACK, False), "the sources see by themselves that the carrier was away"


def test_later_losses_are_told_from_hidden_ones(stage: Stage) -> None:
    stage.look(LOST, WIFI, 10.0)
    stage.look(BACK, WIFI, 10.3)
    lost_again = replace(LINK, carrier=False, carrier_changes=6)
    assert stage.look(lost_again, WIFI, 20.0) == (LINK, False)
    gone, _ = stage.look(lost_again, WIFI, 20.0 + PATIENCE_S)
    assert (gone.carrier, gone.carrier_changes) == (False, LINK.carrier_changes + 1)


def test_another_access_point_with_the_carrier_up_is_a_roam(stage: Stage) -> None:
    assert stage.roaming.elsewhere([OTHER])
    assert stage.look(LINK, OTHER, 10.0) == (LINK, True)
    assert not stage.roaming.elsewhere([OTHER])
    assert stage.look(LINK, WIFI, 60.0) == (LINK, True)


def test_authentication_alone_is_a_roam_too(stage: Stage) -> None:
    """A driver that keeps the carrier: only its supplicant says for a moment that nothing gets through."""
    assert stage.look(replace(LINK, carrier=False), WIFI, 10.0) == (LINK, False)
    assert stage.look(LINK, WIFI, 10.2) == (LINK, True)


def test_access_point_that_is_named_late_is_the_same_roam(stage: Stage) -> None:
    """Asking twice is worse than once: routers need not answer again within 3 s (RFC 4861 section 6.2.6)."""
    assert stage.look(BACK, WIFI, 10.0) == (LINK, True)
    assert stage.look(BACK, OTHER, 10.5) == (LINK, False)
    assert stage.look(BACK, WIFI, 60.0) == (LINK, True)


def test_moment_without_an_access_point_changes_nothing(stage: Stage) -> None:
    assert stage.look(LINK, CABLE, 10.0) == (LINK, False)
    assert not stage.roaming.elsewhere([CABLE])
    assert stage.look(LINK, WIFI, 10.1) == (LINK, False)


@pytest.mark.parametrize("uplink", [None, replace(OTHER, uuid="u-2")], ids=["none", "another"])
def test_other_connection_is_not_waited_for(stage: Stage, uplink: Uplink | None) -> None:
    stage.look(LOST, WIFI, 10.0)
    assert stage.look(LOST, uplink, 10.1) == (LOST, False)
    assert stage.look(BACK, uplink, 10.3) == (BACK, False), "nothing hidden: all is forgotten"


def test_cable_is_not_waited_for() -> None:
    stage = Stage(CABLE)
    assert stage.look(LOST, CABLE, 10.0) == (LOST, False)
    assert stage.look(BACK, CABLE, 10.3) == (BACK, False)
    assert not stage.roaming.elsewhere([CABLE])


def test_link_that_is_unplugged_is_forgotten(stage: Stage) -> None:
    stage.look(LOST, WIFI, 10.0)
    assert stage.roaming.take({}, [WIFI], 10.1) == ({}, frozenset())
    assert stage.roaming.wait_until() is None
    assert stage.look(BACK, WIFI, 10.2) == (BACK, False)


# Where it is


def place(stage: Stage) -> str:
    return stage.roaming.places()[LINK.index]


def test_access_point_is_known_at_once_where_its_name_is_new(stage: Stage) -> None:
    assert place(stage) == WIFI.access_point
    stage.look(LOST, WIFI, 10.0)
    stage.look(LOST, OTHER, 10.1)
    stage.look(BACK, OTHER, 10.3)
    assert place(stage) == OTHER.access_point


def test_old_name_may_be_late_news(stage: Stage) -> None:
    """At the same access point again, or at another one that its manager has not named yet."""
    stage.look(BACK, WIFI, 10.0)
    assert place(stage) == ""
    stage.look(BACK, WIFI, 10.0 + PATIENCE_S)
    assert place(stage) == WIFI.access_point
    stage.look(replace(BACK, carrier_changes=7), WIFI, 20.0)
    stage.look(replace(BACK, carrier_changes=7), OTHER, 20.2)
    assert place(stage) == OTHER.access_point


def test_second_flap_of_one_roam_does_not_make_the_old_name_new(stage: Stage) -> None:
    stage.look(BACK, WIFI, 10.0)
    stage.look(replace(BACK, carrier_changes=7), WIFI, 10.5)
    assert place(stage) == ""


def test_link_without_an_access_point_has_no_place() -> None:
    assert Stage(CABLE).roaming.places() == {}


def test_kernel_knows_first_while_the_carrier_is_away(stage: Stage) -> None:
    stage.look(LOST, WIFI, 10.0)
    assert place(stage) == ""
    stage.roaming.turn(LINK.index, OTHER.access_point)
    assert stage.roaming.elsewhere([WIFI]), "look at its carrier"
    assert stage.look(LOST, WIFI, 10.1) == (LINK, False), "it may still have to get through"
    assert place(stage) == OTHER.access_point
    assert not stage.roaming.elsewhere([WIFI])
    assert stage.look(BACK, WIFI, 10.3) == (LINK, True)
    stage.look(BACK, WIFI, 10.0 + PATIENCE_S)
    assert place(stage) == OTHER.access_point, "the manager names it never, or later"
    stage.look(BACK, OTHER, 20.0)
    assert place(stage) == OTHER.access_point


def test_kernel_is_heard_before_the_carrier_goes_too(stage: Stage) -> None:
    stage.roaming.turn(LINK.index, OTHER.access_point)
    assert stage.look(LOST, WIFI, 10.0) == (LINK, False)
    assert place(stage) == OTHER.access_point


def test_last_turn_of_several_counts(stage: Stage) -> None:
    stage.look(LOST, WIFI, 10.0)
    stage.roaming.turn(LINK.index, OTHER.access_point)
    stage.roaming.turn(LINK.index, WIFI.access_point)
    stage.look(BACK, WIFI, 10.3)
    assert place(stage) == WIFI.access_point


def test_other_name_soon_after_a_roam_is_news(stage: Stage) -> None:
    third = replace(WIFI, access_point="02:00:00:00:04:00")
    stage.look(BACK, OTHER, 10.0)
    assert stage.look(BACK, third, 11.0) == (LINK, False)
    assert place(stage) == third.access_point


def test_turn_of_an_unknown_link_is_nothing(stage: Stage) -> None:
    stage.roaming.turn(77, OTHER.access_point)
    stage.look(LINK, WIFI, 10.0)
    assert stage.roaming.places() == {LINK.index: WIFI.access_point}
