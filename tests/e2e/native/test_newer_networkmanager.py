# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon beside newer NetworkManagers than this machine's, from Debian trees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.lab import Lab
from tests.lab.fixtures import running_lab

VERSIONS = {"trixie": (1, 52), "forky": (1, 58)}


@pytest.fixture(scope="module", params=list(VERSIONS))
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    for lab in running_lab(request.param):
        version = lab.host.nmcli("-g", "VERSION", "general").stdout.strip()
        assert tuple(map(int, version.split(".")[:2])) >= VERSIONS[request.param]
        yield lab


@pytest.mark.parametrize("ipv4", ["disabled", "auto"])
def test_ipv4_works_on_an_ipv6_only_network(quick_lab: Lab, ipv4: str) -> None:
    joined = clat.join(quick_lab, ipv4=ipv4)
    clat.ping(joined.host)
    clat.download(joined.host, clat.MIB)
    clat.udp_echo(joined.host, 1200)


def test_devices_of_ours_are_left_alone(quick_lab: Lab) -> None:
    host = clat.join(quick_lab).host
    assert host.device_state("clat-up0") == 10  # unmanaged


def test_mode_in_the_profile_is_obeyed_at_once(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    joined.host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    clat.wait_no_device(joined.host)
    joined.host.clatnm("set", "netA", "auto")
    clat.wait_on(joined.daemon)
    clat.ping(joined.host)


def test_connection_that_goes_down_takes_the_clat_with_it(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    joined.host.down("netA")
    clat.wait_no_device(joined.host)
    joined.host.up("netA")
    clat.wait_on(joined.daemon)
    clat.ping(joined.host)


def test_restart_of_networkmanager_keeps_the_clat(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    pid = clat.translator(joined.host)
    joined.host.nm_stop()
    joined.host.nm_start()
    clat.wait_on(joined.daemon)
    assert clat.translator(joined.host) == pid
    clat.ping(joined.host)
