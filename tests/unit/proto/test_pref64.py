# SPDX-License-Identifier: GPL-2.0-or-later
"""RFC 8781: the option, and which of a link's NAT64 prefixes are in force when."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto import ndp, pref64
from clatnm.proto.ndp import Preference
from clatnm.proto.pref64 import Pref64Entry, Pref64Option, Pref64Table

A, B = "64:ff9b::/96", "2001:db8:64::/96"
HIGH, MEDIUM, LOW = Preference.HIGH, Preference.MEDIUM, Preference.LOW


def advert(
    router: int,
    *options: tuple[str, int],
    lifetime_s: int = 1800,
    preference: Preference = Preference.MEDIUM,
) -> ndp.RouterAdvert:
    """An RA of router fe80::`router` announcing (prefix, lifetime) pairs."""
    return ndp.RouterAdvert(
        router=IPv6Address(f"fe80::{router:x}"),
        lifetime_s=lifetime_s,
        preference=preference,
        hop_limit=64,
        managed=False,
        other=False,
        mtu_bytes=None,
        link_address=None,
        prefixes=(),
        rdnss=(),
        pref64=tuple(Pref64Option(prefix=IPv6Network(prefix), lifetime_s=life) for prefix, life in options),
    )


def seen(table: Pref64Table, now: float) -> list[tuple[str, str, float]]:
    return [(str(e.prefix), str(e.router), e.expires_at) for e in table.valid(now)]


def prefixes(table: Pref64Table, now: float) -> list[str]:
    return [str(entry.prefix) for entry in table.valid(now)]


# The first three were made with scapy 2.8; the type and length bytes are left off
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("07080064ff9b0000000000000000", (A, 1800), id="rfc8781-4-len96"),
        pytest.param("070920010db80001000200000000", ("2001:db8:1:2::/64", 1800), id="rfc8781-4-len64"),
        pytest.param("fffd20010db80000000000000000", ("2001:db8::/32", 65528), id="rfc8781-4-len32-longest-life"),
        pytest.param("000a20010db80001020000000000", ("2001:db8:1:200::/56", 8), id="rfc8781-4-len56-shortest-life"),
        pytest.param("070b20010db80001000000000000", ("2001:db8:1::/48", 1800), id="rfc8781-4-len48"),
        pytest.param("070c20010db80100000000000000", ("2001:db8:100::/40", 1800), id="rfc8781-4-len40"),
        pytest.param("00000064ff9b0000000000000000", (A, 0), id="rfc8781-4-withdrawn"),
        pytest.param("070920010db800010002ffffffff", ("2001:db8:1:2::/64", 1800), id="rfc8781-4-bits-past-the-length"),
        pytest.param("070d20010db8ffffffffffffffff", ("2001:db8::/32", 1800), id="rfc8781-4-bits-past-32"),
        pytest.param("070e0064ff9b0000000000000000", None, id="rfc8781-4-code-6"),
        pytest.param("070f0064ff9b0000000000000000", None, id="rfc8781-4-code-7"),
        pytest.param("07080064ff9b00000000ff000000", None, id="rfc6052-2.2-octet-u"),
        pytest.param("0708ff0200000000000000000000", None, id="rfc4291-2.7-group"),
        pytest.param("0708fe8000000000000000000000", None, id="rfc4291-2.5.6-link-local"),
        pytest.param("07080064ff9b00000000000000", None, id="rfc8781-4-too-short"),
        pytest.param("07080064ff9b0000000000000000" + "00" * 8, None, id="rfc8781-4-length-3"),
        pytest.param("070800640000", None, id="rfc8781-4-length-1"),
        pytest.param("", None, id="empty"),
    ],
)
def test_option_is_read_or_ignored(body: str, expected: tuple[str, int] | None) -> None:
    option = pref64.parse_option(bytes.fromhex(body))
    assert option == (expected and Pref64Option(prefix=IPv6Network(expected[0]), lifetime_s=expected[1]))


@given(body=st.binary(max_size=24) | st.binary(min_size=14, max_size=14))
def test_any_bytes_are_an_option_or_ignored(body: bytes) -> None:
    option = pref64.parse_option(body)
    if option is not None:
        assert len(body) == 14
        assert option.lifetime_s == int.from_bytes(body[:2], "big") // 8 * 8
        assert option.prefix.prefixlen in (32, 40, 48, 56, 64, 96)
        size = option.prefix.prefixlen // 8
        assert option.prefix.network_address.packed[:size] == body[2 : 2 + size]


@dataclass(frozen=True)
class Say:
    """At `at` seconds this RA comes; the table says `changed` and then lists `after`."""

    at: float
    what: ndp.RouterAdvert
    changed: bool
    after: list[str]


STORIES = [
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(300, advert(1, (A, 600)), False, [A])],
        id="refresh-is-no-change",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(1, advert(1, (A, 0)), True, [])],
        id="rfc8781-4-lifetime-0-withdraws",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 0)), False, []), Say(1, advert(1), False, [])],
        id="withdrawing-what-was-not-there",
    ),
    pytest.param(
        [
            Say(0, advert(1, (A, 600)), True, [A]),
            Say(1, advert(2, (A, 600)), True, [A, A]),
            Say(2, advert(1, (A, 0)), True, [A]),
        ],
        id="withdrawn-by-one-router-kept-by-the-other",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(1, advert(1), False, [A])],
        id="rfc4861-6.2.3-left-out-stays",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(1, advert(1, (B, 600)), True, [A, B])],
        id="rfc8781-5.1-another-joins",
    ),
    pytest.param(
        [
            Say(0, advert(1, (A, 600)), True, [A]),
            Say(1, advert(1, (B, 600)), True, [A, B]),
            Say(2, advert(1, (B, 600)), True, [B, A]),
            Say(3, advert(1, (B, 600)), False, [B, A]),
            Say(4, advert(1, (A, 600), (B, 600)), True, [A, B]),
        ],
        id="left-out-twice-beside-another-comes-last-until-heard-again",
    ),
    pytest.param(
        [
            Say(0, advert(1, (A, 600)), True, [A]),
            Say(1, advert(1, (B, 600)), True, [A, B]),
            Say(2, advert(1, (A, 600)), False, [A, B]),
            Say(3, advert(1, (B, 600)), False, [A, B]),
        ],
        id="rfc4861-6.2.3-split-over-two-does-not-fade",
    ),
    pytest.param(
        [
            Say(0, advert(1, (A, 600), preference=HIGH), True, [A]),
            Say(0, advert(2, (B, 600)), True, [A, B]),
            Say(1, advert(1, ("2001:db8:1::/96", 8), preference=HIGH), True, [A, "2001:db8:1::/96", B]),
            Say(2, advert(1, ("2001:db8:1::/96", 8), preference=HIGH), True, ["2001:db8:1::/96", A, B]),
        ],
        id="rfc4191-2.1-preference-comes-before-fading",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(1, advert(1, (A, 600), lifetime_s=0), True, [])],
        id="rfc4861-6.3.4-router-retires",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(1, advert(2, lifetime_s=0), False, [A])],
        id="another-router-retires",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600)), True, [A]), Say(600, advert(1), False, [])],
        id="expired-stays-gone",
    ),
    pytest.param(
        [Say(0, advert(1, (A, 600), lifetime_s=100), True, [A]), Say(200, advert(1), False, [])],
        id="gone-with-its-router-stays-gone-when-that-returns",
    ),
    pytest.param(
        [
            Say(0, advert(1, (A, 600)), True, [A]),
            Say(1, advert(2, (B, 600), preference=HIGH), True, [B, A]),
            Say(2, advert(1, preference=HIGH), True, [A, B]),
            Say(3, advert(1, preference=LOW), True, [B, A]),
        ],
        id="rfc4191-2.1-preference-then-arrival",
    ),
    pytest.param(
        [
            Say(0, advert(1, (A, 600), (B, 600)), True, [A, B]),
            Say(1, advert(1, (B, 600), (A, 600)), False, [A, B]),
            Say(2, advert(1, (A, 0)), True, [B]),
            Say(3, advert(1, (A, 600)), True, [B, A]),
        ],
        id="order-of-first-arrival-is-stable",
    ),
]


@pytest.mark.parametrize("story", STORIES)
def test_table_follows_what_routers_say(story: list[Say]) -> None:
    table = Pref64Table()
    for say in story:
        assert table.update(say.what, say.at) is say.changed
        assert prefixes(table, say.at) == say.after


def test_entry_names_router_preference_and_end() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600), preference=HIGH), 50)
    assert table.valid(50) == (
        Pref64Entry(prefix=IPv6Network(A), router=IPv6Address("fe80::1"), preference=HIGH, expires_at=650, heard_at=50),
    )


@pytest.mark.parametrize(
    ("own_s", "router_s", "ends_at"),
    [
        pytest.param(600, 1800, 700, id="rfc8781-4.1-own-lifetime"),
        pytest.param(1800, 600, 700, id="router-lifetime"),
        pytest.param(65528, 65535, 65628, id="longest"),
    ],
)
def test_entry_ends_with_its_own_or_its_routers_lifetime(own_s: int, router_s: int, ends_at: float) -> None:
    table = Pref64Table()
    table.update(advert(1, (A, own_s), lifetime_s=router_s), 100)
    assert table.next_expiry(100) == ends_at
    assert prefixes(table, ends_at - 0.001) == [A]
    assert prefixes(table, ends_at) == []
    assert table.next_expiry(ends_at) is None


def test_next_expiry_is_the_earliest_of_all_routers() -> None:
    table = Pref64Table()
    assert table.next_expiry(0) is None
    table.update(advert(1, (A, 600), preference=HIGH), 0)
    table.update(advert(2, (B, 400)), 0)
    assert table.next_expiry(0) == 400
    assert table.next_expiry(400) == 600
    assert seen(table, 400) == [(A, "fe80::1", 600)]


def test_router_lifetime_is_renewed_by_any_of_its_adverts() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 6000), lifetime_s=100), 0)
    table.update(advert(1, lifetime_s=100), 90)
    assert seen(table, 90) == [(A, "fe80::1", 190)]


def test_prefix_lifetime_may_be_cut_short() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600)), 0)
    assert table.update(advert(1, (A, 8)), 1) is False
    assert table.next_expiry(1) == 9


def fading(table: Pref64Table, now: float) -> list[str]:
    return [str(entry.prefix) for entry in table.valid(now) if entry.fading]


@pytest.mark.parametrize(
    ("what", "fades"),
    [
        pytest.param(advert(1, (B, 600)), [A], id="another"),
        pytest.param(advert(1), [], id="rfc4861-6.2.3-none-at-all"),
        pytest.param(advert(1, (B, 0)), [], id="another-withdrawn"),
        pytest.param(advert(1, (A, 600), (B, 600)), [], id="both"),
        pytest.param(advert(2, (B, 600)), [], id="other-router"),
    ],
)
def test_prefix_fades_when_its_router_tells_others_instead_twice(what: ndp.RouterAdvert, fades: list[str]) -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600)), 0)
    table.update(what, 1)
    assert fading(table, 1) == []
    table.update(what, 2)
    assert fading(table, 2) == fades


def test_fading_prefix_stays_until_its_end() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600)), 0)
    for now in (1, 2, 3):
        table.update(advert(1, (B, 6000), lifetime_s=9000), now)
    assert fading(table, 599) == [A]
    assert prefixes(table, 600) == [B]


def test_entry_tells_when_it_was_last_heard() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600)), 10)
    table.update(advert(1, (A, 600)), 20)
    table.update(advert(1, (B, 600)), 30)
    assert [(str(entry.prefix), entry.heard_at) for entry in table.valid(30)] == [(A, 20), (B, 30)]


def test_keeping_what_one_advert_confirms_forgets_all_else() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600), (B, 600), preference=HIGH), 0)
    table.update(advert(2, (A, 600)), 0)
    table.keep_only(advert(1, ("2001:db8:1::/96", 600), (B, 600)))
    assert seen(table, 1) == [(B, "fe80::1", 600)]
    table.keep_only(advert(2, (B, 600)))
    assert seen(table, 1) == []


def test_clear_forgets_everything() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600)), 0)
    table.clear()
    assert table.valid(0) == ()
    assert table.update(advert(1), 1) is False
    assert table.update(advert(1, (A, 600)), 2) is True


def test_flood_of_equal_rank_does_not_displace_what_was_there() -> None:
    table = Pref64Table()
    table.update(advert(1, (A, 600)), 0)
    for router in range(2, 500):
        table.update(advert(router, (f"2001:db8:{router:x}::/96", 65528)), 1)
        assert len(table.valid(1)) <= 8
    assert prefixes(table, 1) == [A, *(f"2001:db8:{router:x}::/96" for router in range(2, 9))]


def test_flood_in_one_advert_is_cut_to_the_first_ones() -> None:
    table = Pref64Table()
    names = [f"2001:db8:{number:x}::/96" for number in range(1, 40)]
    assert table.update(advert(1, *((name, 600) for name in names)), 0)
    assert prefixes(table, 0) == names[:8]


def test_full_table_evicts_the_latest_of_the_least_preferred() -> None:
    table = Pref64Table()
    for router in range(1, 9):
        table.update(advert(router, (f"2001:db8:{router:x}::/96", 600), preference=LOW), 0)
    assert table.update(advert(9, (A, 600)), 1) is True
    assert prefixes(table, 1) == [A, *(f"2001:db8:{router:x}::/96" for router in range(1, 8))]
    assert table.update(advert(10, (B, 600), preference=LOW), 2) is False


lifetimes = st.sampled_from([0, 8, 64, 600])
options = st.tuples(st.integers(1, 12).map(lambda n: f"2001:db8:{n:x}::/96"), lifetimes)
adverts = st.builds(
    lambda router, said, lifetime_s, preference: advert(router, *said, lifetime_s=lifetime_s, preference=preference),
    st.integers(1, 12),
    st.lists(options, max_size=4),
    st.sampled_from([0, 30, 1800]),
    st.sampled_from(list(Preference)),
)


@given(said=st.lists(st.tuples(st.integers(0, 100), adverts), max_size=25))
def test_whatever_routers_say_the_table_stays_small_sorted_and_alive(said: list[tuple[int, ndp.RouterAdvert]]) -> None:
    table, now = Pref64Table(), 0
    for wait_s, what in said:
        now += wait_s
        before = [(entry.prefix, entry.router, entry.preference, entry.fading) for entry in table.valid(now)]
        changed = table.update(what, now)
        entries = table.valid(now)
        after = [(entry.prefix, entry.router, entry.preference, entry.fading) for entry in entries]
        assert changed == (before != after)
        assert len(after) <= 8 and len({(prefix, router) for prefix, router, *_ in after}) == len(after)
        ranks = [(-preference, fading) for *_, preference, fading in after]
        assert ranks == sorted(ranks)
        assert all(now < entry.expires_at <= now + 1800 for entry in entries)
        assert all(entry.preference == what.preference for entry in entries if entry.router == what.router)
        expiry = table.next_expiry(now)
        assert (expiry is None) == (not entries)
        if expiry is not None:
            assert len(table.valid(expiry)) < len(entries)
            assert table.valid(expiry - 0.5) == entries
