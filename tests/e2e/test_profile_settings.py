# SPDX-License-Identifier: GPL-2.0-or-later
"""What a profile says of IPv4 for reasons of its own, and connections that have no profile of anybody's."""

from __future__ import annotations

import pytest

from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually


def default_metric(host: Host) -> int | None:
    """The metric of the only IPv4 default route."""
    routes = host.ip_json("-4", "route", "show", "default")
    assert len(routes) <= 1, routes
    return int(routes[0].get("metric", 0)) if routes else None


def test_never_default_means_no_clat_unless_forced(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    pid = clat.translator(joined.host)
    joined.host.modify("netA", {"ipv4.never-default": "yes"})
    clat.wait_off(joined.daemon, "never-default")
    clat.wait_no_device(joined.host)
    assert "ipv4.never-default no" in joined.host.clatnm("explain", "up0").stdout
    assert default_metric(joined.host) is None
    joined.host.clatnm("set", "netA", "force")
    clat.wait_on(joined.daemon)
    clat.ping(joined.host)
    joined.host.clatnm("set", "netA", "auto")
    clat.wait_off(joined.daemon, "never-default")
    joined.host.modify("netA", {"ipv4.never-default": "no"})
    clat.wait_on(joined.daemon)
    assert clat.translator(joined.host) != pid


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, 150, id="none"),
        pytest.param({"ipv6.route-metric": 300}, 350, id="ipv6"),
        pytest.param({"ipv4.route-metric": 20}, 70, id="ipv4"),
        pytest.param({"ipv4.route-metric": 700, "ipv6.route-metric": 300}, 750, id="both"),
    ],
)
def test_metric_follows_the_profiles(quick_lab: Lab, settings: dict[str, int], expected: int) -> None:
    host = quick_lab.host
    daemon = host.daemon("-v")
    host.add_profile("netA", "up0", settings)
    host.up("netA")
    told = clat.wait_on(daemon)
    assert (told["translator"]["metric"], default_metric(host)) == (expected, expected)


def test_metric_that_changes_is_followed_without_a_restart(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    pid = clat.translator(joined.host)
    joined.host.modify("netA", {"ipv4.route-metric": 20})
    eventually(lambda: default_metric(joined.host) == 70, message="the metric of the profile")
    clat.ping(joined.host)
    assert clat.translator(joined.host) == pid


def test_connections_come_in_the_order_that_their_profiles_want(quick_lab: Lab) -> None:
    """Two IPv6-only networks: the better one for IPv4 is the one with the better `ipv4.route-metric`."""
    host = quick_lab.host
    host.plug("up1", "c")
    daemon = host.daemon("-v")
    host.add_profile("netA", "up0", {"ipv4.route-metric": 500})
    host.add_profile("netC", "up1", {"ipv4.route-metric": 400})
    host.up("netA")
    host.up("netC")
    clat.wait_on(daemon, "up0")
    clat.wait_on(daemon, "up1")
    assert "dev clat-up1 " in host.ip("route", "get", clat.INET)
    host.modify("netC", {"ipv4.route-metric": 600})
    eventually(lambda: "dev clat-up0 " in host.ip("route", "get", clat.INET), message="A is the better one now")
    clat.ping(host)


def test_profile_that_insists_on_ipv4_is_translated_while_it_waits_and_explained(quick_lab: Lab) -> None:
    """NetworkManager waits for DHCPv4, gives up, and may try again: that is its decision."""
    host = quick_lab.host
    daemon = host.daemon("-v")
    host.add_profile("netA", "up0", {"ipv4.may-fail": "no", "ipv4.dhcp-timeout": 8}, ipv4_method="auto")
    host.up("netA", wait_s=0)
    clat.wait_on(daemon)
    clat.ping(host)
    assert "ipv4.may-fail" in host.clatnm("explain", "up0").stdout
    assert host.device_state("up0") < 100
    clat.wait_no_device(host, timeout_s=40)
    assert host.device_state("up0") != 100


def test_connection_that_others_configured_is_translated_and_left_as_it_is(quick_lab: Lab) -> None:
    """A bridge of somebody's, which NetworkManager shows as external, with a profile in memory alone."""
    host, switch = quick_lab.host, quick_lab.switch
    daemon = host.daemon("-v")
    host.ip("link", "add", "ext0", "type", "veth", "peer", "name", "x0", "netns", switch.netns)
    switch.ip("link", "set", "x0", "master", "brC", "up")
    host.sysctl(ipv6__conf__default__accept_dad=0)
    host.ip("-batch", "-", stdin="link add br0 type bridge\nlink set ext0 master br0 up\nlink set br0 up\n")
    host.ip("addr", "add", "2001:db8:c::77/64", "dev", "br0", "nodad")
    host.ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "br0", "metric", "100")
    eventually(lambda: "external" in state_of(host, "br0"), message="NetworkManager shows it as external")
    told = clat.wait_on(daemon, "br0")
    assert told["prefix"]["prefix"] == "2001:db8:64:0:c::/96"
    clat.ping(host)
    assert "external" in state_of(host, "br0")
    assert "/etc/" not in host.nmcli("-t", "-f", "FILENAME", "connection", "show").stdout


def state_of(host: Host, device: str) -> str:
    return host.nmcli("-g", "GENERAL.STATE", "device", "show", device).stdout
