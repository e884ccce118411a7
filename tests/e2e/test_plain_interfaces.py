# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces without a network manager: configured by the kernel, by hand or by dhcpcd, and named in clatnm.conf."""

from __future__ import annotations

import shutil

import pytest

from tests.e2e import clat, plain
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.namespace import SYSTEM_PATH
from tests.lab.poll import eventually

RELOAD = ("org.clatnm1", "/org/clatnm1", "org.clatnm1.Manager", "Reload")
NATIVE, GATEWAY = "192.168.1.77/24", "192.168.1.1"


@pytest.fixture
def host(clean_lab: Lab) -> Host:
    """No NetworkManager runs, and the kernel brings up0 up in network A."""
    clean_lab.host.nm_stop()
    plain.bring_up(clean_lab.host)
    return clean_lab.host


def started(host: Host) -> Daemon:
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    return daemon


def test_interface_of_the_kernel_has_ipv4_once_it_is_named(host: Host) -> None:
    daemon = started(host)
    eventually(host.has_ipv6, message="the kernel has configured up0")
    assert plain.followed(daemon) == {}
    told = host.clatnm("explain", "up0").stdout
    assert "up0 has no CLAT: nobody manages it, neither NetworkManager nor systemd-networkd" in told
    assert "`interfaces = up0` in /etc/clatnm/clatnm.conf" in told
    plain.configure(host, "interfaces = up*", daemon)
    found = clat.wait_on(daemon)
    assert (found["manager"], found["name"], found["prefix"]["source"]) == ("nobody", "up0", "ra")
    clat.ping(host)
    clat.download(host, clat.MIB)
    plain.configure_one(host, "up0", "mode = no", daemon)
    clat.wait_off(daemon, "opted-out")
    assert "`mode = auto` in /etc/clatnm/connections.d/up0.conf" in host.clatnm("explain", "up0").stdout
    plain.configure_one(host, "up0", "prefix = 2001:db8:64::/96", daemon)
    assert clat.wait_on(daemon)["prefix"]["source"] == "static"
    clat.ping(host)
    plain.configure(host, "interfaces = none")
    refused = host.run("busctl", "call", *RELOAD)
    assert "connections.d/up0.conf: the name is not the UUID of a connection" in refused.stdout
    assert clat.connection(daemon)["state"] == "on"
    plain.forget_one(host, "up0", daemon)
    eventually(lambda: plain.followed(daemon) == {}, message="nobody follows up0 any more")
    clat.wait_no_device(host)


def test_native_ipv4_by_hand_comes_and_goes_and_so_does_the_carrier(host: Host) -> None:
    plain.configure(host, "interfaces = up0")
    daemon = started(host)
    clat.wait_on(daemon)
    host.ip("addr", "add", NATIVE, "dev", "up0")
    host.ip("route", "add", "default", "via", GATEWAY, "dev", "up0")
    clat.wait_off(daemon, "native-ipv4")
    clat.ping(host)
    host.ip("route", "del", "default", "dev", "up0")
    clat.wait_on(daemon)
    clat.ping(host)
    host.carrier("up0", False)
    clat.wait_no_device(host)
    host.carrier("up0", True)
    clat.wait_on(daemon)
    clat.ping(host)
    host.plug("up0", "c")
    eventually(
        lambda: clat.wait_on(daemon)["translator"]["prefix"] == "2001:db8:64:0:c::/96",
        timeout_s=30,
        message="the CLAT of network C",
    )


def test_resolvers_of_the_machine_are_asked_where_routers_say_nothing(clean_lab: Lab, host: Host) -> None:
    clean_lab.a.ra(pref64=[], rdnss=[])
    plain.bring_up(host)
    resolv_conf = host.path(plain.RESOLV_CONF)
    resolv_conf.write_text("nameserver 127.0.0.53\n")
    plain.configure(host, "interfaces = up0")
    daemon = started(host)
    clat.wait_off(daemon, "no-pref64", timeout_s=30)
    resolv_conf.write_text("nameserver 2001:db8:a::1\n")
    assert clat.wait_on(daemon, timeout_s=30)["prefix"]["source"] == "dns64"
    clat.ping(host)


def test_interface_belongs_to_its_manager_as_long_as_that_manages_it(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.dad(False)
    host.nmcli("device", "set", "up1", "managed", "no")
    host.plug("up1", "c")
    plain.bring_up(host, "up1")
    plain.configure(host, "interfaces = up0 up1")
    daemon = started(host)
    assert clat.wait_on(daemon, "up1")["translator"]["prefix"] == "2001:db8:64:0:c::/96"
    assert plain.followed(daemon) == {"up1": "nobody"}, "up0 is NetworkManager's, though idle"
    assert "NetworkManager manages it, but no connection" in host.clatnm("explain", "up0").stdout
    host.add_profile("netA", "up0")
    host.up("netA")
    clat.wait_on(daemon)
    assert plain.followed(daemon) == {"up0": "NetworkManager", "up1": "nobody"}
    host.nmcli("device", "set", "up1", "managed", "yes")
    host.add_profile("netC", "up1")
    host.up("netC")
    eventually(lambda: plain.followed(daemon).get("up1") == "NetworkManager", message="up1 is NetworkManager's")
    clat.wait_on(daemon, "up1")
    clat.ping(host, clat.INET, "-I", "clat-up1")


def test_machine_without_a_bus_has_ipv4(host: Host) -> None:
    """A container, or an initramfs."""
    host.bus_stop()
    plain.configure(host, "interfaces = up0")
    daemon = host.daemon("-v")
    eventually(lambda: "up0: CLAT up" in daemon.log(), message="the CLAT is up")
    clat.ping(host)
    assert daemon.log().count("bus") < 5, "it does not complain again and again"


def test_interface_of_dhcpcd_has_ipv4_and_leaves_the_work_to_its_lease(clean_lab: Lab, host: Host) -> None:
    if not shutil.which("dhcpcd", path=SYSTEM_PATH):
        pytest.skip("needs dhcpcd (package dhcpcd-base)")
    host.sysctl(ipv6__conf__up0__accept_ra=0)
    host.ip("addr", "flush", "dev", "up0")
    host.path("/etc/dhcpcd.conf").write_text("noipv4ll\nnohook resolv.conf\n")
    host.popen("dhcpcd", "--nobackground", "up0")
    plain.configure(host, "interfaces = up0")
    daemon = started(host)
    assert clat.wait_on(daemon, timeout_s=30)["manager"] == "nobody"
    clat.ping(host)
    clean_lab.a.dhcp4("on")
    clat.wait_off(daemon, "native-ipv4", timeout_s=60)
    clat.ping(host)
