# SPDX-License-Identifier: GPL-2.0-or-later
"""How IPv4 is, told from the daemon's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.desktop.state import Kind, networks, of_machine
from clatnm.model import Reason
from tests.unit.desktop import desktop_told as told

KINDS: dict[str, tuple[dict[str, Any], Kind]] = {
    "translated": (told.on(), Kind.NAT64),
    "forced-beside-native": (told.on(evidence={"ipv4": "native"}), Kind.NATIVE),
    "starting": (told.connection("starting", prefix=told.PREFIX), Kind.STARTING),
    "wanted-not-begun": (told.connection(prefix=told.PREFIX), Kind.STARTING),
    "drains-beside-native": (told.connection("draining", "native-ipv4"), Kind.NATIVE),
    "manager-may-translate": (
        told.connection("off", "manager-translates", evidence={"manager-clat": "expected"}),
        Kind.STARTING,
    ),
    "manager-translates": (
        told.connection("off", "manager-translates", evidence={"manager-clat": "192.0.0.5"}),
        Kind.NAT64,
    ),
    "still-asking": (told.connection("off", "no-pref64", evidence={"asking": "dns64"}), Kind.STARTING),
    "no-nat64": (told.without_nat64(), Kind.NONE),
    "failed-once": (told.connection("off", "backing-off", failures=1), Kind.STARTING),
    "fails-always": (told.connection("off", "backing-off", failures=3), Kind.NONE),
    "tries-after-many-failures": (told.connection("starting", failures=7), Kind.NONE),
    "runs-after-many-failures": (told.on(failures=7), Kind.NAT64),
    "reason-of-a-newer-daemon": (told.connection("off", "moon-in-the-way"), Kind.OFF),
}


@pytest.mark.parametrize(("said", "kind"), KINDS.values(), ids=KINDS)
def test_state_of_ipv4_is_told_from_the_connection(said: dict[str, Any], kind: Kind) -> None:
    (network,) = networks(told.status(said))
    assert network.kind is kind


def test_every_reason_has_its_state() -> None:
    found = {reason: networks(told.status(told.connection("off", str(reason))))[0].kind for reason in Reason}
    assert {reason for reason, kind in found.items() if kind is Kind.NONE} == {
        Reason.VPN_WITHOUT_IPV4,
        Reason.NO_PREF64,
        Reason.PLAT_UNREACHABLE,
        Reason.NO_CLAT_ADDRESS,
        Reason.NO_TRANSLATOR,
    }
    assert {reason for reason, kind in found.items() if kind is Kind.OFF} == {
        Reason.NOT_AN_UPLINK,
        Reason.OPTED_OUT,
        Reason.OTHER_TRANSLATOR,
        Reason.NO_IPV6,
        Reason.NEVER_DEFAULT,
    }


def test_texts_are_kept_and_the_rest_of_the_evidence_is_not() -> None:
    """What changes each second must not look like another state."""
    first, second = (networks(told.status(told.on(evidence={"left": left}))) for left in ("598s", "597s"))
    assert first == second
    (network,) = first
    assert (network.name, network.interface, network.prefix) == ("Cafe", "wlan0", told.PREFIX)


def test_prefix_is_the_translators_where_the_network_no_longer_tells_one() -> None:
    (network,) = networks(told.status(told.connection("on", translator={"prefix": "2001:db8:64::/96"})))
    assert network.prefix == "2001:db8:64::/96"


MACHINES: dict[str, tuple[tuple[dict[str, Any], ...], Kind | None]] = {
    "nothing": ((), None),
    "ipv4-on-one-is-ipv4": ((told.without_nat64(), told.native()), Kind.NATIVE),
    "nat64-is-worth-showing": ((told.native(), told.on()), Kind.NAT64),
    "not-known-yet": ((told.without_nat64(), told.connection("starting")), Kind.STARTING),
    "none": ((told.connection("off", "not-an-uplink"), told.without_nat64()), Kind.NONE),
}


@pytest.mark.parametrize(("said", "kind"), MACHINES.values(), ids=MACHINES)
def test_machine_has_what_its_best_connection_has(said: tuple[dict[str, Any], ...], kind: Kind | None) -> None:
    chosen = of_machine(networks(told.status(*said)))
    assert (chosen and chosen.kind) == kind


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(told.on())), inner),
    max_leaves=12,
)


@given(anything)
def test_answer_of_any_form_is_read(said: Any) -> None:
    assert isinstance(networks(said), tuple)


@given(st.dictionaries(st.sampled_from(list(told.on())), anything))
def test_connection_of_any_form_is_read(changes: dict[str, Any]) -> None:
    (network,) = networks({"connections": [{**told.on(), **changes}]})
    assert isinstance(network.kind, Kind)
    assert len(network.name) <= 200
