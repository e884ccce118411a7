# SPDX-License-Identifier: GPL-2.0-or-later
"""What one link's routers have said: what of it holds when, and what another access point does to it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

import pytest

from clatnm.discovery.ear import Ear
from clatnm.model import PrefixCandidate, PrefixSource, SourceReport
from clatnm.proto import ndp
from tests.unit.discovery.adverts import (
    OTHER_ROUTER,
    OWN_PREFIX,
    ROUTER,
    SLAAC,
    WELL_KNOWN,
    advert,
    mtu,
    pref64,
    rdnss,
    slaac,
)

OTHER_SLAAC = IPv6Network("2001:db8:b::/64")
RESOLVER, OTHER_RESOLVER = IPv6Address("2001:db8:a::53"), IPv6Address("2001:db8:a::54")


def said(*options: bytes, router: IPv6Address = ROUTER, lifetime_s: int = 1800) -> ndp.RouterAdvert:
    return ndp.parse_router_advertisement(advert(*options, lifetime_s=lifetime_s), source=router, hop_limit=255)


@dataclass(frozen=True)
class Knows:
    """All answers of an ear but its report."""

    prefixes: tuple[IPv6Network, ...] = ()
    mtu: int | None = None
    slaac: frozenset[IPv6Network] = frozenset()
    resolvers: tuple[IPv6Address, ...] = ()


def knows(ear: Ear, now: float) -> Knows:
    prefixes = tuple(candidate.prefix for candidate in ear.candidates(now))
    return Knows(prefixes, ear.mtu_bytes, ear.slaac_prefixes(now), ear.resolvers(now))


ALL = said(pref64(), mtu(1400), slaac(), rdnss(str(RESOLVER)))
KNOWS_ALL = Knows((WELL_KNOWN,), 1400, frozenset({SLAAC}), (RESOLVER,))


def listening(*adverts: ndp.RouterAdvert) -> Ear:
    """An ear that has heard these at 0 s."""
    ear = Ear(0)
    for one in adverts:
        ear.hear(one, 0)
    return ear


def test_candidate_tells_all_about_its_prefix() -> None:
    ear = listening(ALL)
    ear.hear(ALL, 30)
    assert ear.candidates(31) == (
        PrefixCandidate(
            prefix=WELL_KNOWN, source=PrefixSource.RA, router=ROUTER, expires_at=630, heard_at=30, fading=False
        ),
    )


def test_candidate_that_its_router_tells_no_longer_is_fading() -> None:
    ear = listening(ALL)
    for now in (1, 2):
        ear.hear(said(pref64(OWN_PREFIX)), now)
    assert [(one.prefix, one.fading) for one in ear.candidates(2)] == [(OWN_PREFIX, False), (WELL_KNOWN, True)]


@pytest.mark.parametrize(
    ("then", "sooner"),
    [
        pytest.param(said(pref64(lifetime_s=8)), True, id="rfc8781-4.1-shorter"),
        pytest.param(said(pref64(), lifetime_s=8), True, id="rfc4861-6.3.4-router-lifetime-shorter"),
        pytest.param(said(pref64()), False, id="renewed"),
        pytest.param(said(pref64(lifetime_s=9000)), False, id="longer"),
    ],
)
def test_prefix_that_ends_sooner_than_known_is_a_change(then: ndp.RouterAdvert, sooner: bool) -> None:
    # Whoever waits for its end must wait anew.
    ear = listening(said(pref64()))
    assert ear.hear(then, 1) is sooner
    assert [one.prefix for one in ear.candidates(8.9)] == [WELL_KNOWN]


# Resolvers


@pytest.mark.parametrize(
    ("then", "left"),
    [
        pytest.param(said(), (RESOLVER, OTHER_RESOLVER), id="left-out-stays"),
        pytest.param(said(rdnss(str(RESOLVER), lifetime_s=0)), (OTHER_RESOLVER,), id="rfc8106-5.1-lifetime-0"),
        pytest.param(
            said(rdnss(str(RESOLVER), lifetime_s=0xFFFFFFFF)), (RESOLVER, OTHER_RESOLVER), id="rfc8106-5.1-for-ever"
        ),
        pytest.param(said(lifetime_s=0), (RESOLVER, OTHER_RESOLVER), id="rfc4861-6.3.4-of-no-default-router"),
        pytest.param(
            said(rdnss("fe80::53"), router=OTHER_ROUTER),
            (RESOLVER, OTHER_RESOLVER, IPv6Address("fe80::53")),
            id="rfc8106-5.1-link-local",
        ),
    ],
)
def test_resolvers_are_those_in_force_in_order_of_arrival(
    then: ndp.RouterAdvert, left: tuple[IPv6Address, ...]
) -> None:
    ear = listening(said(rdnss(str(RESOLVER), str(OTHER_RESOLVER))))
    assert ear.hear(then, 1) is (left != (RESOLVER, OTHER_RESOLVER))
    assert ear.resolvers(1) == left


def test_resolver_ends_with_its_lifetime() -> None:
    ear = listening(said(rdnss(str(RESOLVER), lifetime_s=30)))
    assert ear.resolvers(29.9) == (RESOLVER,)
    assert ear.resolvers(30) == ()


def test_flood_of_resolvers_does_not_displace_what_was_there() -> None:
    ear = listening(ALL)
    for n in range(1, 40):
        ear.hear(said(rdnss(*(f"2001:db8:{n:x}::{k:x}" for k in range(1, 20)), lifetime_s=9000)), 1)
    assert ear.resolvers(1)[0] == RESOLVER
    assert len(ear.resolvers(1)) == 8


# Another access point


def test_doubt_alone_changes_nothing() -> None:
    ear = listening(ALL)
    ear.doubt()
    assert knows(ear, 4) == KNOWS_ALL
    assert (ear.waiting, ear.settled) == (True, True)


OTHERS = said(pref64(OWN_PREFIX), mtu(1300), slaac(OTHER_SLAAC), rdnss(str(OTHER_RESOLVER)), router=OTHER_ROUTER)


@pytest.mark.parametrize(
    ("first", "then", "left"),
    [
        pytest.param([ALL], ALL, KNOWS_ALL, id="confirmed"),
        pytest.param(
            [ALL],
            OTHERS,
            Knows((OWN_PREFIX,), 1300, frozenset({OTHER_SLAAC}), (OTHER_RESOLVER,)),
            id="rfc8781-5-another-network",
        ),
        pytest.param([ALL], said(), Knows(), id="announces-nothing"),
        pytest.param([ALL], said(lifetime_s=0), Knows(), id="rfc4861-6.3.4-no-default-router"),
        pytest.param(
            [ALL],
            said(pref64(lifetime_s=0), slaac(preferred_s=0), rdnss(str(RESOLVER), lifetime_s=0)),
            Knows(),
            id="withdrawn",
        ),
        pytest.param([ALL, OTHERS], ALL, KNOWS_ALL, id="one-of-two-routers"),
        pytest.param(
            [said(pref64(WELL_KNOWN)), said(pref64(OWN_PREFIX))],
            said(pref64(OWN_PREFIX), pref64(WELL_KNOWN)),
            Knows((WELL_KNOWN, OWN_PREFIX)),
            id="same-in-another-order",
        ),
        pytest.param(
            [said(rdnss(str(RESOLVER), str(OTHER_RESOLVER)))],
            said(rdnss(str(OTHER_RESOLVER), str(RESOLVER))),
            Knows(resolvers=(RESOLVER, OTHER_RESOLVER)),
            id="same-resolvers-in-another-order",
        ),
    ],
)
def test_first_advertisement_after_doubt_is_what_counts(
    first: list[ndp.RouterAdvert], then: ndp.RouterAdvert, left: Knows
) -> None:
    ear = listening(*first)
    before = knows(ear, 1)
    ear.doubt()
    assert ear.hear(then, 1) is (before != left)
    assert knows(ear, 1) == left
    assert not ear.waiting


def test_only_the_first_advertisement_after_doubt_drops_anything() -> None:
    ear = listening(ALL)
    ear.doubt()
    ear.hear(ALL, 1)
    ear.hear(said(), 2)
    assert knows(ear, 2) == KNOWS_ALL
    assert not ear.give_up_doubted(5)
    assert knows(ear, 5) == KNOWS_ALL


def test_confirmed_prefix_fades_no_longer() -> None:
    ear = listening(ALL)
    for now in (1, 2):
        ear.hear(said(pref64(OWN_PREFIX)), now)
    ear.doubt()
    ear.hear(ALL, 3)
    assert [(one.prefix, one.fading) for one in ear.candidates(3)] == [(WELL_KNOWN, False)]


def test_what_nobody_confirms_is_given_up() -> None:
    ear = listening(ALL, OTHERS)
    ear.doubt()
    assert ear.give_up_doubted(5)
    assert knows(ear, 5) == Knows()
    assert (ear.waiting, ear.settled) == (True, True)  # whoever depends on others than routers need not wait again
    assert not ear.give_up_doubted(6)


# Reports


@dataclass(frozen=True)
class Step:
    """At `at` seconds something happens; then the report says this."""

    at: float
    what: ndp.RouterAdvert | str | None
    settled: bool
    detail: str
    since: float


P, Q = WELL_KNOWN, OWN_PREFIX
REPORTS = {
    "asked-in-vain": [
        Step(0, None, False, "not asked", 0),
        Step(1, "ask", False, "asked once", 1),
        Step(5, "ask", False, "asked 2 times", 1),
        Step(9, "ask", False, "asked 3 times", 1),
        Step(13, "give_up_asking", True, "no router answers", 13),
        Step(99, said(pref64()), True, f"fe80::1 announces {P}", 99),
    ],
    "answered": [
        Step(1, "ask", False, "asked once", 1),
        Step(2, said(), True, "fe80::1 announces none", 2),
        Step(9, said(), True, "fe80::1 announces none", 2),
    ],
    "unasked": [Step(7, said(pref64(P), pref64(Q)), True, f"fe80::1 announces {P} and {Q}", 7)],
    "two-routers": [
        Step(0, said(pref64(), router=OTHER_ROUTER), True, f"fe80::2 announces {P}", 0),
        Step(1, said(), True, f"fe80::1 announces none; fe80::2 announces {P}", 0),
        Step(2, said(lifetime_s=0), True, f"fe80::2 announces {P}", 0),
        Step(3, said(lifetime_s=0, router=OTHER_ROUTER), True, "no router is left", 0),
    ],
    "rfc8781-4.1-expires": [
        Step(0, said(pref64(lifetime_s=16)), True, f"fe80::1 announces {P}", 0),
        Step(16, None, True, "fe80::1 announces none", 0),
        Step(1800, None, True, "no router is left", 0),
    ],
    "fading": [
        Step(0, said(pref64()), True, f"fe80::1 announces {P}", 0),
        Step(1, said(pref64(Q)), True, f"fe80::1 announces {P} and {Q}", 0),
        Step(2, said(pref64(Q)), True, f"fe80::1 announces {Q}, no longer {P}", 0),
    ],
    "roamed-within-the-network": [
        Step(0, said(pref64()), True, f"fe80::1 announces {P}", 0),
        Step(9, "doubt", True, f"fe80::1 announces {P}; at another access point now, asked 0 times", 0),
        Step(9, "ask", True, f"fe80::1 announces {P}; at another access point now, asked once", 0),
        Step(10, said(pref64()), True, f"fe80::1 announces {P}", 0),
    ],
    "roamed-to-another-network": [
        Step(0, said(pref64()), True, f"fe80::1 announces {P}", 0),
        Step(9, "doubt", True, f"fe80::1 announces {P}; at another access point now, asked 0 times", 0),
        Step(10, said(pref64(Q), router=OTHER_ROUTER), True, f"fe80::2 announces {Q}", 10),
    ],
    "roamed-to-silence": [
        Step(0, said(pref64()), True, f"fe80::1 announces {P}", 0),
        Step(1, "doubt", True, f"fe80::1 announces {P}; at another access point now, asked 0 times", 0),
        Step(1, "ask", True, f"fe80::1 announces {P}; at another access point now, asked once", 0),
        Step(2, "ask", True, f"fe80::1 announces {P}; at another access point now, asked 2 times", 0),
        Step(6, "give_up_doubted", True, "asked 2 times", 6),
        Step(6, "ask", True, "asked 3 times", 6),
        Step(10, "give_up_asking", True, "no router answers", 10),
    ],
    "roamed-while-asking": [
        Step(0, "ask", False, "asked once", 0),
        Step(1, "doubt", False, "not asked", 0),
        Step(1, "ask", False, "asked once", 1),
        Step(2, "ask", False, "asked 2 times", 1),
        Step(10, "give_up_asking", True, "no router answers", 10),
    ],
}


@pytest.mark.parametrize("steps", REPORTS.values(), ids=REPORTS)
def test_report_says_how_it_stands(steps: list[Step]) -> None:
    ear = Ear(0)
    for step in steps:
        match step.what:
            case ndp.RouterAdvert() as advertisement:
                ear.hear(advertisement, step.at)
            case "doubt":
                ear.doubt()
            case str() as name:
                getattr(ear, name)(step.at)
        assert ear.report(step.at) == SourceReport(
            source=PrefixSource.RA, settled=step.settled, detail=step.detail, since=step.since
        )


def test_flood_of_routers_leaves_the_report_readable() -> None:
    ear = listening(ALL)
    for n in range(2, 100):
        ear.hear(said(router=IPv6Address(f"fe80::{n:x}")), 1)
    detail = ear.report(1).detail
    assert detail.startswith(f"fe80::1 announces {P}; ")
    assert detail.count("announces") == 8
    assert "fe80::63 announces none" in detail  # the last one


def test_settling_is_a_change_and_happens_once() -> None:
    ear = Ear(0)
    assert ear.hear(said(), 1)
    assert not ear.hear(said(), 2)
    silent = Ear(0)
    assert silent.give_up_asking(1)
    assert not silent.give_up_asking(2)
    assert not silent.hear(said(), 3)


def test_next_deprecation_is_that_of_the_first_prefix_to_end() -> None:
    ear = Ear(0.0)
    assert ear.next_deprecation(0.0) is None
    other = IPv6Network("2001:db8:b::/64")
    ear.hear(said(slaac(preferred_s=60), slaac(other, preferred_s=90)), 0.0)
    assert ear.next_deprecation(0.0) == 60.0
    assert ear.slaac_prefixes(60.0) == {other}
    assert ear.next_deprecation(60.0) == 90.0
    assert ear.next_deprecation(90.0) is None
