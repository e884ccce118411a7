# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks whose routers tell no NAT64 prefix: it comes from their DNS64 (RFC 7050)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually


@pytest.fixture
def silent_lab(clean_lab: Lab) -> Lab:
    """Nobody announces a prefix in A or C; their DNS64 and NAT64 work."""
    for router in (clean_lab.a, clean_lab.c):
        router.ra(pref64=[])
    return clean_lab


def wait_source(joined: clat.Joined, source: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Wait until the CLAT runs with a prefix from there."""

    def check() -> dict[str, Any]:
        told = clat.connection(joined.daemon)
        assert told["state"] == "on" and told["prefix"]["source"] == source, told
        return told

    return eventually(check, timeout_s=timeout_s, message=f"CLAT with a prefix from {source}") or {}


def test_clat_is_up_with_the_prefix_of_the_dns64(silent_lab: Lab) -> None:
    joined = clat.join(silent_lab)
    told = wait_source(joined, "dns64")
    assert told["translator"]["prefix"] == "64:ff9b::/96"
    assert told["prefix"]["router"] in ("2001:db8:a::1", "fe80::1")
    assert 0 < told["prefix"]["lifetime_s"] <= 60
    clat.ping(joined.host)
    assert "64:ff9b::/96 from dns64" in joined.daemon.log()


def test_network_without_dns64_has_no_clat_until_it_has_one(silent_lab: Lab) -> None:
    silent_lab.a.dns("off")
    joined = clat.join(silent_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    silent_lab.a.dns("dns64")
    clat.wait_on(joined.daemon, timeout_s=60)
    clat.ping(joined.host)


def test_router_that_begins_to_announce_is_believed_and_falls_back_when_it_ends(silent_lab: Lab) -> None:
    joined = clat.join(silent_lab)
    wait_source(joined, "dns64")
    pid = clat.translator(joined.host)
    silent_lab.a.ra(pref64=[["64:ff9b::/96", 600]])
    wait_source(joined, "ra")
    silent_lab.a.ra(pref64=[["64:ff9b::/96", 0]])
    wait_source(joined, "dns64")
    clat.ping(joined.host)
    assert clat.translator(joined.host) == pid


def test_other_network_is_asked_anew(silent_lab: Lab) -> None:
    joined = clat.join(silent_lab)
    joined.host.plug("up0", "c")

    def there() -> bool:
        told = wait_source(joined, "dns64")
        return bool(told["translator"]["prefix"] == told["prefix"]["prefix"] == "2001:db8:64:0:c::/96")

    eventually(there, timeout_s=30, message="the prefix of C")
    eventually(lambda: clat.answers(joined.host), message="IPv4 works in C")
