# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom to ask for a prefix, and which PLATs to ping: only where it is of use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from clatnm.model import (
    Mode,
    PlatHealth,
    PlatState,
    PrefixCandidate,
    PrefixSource,
    Settings,
    SourceReport,
    World,
)
from clatnm.policy.plan import decide
from clatnm.policy.prefixes import asks_dns, choose_prefix, to_probe
from tests.unit.policy.worlds import (
    NOW,
    OWN_PREFIX,
    UUID,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_world,
    an_uplink,
    run_all,
    the_plan,
)

BARE = a_world(prefixes={})
NATIVE = a_link(ipv4=("192.168.2.7",), default4=(a_route4(),))
RUNS = run_all(the_plan(a_world()))
FROM_DNS = replace(a_candidate(OWN_PREFIX), source=PrefixSource.DNS64)


def with_plats(world: World, **states: PlatState) -> World:
    """What is known of the PLATs behind the well-known prefix (`well`) and the network's own one (`own`)."""
    names = {"well": WELL_KNOWN, "own": OWN_PREFIX}
    plats = {("wlan0", names[name]): PlatHealth(state=state, since=NOW) for name, state in states.items()}
    return replace(world, plats=plats)


ASKED: dict[str, tuple[World, bool]] = {
    "nobody-tells": (BARE, True),
    "router-tells": (a_world(), False),
    "router-tells-a-dead-one": (with_plats(a_world(), well=PlatState.DEAD), True),
    "dead-is-fine-without-check": (
        with_plats(a_world(settings=Settings(plat_check=False)), well=PlatState.DEAD),
        False,
    ),
    # Else what DNS told would end, and with it the only way that works.
    "worse-router": (
        with_plats(a_world(prefixes={"wlan0": (a_candidate(), FROM_DNS)}), well=PlatState.SILENT, own=PlatState.ALIVE),
        True,
    ),
    "dns-beside-the-router": (a_world(prefixes={"wlan0": (a_candidate(), FROM_DNS)}), False),
    "only-dns": (a_world(prefixes={"wlan0": (FROM_DNS,)}), True),
    "native": (a_world(NATIVE, prefixes={}), False),
    "native-but-draining": (replace(a_world(NATIVE, prefixes={}), running=RUNS), True),
    "opted-out": (a_world(uplinks=[an_uplink(mode=Mode.NO)], prefixes={}), False),
    "opted-out-a-moment-ago": (a_world(uplinks=[an_uplink(mode=Mode.NO)], prefixes={}, running=RUNS), False),
    "manager-translates": (a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")], prefixes={}), False),
    "manager-takes-over": (a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")], prefixes={}, running=RUNS), False),
    "vpn": (a_world(uplinks=[an_uplink(is_vpn=True)], prefixes={}), False),
    "no-ipv6": (a_world(a_link(default6=()), prefixes={}), False),
    "switched-off": (a_world(prefixes={}, settings=Settings(dns64=False)), False),
    "switched-off-here": (a_world(prefixes={}, settings=Settings(connections={UUID: Settings(dns64=False)})), False),
    "set-by-hand": (a_world(prefixes={}, settings=Settings(prefix=OWN_PREFIX)), False),
    "forced": (a_world(NATIVE, prefixes={}, uplinks=[an_uplink(mode=Mode.FORCE)]), True),
}


@pytest.mark.parametrize(("world", "asked"), ASKED.values(), ids=ASKED)
def test_resolvers_are_asked_only_where_nobody_better_tells_one_that_works(world: World, asked: bool) -> None:
    assert asks_dns(world.uplinks[0], world, NOW) is asked


PROBED: dict[str, tuple[World, tuple[object, ...]]] = {
    "chosen": (a_world(), (WELL_KNOWN,)),
    "others-too": (a_world(prefixes={"wlan0": (a_candidate(), FROM_DNS)}), (WELL_KNOWN, OWN_PREFIX)),
    "no-others-while-it-works": (
        with_plats(a_world(prefixes={"wlan0": (a_candidate(), FROM_DNS)}), well=PlatState.ALIVE),
        (WELL_KNOWN,),
    ),
    "no-prefix": (BARE, ()),
    "native": (a_world(NATIVE), ()),
    "forced": (a_world(NATIVE, uplinks=[an_uplink(mode=Mode.FORCE)]), (WELL_KNOWN,)),
    "opted-out": (a_world(uplinks=[an_uplink(mode=Mode.NO)]), ()),
    "manager-translates": (a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")]), ()),
    "vpn": (a_world(uplinks=[an_uplink(is_vpn=True)]), ()),
    "no-ipv6": (a_world(a_link(default6=())), ()),
    "switched-off": (a_world(settings=Settings(plat_check=False)), ()),
    "switched-off-here": (a_world(settings=Settings(connections={UUID: Settings(plat_check=False)})), ()),
}


@pytest.mark.parametrize(("world", "probed"), PROBED.values(), ids=PROBED)
def test_plats_are_pinged_only_where_they_are_of_use(world: World, probed: tuple[object, ...]) -> None:
    (verdict,) = decide(world, NOW)
    assert to_probe(verdict.uplink, verdict.candidate, world, NOW) == probed


@pytest.mark.parametrize("told_first", [WELL_KNOWN, OWN_PREFIX])
@pytest.mark.parametrize("states", [{}, {WELL_KNOWN: PlatState.ALIVE, OWN_PREFIX: PlatState.ALIVE}])
def test_of_two_prefixes_in_use_that_of_new_connections_stays(
    told_first: object, states: Mapping[object, PlatState]
) -> None:
    pair = sorted((a_candidate(), a_candidate(OWN_PREFIX)), key=lambda c: c.prefix != told_first)
    chosen = choose_prefix(pair, (OWN_PREFIX, WELL_KNOWN), states)  # type: ignore[arg-type]
    assert chosen is not None
    assert chosen.prefix == OWN_PREFIX


@pytest.mark.parametrize("used", [True, False])
def test_fallback_waits_for_others_unless_it_is_in_use(used: bool) -> None:
    fallback = PrefixCandidate(prefix=WELL_KNOWN, source=PrefixSource.FALLBACK)
    asking = (SourceReport(source=PrefixSource.DNS64, settled=False, detail="", since=NOW),)
    world = replace(a_world(prefixes={"wlan0": (fallback,)}), reports={"wlan0": asking}, running=RUNS if used else {})
    (verdict,) = decide(world, NOW)
    assert (verdict.candidate == fallback) is used
