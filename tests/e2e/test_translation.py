# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4 works on an IPv6-only network that a real NetworkManager joined, and only there."""

from __future__ import annotations

import os
import signal

import pytest

from clatnm.translators.backends import BACKENDS
from clatnm.worker import privileges, syscalls
from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually


@pytest.fixture
def joined(clean_lab: Lab) -> clat.Joined:
    return clat.join(clean_lab)


# TAYGA refuses the lab's addresses behind 64:ff9b::/96: see test_tayga.py.
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "tayga"])
def test_each_backend_carries_everything(clean_lab: Lab, backend: str) -> None:
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\n")
    joined = clat.join(clean_lab)
    assert clat.connection(joined.daemon)["translator"]["backend"] == backend
    clat.ping(joined.host)
    clat.udp_echo(joined.host, 1, 1400, 4000)
    clat.download(joined.host, 8 * clat.MIB)
    clat.upload(joined.host, 8 * clat.MIB)
    counters = clat.connection(joined.daemon)["translator"]["counters"]
    for direction in ("ipv4_to_ipv6", "ipv6_to_ipv4"):
        packets = {name: row["packets"] for name, row in counters[direction]["protocols"].items()}
        assert packets.keys() >= {"tcp", "udp", "icmp"}, packets
        assert counters[direction]["fast"] > counters[direction]["slow"] > 0


def test_ipv4_literals_answer_on_an_ipv6_only_network(joined: clat.Joined) -> None:
    host = joined.host
    clat.ping(host)
    clat.ping(host, clat.INET, "-s", "1400")
    clat.udp_echo(host, 1, 64, 1200, 1400)
    clat.download(host, 8 * clat.MIB)
    clat.upload(host, 8 * clat.MIB)


def test_status_tells_everything(joined: clat.Joined) -> None:
    clat.ping(joined.host)
    told = clat.connection(joined.daemon)
    assert told["name"] == "netA"
    assert told["mode"] == "auto"
    assert told["evidence"]["ipv4"] == "disabled"
    assert told["prefix"]["prefix"] == "64:ff9b::/96"
    assert told["prefix"]["source"] == "ra"
    assert told["prefix"]["router"] == "fe80::1"
    assert 0 < told["prefix"]["lifetime_s"] <= 600
    translator = told["translator"]
    assert translator["device"] == "clat-up0"
    assert translator["clat_v4"].startswith("192.0.0.")
    assert translator["clat_v6"].startswith("2001:db8:a:")
    assert (translator["ipv4_mtu_bytes"], translator["ipv6_mtu_bytes"]) == (1472, 1500)
    assert translator["counters"]
    text = joined.host.clatnm("status").stdout
    assert "CLAT on" in text
    assert "64:ff9b::/96 from ra" in text


def test_applications_never_use_the_clat_address(joined: clat.Joined) -> None:
    clat_v6 = clat.connection(joined.daemon)["translator"]["clat_v6"]
    assert clat_v6 not in {str(address.ip) for address in joined.host.addresses("up0")}
    assert clat_v6 not in joined.host.ip("-6", "route", "get", "64:ff9b::1")


def test_clat_address_stays_the_same_when_joining_again(joined: clat.Joined) -> None:
    first = clat.connection(joined.daemon)["translator"]["clat_v6"]
    joined.host.down("netA")
    clat.wait_no_device(joined.host)
    joined.host.up("netA")
    assert clat.wait_on(joined.daemon)["translator"]["clat_v6"] == first


def test_a_used_ipv4_address_is_skipped(clean_lab: Lab) -> None:
    used = [f"192.0.0.{last}/32" for last in (4, 3, 6)]
    for address in used:
        clean_lab.host.ip("addr", "add", address, "dev", "lo")
    try:
        joined = clat.join(clean_lab)
        assert clat.connection(joined.daemon)["translator"]["clat_v4"] == "192.0.0.7"
        clat.ping(joined.host)
    finally:
        for address in used:
            clean_lab.host.ip("addr", "del", address, "dev", "lo")


def test_networkmanager_leaves_the_device_alone(joined: clat.Joined) -> None:
    rows = joined.host.nmcli("-t", "-f", "DEVICE,STATE", "device").stdout.split()
    assert "clat-up0:unmanaged" in rows


def test_the_only_evidence_line_is_one(joined: clat.Joined) -> None:
    lines = [line for line in joined.daemon.log().splitlines() if line.startswith("up0: CLAT up")]
    assert len(lines) == 1
    assert "64:ff9b::/96 from ra, " in lines[0]
    assert "ret=wanted" in lines[0]


def test_a_smaller_mtu_from_the_router_is_applied_live(joined: clat.Joined) -> None:
    pid = clat.translator(joined.host)
    joined.lab.a.ra(mtu=1300)

    def shrunk() -> bool:
        translator = clat.connection(joined.daemon)["translator"]
        return (translator["ipv6_mtu_bytes"], translator["ipv4_mtu_bytes"]) == (1300, 1272)

    eventually(shrunk, message="MTU 1300")
    eventually(lambda: "mtu 1272" in joined.host.ip("-4", "route", "show", "default"), message="route MTU 1272")
    clat.download(joined.host, clat.MIB)
    clat.upload(joined.host, clat.MIB)
    assert clat.translator(joined.host) == pid


def test_a_changed_prefix_is_applied_without_a_restart(joined: clat.Joined) -> None:
    pid = clat.translator(joined.host)
    joined.lab.a.ra(pref64=[["64:ff9b::/96", 0], ["2001:db8:64::/96", 600]])
    eventually(
        lambda: clat.connection(joined.daemon)["translator"]["prefix"] == "2001:db8:64::/96", message="the new prefix"
    )
    clat.ping(joined.host)
    clat.download(joined.host, clat.MIB)
    assert clat.translator(joined.host) == pid


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "tayga"])
def test_renumbered_link_is_followed_in_place_where_nothing_may_drain(clean_lab: Lab, backend: str) -> None:
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\ndrain = 0\n")
    joined = clat.join(clean_lab)
    pid = clat.translator(joined.host)
    clat.renumber(clean_lab, 3600)
    eventually(lambda: clat.has_moved(joined.daemon), message="a CLAT address in the new prefix")
    clat.ping(joined.host)
    clat.download(joined.host, clat.MIB)
    assert clat.translator(joined.host) == pid


def test_a_second_prefix_changes_nothing_while_the_first_is_valid(joined: clat.Joined) -> None:
    joined.lab.a.ra(pref64=[["2001:db8:64::/96", 600], ["64:ff9b::/96", 600]])
    heard = joined.daemon.status()["router_advertisements"]["heard"]
    joined.lab.a.ra()
    eventually(lambda: joined.daemon.status()["router_advertisements"]["heard"] > heard, message="another RA")
    assert clat.connection(joined.daemon)["translator"]["prefix"] == "64:ff9b::/96"


def test_two_uplinks_have_a_translator_each_and_the_better_metric_wins(joined: clat.Joined) -> None:
    host, daemon = joined.host, joined.daemon
    host.plug("up1", "c")
    host.add_profile("netC", "up1", ipv6_route_metric="50")
    host.up("netC")
    second = clat.wait_on(daemon, "up1")["translator"]
    first = clat.connection(daemon, "up0")["translator"]
    assert second["prefix"] == "2001:db8:64:0:c::/96"
    assert first["clat_v4"] != second["clat_v4"]
    assert second["metric"] < first["metric"]
    assert "dev clat-up1" in host.ip("-4", "route", "get", clat.INET)
    for device in ("clat-up0", "clat-up1"):
        clat.ping(host, clat.INET, "-I", device)
    host.down("netC")
    clat.wait_no_device(host, "up1")
    assert "dev clat-up0" in host.ip("-4", "route", "get", clat.INET)
    clat.ping(host)


def test_the_translator_has_no_privileges(joined: clat.Joined) -> None:
    with open(f"/proc/{clat.translator(joined.host)}/status", encoding="ascii") as status:
        fields = dict(line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(privileges.identity()[0])] * 4
    assert fields["Gid"].split() == [str(privileges.identity()[1])] * 4
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == ("2" if syscalls.program(os.uname().machine) else "0")


def test_dual_stack_network_needs_no_clat(clean_lab: Lab) -> None:
    clean_lab.host.plug("up0", "b")
    joined = clat.join(clean_lab, ipv4="auto", wait=False)
    clat.wait_off(joined.daemon, "native-ipv4")
    assert "clat-up0" not in clat.devices(joined.host)
    clat.ping(joined.host)


def test_network_without_nat64_has_no_clat(clean_lab: Lab) -> None:
    clean_lab.a.ra(pref64=[])
    clean_lab.a.dns("plain")
    joined = clat.join(clean_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    assert "no NAT64 prefix" in joined.host.clatnm("status").stdout


def test_global_default_mode_is_obeyed_and_read_again(clean_lab: Lab) -> None:
    host = clean_lab.host
    config = host.path("/etc/clatnm/clatnm.conf")
    config.write_text("[clatnm]\nmode = no\n")
    joined = clat.join(clean_lab, wait=False)
    clat.wait_off(joined.daemon, "opted-out")
    config.write_text("[clatnm]\nmode = auto\n")
    joined.daemon.signal(signal.SIGHUP)
    clat.wait_on(joined.daemon)
    config.write_text("[clatnm]\nmood = auto\n")
    joined.daemon.signal(signal.SIGHUP)
    eventually(lambda: "clatnm.conf:2: unknown key 'mood'" in joined.daemon.log(), message="the mistake is named")
    clat.wait_on(joined.daemon)


def test_broken_configuration_at_start_is_one_line_and_status_2(clean_lab: Lab) -> None:
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nmode = sometimes\n")
    result = clean_lab.host.clatnm("daemon", check=False)
    assert result.returncode == 2
    expected = "error: /etc/clatnm/clatnm.conf:2: mode 'sometimes' is unknown (one of: auto, force, no)\n"
    assert result.stderr == expected


def test_toggle_acts_at_once_without_reconnecting(joined: clat.Joined) -> None:
    host, daemon = joined.host, joined.daemon
    host.clatnm("set", "netA", "no")
    clat.wait_off(daemon, "opted-out")
    clat.wait_no_device(host)
    assert host.device_state("up0") == 100
    again = host.clatnm("set", "netA", "no", check=False)
    assert again.returncode == 3
    host.clatnm("set", "netA", "auto")
    clat.wait_on(daemon)
    clat.ping(host)
    assert "CLATNM" not in host.nmcli("connection", "show", "netA").stdout.upper().replace("CLATNM.MODE", "")


def test_force_translates_beside_native_ipv4_which_still_wins(clean_lab: Lab) -> None:
    clean_lab.a.dhcp4("on")
    joined = clat.join(clean_lab, ipv4="auto", wait=False)
    clat.wait_off(joined.daemon, "native-ipv4")
    joined.host.clatnm("set", "netA", "force")
    clat.wait_on(joined.daemon)
    assert "dev up0" in joined.host.ip("-4", "route", "get", clat.INET)
    clat.ping(joined.host, clat.INET, "-I", "clat-up0")


def test_mode_in_a_loaded_keyfile_is_followed(joined: clat.Joined) -> None:
    joined.host.set_user_data("netA", {"clatnm.mode": "no"})
    clat.wait_off(joined.daemon, "opted-out")


def test_set_names_what_is_wrong(joined: clat.Joined) -> None:
    unknown = joined.host.clatnm("set", "nowhere", "no", check=False)
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "error: there is no connection 'nowhere' (see: nmcli connection show)\n",
    )
    mode = joined.host.clatnm("set", "netA", "maybe", check=False)
    assert (mode.returncode, mode.stderr) == (2, "error: mode 'maybe' is unknown (one of: auto, force, no, default)\n")
    clat.wait_on(joined.daemon)


def test_second_daemon_does_not_translate_twice(joined: clat.Joined) -> None:
    second = joined.host.daemon()
    eventually(lambda: "another clatnm daemon" in second.log(), message="the second daemon says so")
    assert second.wait() == 1
    clat.ping(joined.host)
    assert len(clat.translators(joined.host)) == 1
