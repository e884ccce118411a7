# SPDX-License-Identifier: GPL-2.0-or-later
"""VPNs over a translated connection: each takes what it takes, nothing goes around one, and each works itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e import clat, vpn
from tests.e2e.vpn import BY_NAT64, DEVICE, FAR4, FAR6, OWN4, OWN6, SITE4, SITE6, Vpn, seen_as, wait_seen_as
from tests.lab.lab import Lab
from tests.lab.poll import eventually

MARK = 51820


@pytest.fixture
def joined(clean_lab: Lab) -> clat.Joined:
    return clat.join(clean_lab)


@pytest.fixture
def office(clean_lab: Lab) -> Iterator[Vpn]:
    made = Vpn(clean_lab)
    yield made
    clean_lab.inet.ip("addr", "del", f"{FAR4}/24", "dev", "ix")
    clean_lab.inet.ip("addr", "del", f"{FAR6}/64", "dev", "ix")


def test_vpn_with_an_ipv4_far_end_takes_everything_and_lives_by_the_clat(joined: clat.Joined, office: Vpn) -> None:
    pid = clat.translator(joined.host)
    office.add()
    office.up()
    wait_seen_as(joined.lab, SITE4, OWN4)
    wait_seen_as(joined.lab, SITE6, OWN6)
    clat.download(joined.host, clat.MIB)
    assert office.peers[-1] == BY_NAT64
    assert "dev clat-up0 src 192.0.0.4" in joined.host.ip("route", "get", FAR4)
    told = clat.wait_on(joined.daemon)
    assert told["evidence"]["vpn"] == DEVICE
    explained = joined.host.clatnm("explain", "up0").stdout
    for words in (f"{DEVICE} “office” has the IPv4 of", f"{DEVICE} “office” has the IPv6 of", f"its far end {FAR4}"):
        assert words in explained
    listed = clat.connection(joined.daemon, DEVICE)
    assert (listed["name"], listed["uuid"], listed["reason"]) == ("office", office.uuid, "not-an-uplink")
    office.down()
    wait_seen_as(joined.lab, SITE4, BY_NAT64)
    eventually(lambda: FAR4 not in joined.host.ip("route"), message="no route to the far end is left")
    assert clat.translator(joined.host) == pid


def test_vpn_that_is_up_before_the_clat_gets_its_far_end_too(clean_lab: Lab, office: Vpn) -> None:
    """The route comes with the translator, here after it had gone."""
    clean_lab.a.dns("plain")  # a DNS64 would tell the prefix as soon as the router does not
    joined = clat.join(clean_lab)
    office.add()
    office.up()
    wait_seen_as(clean_lab, SITE4, OWN4)
    clean_lab.a.ra(pref64=[["64:ff9b::/96", 0]])
    clat.wait_no_device(joined.host)
    assert seen_as(clean_lab, SITE4) == ""
    clean_lab.a.ra(pref64=[["64:ff9b::/96", 600]])
    wait_seen_as(clean_lab, SITE4, OWN4)


def test_vpn_of_ipv6_alone_is_not_gone_around(joined: clat.Joined, office: Vpn) -> None:
    office.add(ipv4=False, far=FAR6)
    assert seen_as(joined.lab, SITE4) == BY_NAT64
    office.up()
    eventually(lambda: clat.connection(joined.daemon)["reason"] == "vpn-without-ipv4", message="the VPN is noticed")
    eventually(lambda: vpn.ipv4_routes(joined.lab) == "", message="no route is left")
    assert seen_as(joined.lab, SITE4) == ""
    wait_seen_as(joined.lab, SITE6, OWN6)
    assert clat.connection(joined.daemon)["evidence"]["vpn"] == DEVICE
    clat.wait_no_device(joined.host)
    assert "`vpn = bypass`" in joined.host.clatnm("explain", "up0").stdout
    office.down()
    wait_seen_as(joined.lab, SITE4, BY_NAT64)
    assert "vpn" not in clat.wait_on(joined.daemon)["evidence"]


@pytest.mark.parametrize("whose", ["all", "uplink", "vpn"])
@pytest.mark.parametrize("backend", ["auto", "tun"])
def test_translated_packets_stay_on_their_uplink_when_they_may_go_around(
    clean_lab: Lab, office: Vpn, whose: str, backend: str
) -> None:
    words = f"[clatnm]\nbackend = {backend}\n" + ("vpn = bypass\n" if whose == "all" else "")
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text(words)
    joined = clat.join(clean_lab)
    office.add(ipv4=False, far=FAR6)
    uplink = joined.host.nmcli("-g", "connection.uuid", "connection", "show", "netA").stdout.strip()
    if whose != "all":
        vpn.let_around(joined, uuid=uplink if whose == "uplink" else office.uuid)
    office.up()
    # Until NetworkManager tells whose device it is, the word about the VPN does not count yet.
    eventually(
        lambda: clat.wait_on(joined.daemon)["evidence"].get("vpn") == DEVICE, message="the VPN is there, and so is CLAT"
    )
    wait_seen_as(joined.lab, SITE6, OWN6)
    wait_seen_as(joined.lab, SITE4, BY_NAT64)
    clat.download(joined.host, clat.MIB)
    clat.udp_echo(joined.host, 10, 1400, 4000)
    told = clat.wait_on(joined.daemon)
    assert backend in ("auto", told["translator"]["backend"])


def test_vpn_of_ipv4_alone_gets_it_all(joined: clat.Joined, office: Vpn) -> None:
    own = str(joined.host.addresses("up0")[0].ip)
    office.add(ipv6=False)
    office.up()
    wait_seen_as(joined.lab, SITE4, OWN4)
    assert seen_as(joined.lab, SITE6) == own
    assert clat.wait_on(joined.daemon)["evidence"]["vpn"] == DEVICE


@pytest.mark.parametrize("metric", [50, 700])
def test_clat_is_never_preferred_to_a_vpn(joined: clat.Joined, office: Vpn, metric: int) -> None:
    office.add()
    joined.host.modify("office", {"ipv4.route-metric": metric})
    office.up()
    wait_seen_as(joined.lab, SITE4, OWN4)
    told = clat.wait_on(joined.daemon)
    assert told["translator"]["metric"] > metric
    assert seen_as(joined.lab, SITE4) == OWN4


def test_vpn_that_is_told_to_has_a_clat_of_its_own(clean_lab: Lab, office: Vpn) -> None:
    """An IPv6-only network behind the VPN, with a NAT64: that of A, reached from the far end."""
    clean_lab.inet.sysctl(ipv6__conf__all__forwarding=1)
    clean_lab.inet.ip("route", "add", "64:ff9b::/96", "via", "2001:db8:100::1")
    clean_lab.a.ip("route", "add", "2001:db8:8::/64", "via", SITE6)
    try:
        joined = clat.join(clean_lab)
        office.add(ipv4=False, far=FAR6)
        path = joined.host.path(f"/etc/clatnm/connections.d/{office.uuid}.conf")
        path.parent.mkdir(exist_ok=True)
        path.write_text("[clatnm]\nmode = auto\nprefix = 64:ff9b::/96\n")
        joined.daemon.signal(signal.SIGHUP)
        office.up()
        told = clat.wait_on(joined.daemon, DEVICE)
        assert told["uuid"] == office.uuid
        clat.wait_off(joined.daemon, "vpn-without-ipv4")
        wait_seen_as(clean_lab, SITE4, BY_NAT64)
        assert f"dev clat-{DEVICE} " in vpn.ipv4_routes(clean_lab)
        clat.download(joined.host, clat.MIB)
        office.down()
        clat.wait_on(joined.daemon)
        wait_seen_as(clean_lab, SITE4, BY_NAT64)
    finally:
        clean_lab.inet.sysctl(ipv6__conf__all__forwarding=0)
        clean_lab.inet.ip("route", "del", "64:ff9b::/96")
        clean_lab.a.ip("route", "del", "2001:db8:8::/64")


def test_split_tunnel_changes_nothing(joined: clat.Joined, office: Vpn) -> None:
    pid, before = clat.translator(joined.host), clat.wait_on(joined.daemon)["translator"]
    office.add(split=True)
    office.up()
    clat.ping(joined.host, "10.8.0.1")
    assert seen_as(joined.lab, SITE4) == BY_NAT64
    told = clat.wait_on(joined.daemon)
    assert "vpn" not in told["evidence"]
    passing = {"counters": 0, "up_s": 0}
    assert {**told["translator"], **passing} == {**before, **passing}
    assert clat.translator(joined.host) == pid


def as_wireguard(office: Vpn, *families: str) -> None:
    """Addresses, routes and rules as NetworkManager and wg-quick have them for a peer that may send everything."""
    addresses = {"-4": f"{OWN4}/24", "-6": f"{OWN6}/64"}
    for family in families:
        nodad = ("nodad",) if family == "-6" else ()
        office.host.ip("addr", "add", addresses[family], "dev", DEVICE, *nodad)
        office.host.ip(family, "route", "add", "default", "dev", DEVICE, "table", str(MARK))
        office.host.ip(family, "rule", "add", "not", "fwmark", str(MARK), "lookup", str(MARK), "priority", "30001")
        office.host.ip(family, "rule", "add", "lookup", "main", "suppress_prefixlength", "0", "priority", "30000")


def test_vpn_by_rules_takes_everything_and_lives_by_the_clat(joined: clat.Joined, office: Vpn) -> None:
    office.by_hand(mark=MARK)
    as_wireguard(office, "-4", "-6")
    wait_seen_as(joined.lab, SITE4, OWN4)
    wait_seen_as(joined.lab, SITE6, OWN6)
    assert office.peers[-1] == BY_NAT64
    eventually(
        lambda: clat.wait_on(joined.daemon)["evidence"].get("vpn") == DEVICE, message="the VPN in a table of its own"
    )
    assert clat.wait_on(joined.daemon)["translator"]["metric"] == 150


def test_vpn_of_ipv6_alone_by_rules_is_not_gone_around(joined: clat.Joined, office: Vpn) -> None:
    office.by_hand(far=FAR6, mark=MARK)
    as_wireguard(office, "-6")
    clat.wait_off(joined.daemon, "vpn-without-ipv4", timeout_s=15)
    assert vpn.ipv4_routes(joined.lab) == ""
    for priority in ("30000", "30001"):
        joined.host.ip("-6", "rule", "del", "priority", priority)
    wait_seen_as(joined.lab, SITE4, BY_NAT64)
