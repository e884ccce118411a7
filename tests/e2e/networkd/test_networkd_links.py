# SPDX-License-Identifier: GPL-2.0-or-later
"""A host whose network systemd-networkd manages, alone or beside NetworkManager."""

from __future__ import annotations

from tests.e2e import clat
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.networkd import Networkd
from tests.lab.poll import eventually

OPTED_OUT = "[X-Clatnm]\nMode=no\n"


def test_host_of_networkd_has_ipv4(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    networkd.manage()
    told = clat.wait_on(daemon)
    assert (told["manager"], told["name"]) == ("systemd-networkd", "20-up0")
    clat.ping(clean_lab.host)
    assert [item["interface"] for item in daemon.status()["connections"]] == ["up0"]


def test_daemon_that_starts_later_finds_the_links(clean_lab: Lab, networkd: Networkd) -> None:
    networkd.manage()
    eventually(clean_lab.host.has_ipv6, message="networkd has brought up0 up")
    clat.wait_on(clean_lab.host.daemon("-v"))
    clat.ping(clean_lab.host)


def test_mode_in_a_drop_in_turns_it_off_and_on(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    networkd.manage()
    clat.wait_on(daemon)
    dropin = networkd.write("20-up0.network.d/clatnm.conf", OPTED_OUT)
    networkd.reload()
    clat.wait_off(daemon, "opted-out")
    clat.wait_no_device(clean_lab.host)
    dropin.unlink()
    networkd.reload()
    clat.wait_on(daemon)
    clat.ping(clean_lab.host)


def test_mode_counts_before_networkd_reads_it(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    path = networkd.manage()
    clat.wait_on(daemon)
    path.write_text(path.read_text() + OPTED_OUT)
    clat.wait_off(daemon, "opted-out")


def test_restart_of_networkd_leaves_the_translator_alone(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    host = clean_lab.host
    networkd.manage()
    clat.wait_on(daemon)
    before = clat.translator(host)
    networkd.stop()
    clat.ping(host)
    networkd.start()
    # It has read everything again when something new is known.
    networkd.manage("up1")
    eventually(lambda: clat.connection(daemon, "up1"), message="up1 is known")
    told = clat.wait_on(daemon)
    assert told["manager"] == "systemd-networkd"
    clat.ping(host)
    assert clat.translator(host) == before


def test_reconfigured_link_has_ipv4_again(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    """networkd takes its addresses away and gets them anew."""
    networkd.manage()
    clat.wait_on(daemon)
    networkd.manage(extra="[Network]\nDNS=2001:db8:100::10\n")

    def configured() -> bool:
        told = networkd.describe()
        return len(told.get("DNS", ())) == 2 and told["OperationalState"] == "routable"

    eventually(configured, message="networkd has configured up0 again")
    clat.wait_on(daemon)
    clat.ping(clean_lab.host)
    assert len(clat.translators(clean_lab.host)) == 1


def test_carrier_flap_and_another_network(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    host = clean_lab.host
    networkd.manage(dhcp="ipv4")
    clat.wait_on(daemon)
    host.carrier("up0", False)
    clat.wait_no_device(host)
    host.carrier("up0", True)
    clat.wait_on(daemon)
    clat.ping(host)
    host.plug("up0", "b")
    clat.wait_off(daemon, "native-ipv4", timeout_s=30)
    clat.ping(host)
    host.plug("up0", "c")
    told = clat.wait_on(daemon, timeout_s=30)
    assert told["translator"]["prefix"] == "2001:db8:64:0:c::/96"


def test_link_that_networkd_gives_up_is_no_uplink(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    path = networkd.manage()
    clat.wait_on(daemon)
    path.unlink()
    networkd.reload()
    eventually(lambda: daemon.status()["connections"] == [], message="nobody manages up0")
    clat.wait_no_device(clean_lab.host)


def test_networkmanager_beside_networkd_changes_nothing(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    """NetworkManager shows networkd's links as connected externally, with profiles it has made up."""
    host = clean_lab.host
    networkd.manage()
    clat.wait_on(daemon)
    before = clat.translator(host)
    host.nm_start()
    eventually(lambda: "externally" in host.nmcli("device").stdout, message="NetworkManager has seen up0")
    host.add_profile("netB", "up1", ipv4_method="auto")
    host.plug("up1", "b")
    host.up("netB")
    clat.wait_off(daemon, "native-ipv4", "up1")
    assert clat.connection(daemon, "up1")["manager"] == "NetworkManager"
    assert clat.wait_on(daemon)["manager"] == "systemd-networkd"
    assert clat.translator(host) == before
    host.nm_stop()
    clat.ping(host)
