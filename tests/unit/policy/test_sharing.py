# SPDX-License-Identifier: GPL-2.0-or-later
"""Where there is no /64 for an address of the CLAT's own, it shares the host's."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from clatnm.model import Address6, Reason, World
from clatnm.policy.plan import decide
from tests.unit.policy.worlds import NOW, a_link, a_world, an_address, run_all, the_plan, the_reason

SHARING = {"ebpf": "", "tun": ""}


def sharing(*addresses: Address6 | str, backends: dict[str, str] | None = None) -> World:
    """A world whose only link has these addresses, with a backend that can share and one that cannot."""
    own = tuple(an_address(a) if isinstance(a, str) else a for a in addresses)
    link = replace(a_link(), addresses6=own)
    return replace(a_world(link, backends=backends or SHARING), sharing_backends=frozenset({"ebpf"}))


def test_address_without_a_64_is_shared() -> None:
    plan = the_plan(sharing("2001:db8:a::7/128", "fe80::1/64"))
    assert (plan.shared, plan.clat_v6) == (True, IPv6Address("2001:db8:a::7"))


def test_address_of_its_own_is_preferred() -> None:
    plan = the_plan(sharing("2001:db8:a::7/128", "2001:db8:b::7/64"))
    assert not plan.shared
    assert plan.clat_v6 != IPv6Address("2001:db8:b::7")


@pytest.mark.parametrize("fault", ["", "not built"])
def test_backend_that_can_share_is_needed(fault: str) -> None:
    world = sharing("2001:db8:a::7/128", backends={"ebpf": fault, "tun": ""})
    if fault:
        assert the_reason(world) is Reason.NO_CLAT_ADDRESS
    else:
        assert the_plan(world).backend == "ebpf"


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        pytest.param(an_address("2001:db8:a::1/128", deprecated=True), "2001:db8:f::1/128", id="rfc6724-rule-3"),
        pytest.param(an_address("2001:db8:a::1/128", tentative=True), "2001:db8:f::1/128", id="rfc4862-5.4-tentative"),
        pytest.param(an_address("2001:db8:a::1/128", temporary=True), "2001:db8:f::1/128", id="lasting"),
        pytest.param("fd00::1/128", "2001:db8:f::1/128", id="rfc6724-rule-6-label"),
        pytest.param("fe80::1/64", "2001:db8:f::1/128", id="link-local"),
    ],
)
def test_better_address_is_shared(worse: Address6 | str, better: str) -> None:
    expected = IPv6Address(better.partition("/")[0])
    assert the_plan(sharing(worse, better)).clat_v6 == expected
    assert the_plan(sharing(better, worse)).clat_v6 == expected


def test_nothing_usable_is_said() -> None:
    assert the_reason(sharing(an_address("2001:db8:a::1/128", deprecated=True))) is Reason.NO_CLAT_ADDRESS


def test_address_in_use_is_kept_among_equals() -> None:
    first = the_plan(sharing("2001:db8:a::7/128"))
    later = replace(sharing("2001:db8:a::3/128", "2001:db8:a::7/128"), running=run_all(first))
    assert the_plan(later) == first


def test_renumbering_takes_the_new_address() -> None:
    first = the_plan(sharing("2001:db8:a::7/128"))
    world = sharing(an_address("2001:db8:a::7/128", deprecated=True), "2001:db8:f::7/128")
    plan = the_plan(replace(world, running=run_all(first)))
    assert plan.clat_v6 == IPv6Address("2001:db8:f::7")
    (verdict,) = decide(replace(world, running=run_all(first)), NOW)
    assert [kept.clat_v6 for kept in verdict.keep] == [first.clat_v6], "its connections go on"
