# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is believed about a connection's mode: each subset of all places, played through."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from clatnm.model import Mode, Settings, ToldMode, Uplink, World
from clatnm.policy.modes import GLOBAL_FILE, mode_of, own_file, told_modes
from tests.unit.policy.worlds import UUID, a_world, an_uplink

PLACES = (own_file(UUID), "user data clatnm.mode", "ipv6.dns-options", "ipv4.clat", GLOBAL_FILE)
NONSENSE = ToldMode(source="ipv6.dns-options", text="clatnm:7", mode=None, fault="none of ours")


def saying(places: tuple[str, ...], modes: tuple[Mode, ...]) -> tuple[Uplink, World]:
    """A connection about which each of these places says the mode at its position."""
    said = dict(zip(places, modes, strict=True))
    own, default = said.pop(own_file(UUID), None), said.pop(GLOBAL_FILE, None)
    written = frozenset({"mode"})
    uplink = replace(an_uplink(), told_modes=tuple(ToldMode(source=s, text=str(m), mode=m) for s, m in said.items()))
    settings = Settings() if default is None else Settings(mode=default, written=written)
    if own is not None:
        settings = replace(settings, connections={UUID: replace(settings, mode=own, written=written)})
    return uplink, a_world(uplinks=[uplink], settings=settings)


@pytest.mark.parametrize("count", range(1, len(PLACES) + 1))
def test_first_place_that_says_a_mode_is_believed(count: int) -> None:
    for places in itertools.combinations(PLACES, count):
        for first, other in itertools.permutations(Mode, 2):
            uplink, world = saying(places, (first, *[other] * (count - 1)))
            assert mode_of(uplink, world) is first
            assert [told.source for told in told_modes(uplink, world)][:count] == list(places)


def test_nobody_says_anything_and_the_default_holds() -> None:
    uplink, world = saying((), ())
    assert mode_of(uplink, world) is Mode.AUTO
    assert told_modes(uplink, world) == (ToldMode(source="default", text="auto", mode=Mode.AUTO),)


def test_own_file_without_a_mode_says_nothing_about_it() -> None:
    settings = Settings(connections={UUID: Settings(mode=Mode.FORCE, written=frozenset({"drain_s"}))})
    uplink = an_uplink(mode=Mode.NO)
    assert mode_of(uplink, a_world(uplinks=[uplink], settings=settings)) is Mode.NO


def test_what_makes_no_sense_is_told_but_not_believed() -> None:
    uplink, world = saying(("ipv4.clat", GLOBAL_FILE), (Mode.NO, Mode.FORCE))
    uplink = replace(uplink, told_modes=(NONSENSE, *uplink.told_modes))
    assert mode_of(uplink, world) is Mode.NO
    assert told_modes(uplink, world)[0] == NONSENSE
    alone = replace(uplink, told_modes=(NONSENSE,))
    assert (alone.mode, mode_of(alone, world)) == (None, Mode.FORCE)
