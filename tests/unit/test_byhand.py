# SPDX-License-Identifier: GPL-2.0-or-later
"""What `clatnm translate` refuses before it begins."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from clatnm import byhand
from clatnm.errors import ConfigError
from clatnm.model import Choices
from tests.unit.policy.test_static_rules import SOME
from tests.unit.policy.worlds import a_link


def wish(**choices: object) -> byhand.Wish:
    return byhand.Wish(
        uplink="eth0",
        prefix=IPv6Network("2001:db8:46::/96"),
        choices=Choices(**choices),  # type: ignore[arg-type]
    )


def test_relay_does_not_speak_with_an_address_of_the_host() -> None:
    links = {"eth0": a_link("eth0", ipv6=("fe80::5/64", "2001:db8:a::5/64"))}
    byhand._check(wish(relay=SOME, clat_v6=IPv6Address("2001:db8:a::6")), links)
    byhand._check(wish(clat_v6=IPv6Address("2001:db8:a::5")), links)  # a CLAT may share it
    with pytest.raises(ConfigError, match="2001:db8:a::5 is an address of eth0, and an Edge Relay shares none"):
        byhand._check(wish(relay=SOME, clat_v6=IPv6Address("2001:db8:a::5")), links)
