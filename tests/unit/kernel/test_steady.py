# SPDX-License-Identifier: GPL-2.0-or-later
"""An address that is away for a moment is not gone; one that stays away is."""

from __future__ import annotations

from ipaddress import IPv6Address

from clatnm.kernel.steady import PATIENCE_S, Steady
from clatnm.model import Address6, Link

OLD, NEW = "2001:db8:a::1", "2001:db8:b::1"


def link(*addresses: str, carrier_changes: int = 1, carrier: bool = True, index: int = 2, name: str = "up0") -> Link:
    return Link(
        index=index,
        name=name,
        ipv6_mtu_bytes=1500,
        carrier=carrier,
        carrier_changes=carrier_changes,
        addresses6=tuple(Address6(address=IPv6Address(text), prefixlen=64) for text in addresses),
    )


def after(steady: Steady, seen: Link, now: float) -> list[str]:
    """The addresses that the link is said to have."""
    return [str(own.address) for own in steady.take({seen.name: seen}, now)[seen.name].addresses6]


def test_address_that_is_put_back_was_never_gone() -> None:
    steady = Steady()
    assert after(steady, link(OLD), 0.0) == [OLD]
    assert not steady.unsure
    assert after(steady, link(NEW), 1.0) == [OLD, NEW]
    assert steady.unsure
    assert after(steady, link(OLD, NEW), 1.001) == [OLD, NEW]
    assert not steady.unsure


def test_address_that_stays_away_is_gone_after_a_moment() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    assert after(steady, link(), 1.0) == [OLD]
    assert after(steady, link(), 1.0 + PATIENCE_S / 2) == [OLD], "another look does not begin anew"
    assert steady.unsure
    assert after(steady, link(), 1.0 + PATIENCE_S) == []
    assert not steady.unsure


def test_address_that_comes_and_goes_has_a_moment_each_time() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    after(steady, link(), 1.0)
    after(steady, link(OLD), 1.01)
    assert after(steady, link(), 2.0) == [OLD]


def test_address_is_as_it_was_put_back() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    after(steady, link(NEW), 1.0)
    back = Address6(address=IPv6Address(OLD), prefixlen=64, deprecated=True)
    seen = Link(index=2, name="up0", ipv6_mtu_bytes=1500, carrier=True, carrier_changes=1, addresses6=(back,))
    assert back in steady.take({"up0": seen}, 1.001)["up0"].addresses6


def test_other_network_has_none_of_the_addresses_of_the_last() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    assert after(steady, link(NEW, carrier_changes=3), 1.0) == [NEW]
    assert not steady.unsure


def test_link_without_a_carrier_has_none_that_it_has_not() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    assert after(steady, link(carrier=False), 1.0) == []


def test_link_that_is_another_one_by_the_same_name_begins_anew() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    assert after(steady, link(NEW, index=3), 1.0) == [NEW]


def test_link_that_is_renamed_is_the_same() -> None:
    steady = Steady()
    after(steady, link(OLD), 0.0)
    assert after(steady, link(NEW, name="lan0"), 1.0) == [OLD, NEW]
    assert steady.take({}, 1.001) == {}
    assert not steady.unsure
