# SPDX-License-Identifier: GPL-2.0-or-later
"""The mode of a connection where NetworkManager has a CLAT of its own (1.58): one word for both; or ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import clat, toggle
from tests.e2e.native.test_native_clat import native_is_on, start_daemon, wait_native, wait_ours
from tests.e2e.native.witness import Witness
from tests.lab import Lab, eventually
from tests.lab.fixtures import running_lab

NATIVE, OURS, NOBODY = frozenset({"up0"}), frozenset({"clat-up0"}), frozenset[str]()
STAYS = "NetworkManager's own CLAT stays on up0 until it is activated again, or: nmcli device reapply up0\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from running_lab("forky")


def test_no_of_networkmanager_holds_for_us_and_the_option_goes_before_it(quick_lab: Lab) -> None:
    host, daemon = quick_lab.host, start_daemon(quick_lab.host)
    witness = Witness(quick_lab)
    host.add_profile("netA", "up0", ipv4_method="auto", ipv4_clat="no")
    host.up("netA")
    clat.wait_off(daemon, "opted-out")
    assert toggle.facts(host) == [("mode", "no", "ipv4.clat")]
    toggle.token(host, 1)
    wait_ours(quick_lab, daemon)
    assert toggle.facts(host) == [("mode", "auto", "ipv6.dns-options"), ("mode, overruled", "no", "ipv4.clat")]
    assert witness.history() == [OURS]


def test_auto_by_set_hands_over_to_networkmanager_when_it_is_activated_next(quick_lab: Lab) -> None:
    host, daemon = quick_lab.host, start_daemon(quick_lab.host)
    host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nmode = no\n")
    host.run("kill", "-HUP", str(daemon.pid))
    host.add_profile("netA", "up0", ipv4_method="auto")
    host.up("netA")
    clat.wait_off(daemon, "opted-out")
    witness = Witness(quick_lab)
    host.clatnm("set", "netA", "auto")
    wait_ours(quick_lab, daemon)
    host.down("netA")
    clat.wait_no_device(host)
    host.up("netA")
    wait_native(quick_lab, daemon)
    assert witness.history() == [OURS, NOBODY, NATIVE]


def test_no_by_set_says_that_networkmanager_goes_on_until_it_is_told(quick_lab: Lab) -> None:
    host, daemon = quick_lab.host, start_daemon(quick_lab.host)
    host.add_profile("netA", "up0", ipv4_method="auto", ipv4_clat="auto")
    host.up("netA")
    wait_native(quick_lab, daemon)
    witness = Witness(quick_lab)
    assert host.clatnm("set", "netA", "no").stderr == STAYS
    clat.wait_off(daemon, "opted-out")
    clat.ping(host)
    host.nmcli("device", "reapply", "up0")
    eventually(lambda: not native_is_on(host), message="NetworkManager's CLAT is down")
    clat.wait_off(daemon, "opted-out")
    assert host.clatnm("set", "netA", "force").stderr == ""
    wait_ours(quick_lab, daemon)
    assert witness.history() == [OURS]  # and NetworkManager's went before it


def test_auto_of_networkmanager_is_ours_to_do_where_its_own_cannot(quick_lab: Lab) -> None:
    # It knows prefixes from routers alone.
    quick_lab.a.ra(pref64=[])
    host, daemon = quick_lab.host, start_daemon(quick_lab.host)
    host.clatnm("set", "--default", "no")
    host.add_profile("netA", "up0", ipv4_method="auto", ipv4_clat="auto")
    witness = Witness(quick_lab)
    host.up("netA")
    wait_ours(quick_lab, daemon)
    assert toggle.facts(host) == [
        ("mode", "auto", "ipv4.clat"),
        ("mode, overruled", "no", "/etc/clatnm/clatnm.conf"),
    ]
    assert witness.history() == [OURS]
