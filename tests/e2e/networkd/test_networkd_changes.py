# SPDX-License-Identifier: GPL-2.0-or-later
"""What changes on links of systemd-networkd: settings in its own files, prefixes, native IPv4, and the links."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import clat, flows
from tests.lab import trees
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.networkd import Networkd
from tests.lab.poll import eventually

DROP_IN = "20-up0.network.d/clatnm.conf"
OTHER = "2001:db8:64::/96"  # network A translates this one, too, and announces another
KNOWS_PREF64 = 255


def evidence(daemon: Daemon, key: str) -> str:
    return str(clat.connection(daemon)["evidence"].get(key))


def has_rule(host: Host) -> bool:
    """The rule that leads old connections into the translator."""
    return any(rule["priority"] == 5000 for rule in host.ip_json("-4", "rule"))


def test_settings_in_a_drop_in_hold_at_once(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    """networkd is not asked to read it; nor does one of before 257 say that it knows of any."""
    networkd.manage()
    clat.wait_on(daemon)
    networkd.write(DROP_IN, f"[X-Clatnm]\nPrefix={OTHER}\nBackend=tun\nPLATCheck=perhaps\n")

    def told() -> tuple[str, str, str]:
        found = clat.wait_on(daemon)
        return found["prefix"]["source"], found["translator"]["prefix"], found["translator"]["backend"]

    eventually(lambda: told() == ("static", OTHER, "tun"), message="the settings of the drop-in hold")
    clat.ping(clean_lab.host)
    (warning,) = [line for line in daemon.log().splitlines() if "X-Clatnm" in line]
    assert f"{DROP_IN}:4: [X-Clatnm] 'perhaps' is neither yes nor no; ignored" in warning
    networkd.write(DROP_IN, "[X-Clatnm]\nPrefix=\nMode=no\n")
    clat.wait_off(daemon, "opted-out")
    assert f"{DROP_IN}:3" in clean_lab.host.clatnm("explain", "up0").stdout
    networkd.write(DROP_IN, "")
    eventually(lambda: told()[0] == "ra", message="the router is believed again")
    clat.ping(clean_lab.host)


def test_prefix_of_dns64_alone(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    clean_lab.a.ra(pref64=[])
    networkd.manage()
    told = clat.wait_on(daemon, timeout_s=30)
    assert (told["prefix"]["source"], told["translator"]["prefix"]) == ("dns64", "64:ff9b::/96")
    clat.ping(clean_lab.host)


def test_native_ipv4_comes_and_goes_and_connections_live_through_a_restart_of_networkd(
    clean_lab: Lab, networkd: Networkd, daemon: Daemon
) -> None:
    """networkd removes all rules that are not its own when it starts; ours leads the older connections."""
    host = clean_lab.host
    networkd.manage()
    clat.wait_on(daemon)
    with flows.download(host, clat.INET) as before:
        before.further()
        clean_lab.a.dhcp4("on")
        networkd.manage(dhcp="ipv4")
        clat.wait_off(daemon, "native-ipv4", timeout_s=30)
        assert flows.source_of_new(host, clat.INET).startswith("192.168.1.")
        before.further()
        networkd.stop()
        host.ip("rule", "del", "priority", "5000")  # in case this networkd leaves it
        networkd.start()
        networkd.reconfigure()
        networkd.wait_configured()
        eventually(lambda: has_rule(host), message="the rule is back")
        clat.wait_off(daemon, "native-ipv4", timeout_s=30)
        before.further(timeout_s=30)
        networkd.manage()
        clat.wait_on(daemon, timeout_s=30)
        before.further(timeout_s=30)
        before.end()
    eventually(lambda: not has_rule(host), timeout_s=30, message="no rule is left")
    assert len(clat.translators(host)) == 1


def test_link_that_is_renamed_or_removed(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    host = clean_lab.host
    networkd.manage("wan0")
    networkd.manage()
    clat.wait_on(daemon)
    host.ip("link", "set", "up0", "down")
    host.ip("link", "set", "up0", "name", "wan0")
    host.ip("link", "set", "wan0", "up")
    told = clat.wait_on(daemon, "wan0", timeout_s=30)
    assert (told["name"], told["translator"]["device"]) == ("20-wan0", "clat-wan0")
    clat.ping(host)
    assert [item["interface"] for item in daemon.status()["connections"]] == ["wan0"]
    host.ip("link", "del", "wan0")
    eventually(lambda: daemon.status()["connections"] == [], message="there is no link any more")
    clat.wait_no_device(host, "wan0")
    assert clat.translators(host) == []


@pytest.fixture
def newer(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, Networkd]]:
    """A networkd that knows PREF64: the one that is tried, or else that of Debian 13."""
    lab: Lab = request.getfixturevalue("clean_lab")
    networkd: Networkd = request.getfixturevalue("networkd")
    if networkd.version >= KNOWS_PREF64:
        yield lab, networkd
        return
    reason = trees.why_not("trixie")
    if reason:
        pytest.skip(reason)
    with Lab(root=trees.tree("trixie")) as other:
        other.host.dad(False)
        with Networkd(other.host) as theirs:
            yield other, theirs


@pytest.mark.lab
def test_prefix_that_only_networkd_has_heard_is_used(newer: tuple[Lab, Networkd]) -> None:
    """With UsePREF64=. The default route leads to a nexthop object there."""
    lab, networkd = newer
    host = lab.host
    networkd.manage(extra="[IPv6AcceptRA]\nUsePREF64=yes\n")
    eventually(lambda: networkd.describe().get("NDisc"), message="networkd has heard the prefix")
    lab.a.ra_silent()
    daemon = host.daemon("-v")
    told = clat.wait_on(daemon)
    assert told["prefix"]["source"] == "manager"
    assert told["prefix"]["router"] == "fe80::1"
    assert 0 < told["prefix"]["lifetime_s"] <= 600
    clat.ping(host)
    assert "systemd-networkd knows 64:ff9b::/96" in host.clatnm("explain", "up0").stdout
    before = clat.translator(host)
    lab.a.ra_silent(False)
    eventually(lambda: clat.connection(daemon)["prefix"]["source"] == "ra", message="the router is believed more")
    assert clat.translator(host) == before
