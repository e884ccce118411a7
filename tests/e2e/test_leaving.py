# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever ends a translator, the host is afterwards as it was before."""

from __future__ import annotations

import os
import signal

import pytest

from clatnm.translators.estate import PATIENCE_S
from tests.e2e import clat
from tests.e2e.outliving import wait_entrusted
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.snapshot import HostState

KERNELS_RULES = 3
"""Those of tables local, main and default."""


def connected(lab: Lab) -> HostState:
    """Join A without clatnm; the state to come back to."""
    lab.host.dad(False)
    lab.host.add_profile("netA", "up0")
    lab.host.up("netA")
    eventually(lab.host.has_ipv6, message="IPv6 in A")
    return lab.host.snapshot()


def with_clat(lab: Lab) -> clat.Joined:
    """Start the daemon and see IPv4 work."""
    daemon = lab.host.daemon("-v")
    clat.wait_on(daemon)
    clat.ping(lab.host)
    return clat.Joined(lab, lab.host, daemon)


def assert_as_before(lab: Lab, before: HostState) -> None:
    """The host has nothing more and nothing less than in `before`."""

    def same() -> bool:
        difference = before.diff(lab.host.snapshot())
        assert not difference, difference
        return True

    eventually(same, message="the host as before")
    assert not clat.answers(lab.host)


def test_prefix_lifetime_0_ends_it(clean_lab: Lab) -> None:
    clean_lab.a.dns("plain")
    before = connected(clean_lab)
    joined = with_clat(clean_lab)
    clean_lab.a.ra(pref64=[["64:ff9b::/96", 0]])
    clat.wait_off(joined.daemon, "no-pref64")
    assert_as_before(clean_lab, before)


def test_prefix_of_a_silent_router_expires(clean_lab: Lab) -> None:
    clean_lab.a.dns("plain")
    clean_lab.a.ra(pref64=[["64:ff9b::/96", 8]])
    before = connected(clean_lab)
    joined = with_clat(clean_lab)
    clean_lab.a.ra_silent()
    clat.wait_off(joined.daemon, "no-pref64", timeout_s=12)
    assert_as_before(clean_lab, before)


def test_router_lifetime_0_ends_it(clean_lab: Lab) -> None:
    connected(clean_lab)
    joined = with_clat(clean_lab)
    clean_lab.a.ra(lifetime=0)
    clat.wait_off(joined.daemon, "no-ipv6")
    clat.wait_no_device(clean_lab.host)


def test_toggle_no_ends_it(clean_lab: Lab) -> None:
    before = connected(clean_lab)
    joined = with_clat(clean_lab)
    clean_lab.host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    assert_as_before(clean_lab, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_signal_to_the_daemon_ends_everything(clean_lab: Lab, number: int) -> None:
    before = connected(clean_lab)
    joined = with_clat(clean_lab)
    joined.daemon.signal(number)
    assert joined.daemon.wait() == 0
    assert "clat-up0" not in clat.devices(clean_lab.host)
    assert_as_before(clean_lab, before)


def test_killed_daemon_leaves_no_route_to_nowhere(clean_lab: Lab) -> None:
    """Its translator works for as long as another one may come, and then is gone."""
    before = connected(clean_lab)
    joined = with_clat(clean_lab)
    wait_entrusted(clean_lab.host)
    joined.daemon.kill()
    clat.ping(clean_lab.host)
    clat.wait_no_device(clean_lab.host, timeout_s=PATIENCE_S + 10)
    assert_as_before(clean_lab, before)


def test_killed_translator_is_started_again(clean_lab: Lab) -> None:
    connected(clean_lab)
    joined = with_clat(clean_lab)
    first = clat.translator(clean_lab.host)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: clat.translator(clean_lab.host) != first, message="another translator")
    clat.wait_on(joined.daemon)
    clat.ping(clean_lab.host)
    warnings = [line for line in joined.daemon.log().splitlines() if "signal 9" in line]
    assert len(warnings) == 1


def test_connection_down_ends_it(clean_lab: Lab) -> None:
    connected(clean_lab)
    clean_lab.host.down("netA")
    before = clean_lab.host.snapshot()
    clean_lab.host.up("netA")
    joined = with_clat(clean_lab)
    clean_lab.host.down("netA")
    eventually(lambda: not joined.daemon.status()["connections"], message="no connection any more")
    assert_as_before(clean_lab, before)


def test_late_native_ipv4_ends_it(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab, ipv4="auto")
    clat.ping(joined.host)
    clean_lab.a.dhcp4("on")
    clat.wait_off(joined.daemon, "native-ipv4", timeout_s=60)
    clat.wait_no_device(joined.host)
    clat.ping(joined.host)
    eventually(lambda: len(joined.host.ip_json("-4", "rule")) == KERNELS_RULES, message="its rule is gone too")
    here = joined.host.snapshot()
    joined.daemon.stop()
    assert not here.diff(joined.host.snapshot())


def test_native_ipv4_that_leaves_brings_it_back(clean_lab: Lab) -> None:
    clean_lab.a.dhcp4("on")
    joined = clat.join(clean_lab, ipv4="auto", wait=False)
    clat.wait_off(joined.daemon, "native-ipv4")
    joined.host.ip("-4", "route", "flush", "dev", "up0")
    joined.host.ip("-4", "addr", "flush", "dev", "up0")
    clat.wait_on(joined.daemon)
    clat.ping(joined.host)


def test_device_removed_by_somebody_is_put_up_again(clean_lab: Lab) -> None:
    connected(clean_lab)
    joined = with_clat(clean_lab)
    first = clat.translator(clean_lab.host)
    clean_lab.host.ip("link", "del", "clat-up0")
    eventually(lambda: clat.translator(clean_lab.host) != first, message="another translator")
    clat.wait_on(joined.daemon)
    clat.ping(clean_lab.host)
