# SPDX-License-Identifier: GPL-2.0-or-later
"""A NAT64 that does not work, from the start or from some moment on, and one of two that does not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON
from tests.lab.poll import eventually
from tests.lab.process import Service

WORKING, ANNOUNCED, NOWHERE = "2001:db8:64::/96", "64:ff9b::/96", "2001:db8:dead::/96"
COUNT_PINGS = """
table ip6 count {
  chain pings { type filter hook prerouting priority -300; ip6 daddr 64:ff9b::/96 icmpv6 type echo-request counter; }
}
"""
NO_PINGS = """
table inet broken {
  chain swallow { type filter hook forward priority 0; icmpv6 type echo-request drop; icmp type echo-request drop; }
}
"""
NOBODY = "198.51.100.99"
_ASK = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 9999))
while True:
    try:
        sock.send(b"?")
    except OSError:  # no IPv4 now, or an ICMP error about an earlier one
        pass
    time.sleep(0.2)
"""


@pytest.fixture
def checked(clean_lab: Lab) -> Iterator[Lab]:
    """A lab whose only IPv4 host is the one that is asked; its router is mended afterwards."""
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nplat-check-targets = {clat.INET}\n")
    yield clean_lab
    clean_lab.a.nat64(True)
    route(clean_lab, works=True)
    clean_lab.a.nft("table ip6 count {}\ndelete table ip6 count\ntable inet broken {}\ndelete table inet broken\n")


def route(lab: Lab, *, works: bool) -> None:
    """Let the router know a way to its NAT64, or say that there is none."""
    lab.a.ip("-6", "route", "del", WORKING)
    lab.a.ip("-6", "route", "add", *([WORKING, "dev", "nat64"] if works else ["unreachable", WORKING]))


def plat(joined: clat.Joined) -> str:
    """What the daemon thinks of the PLAT behind the chosen prefix."""
    return str(clat.connection(joined.daemon)["evidence"].get("plat"))


def wait_plat(joined: clat.Joined, state: str, *, timeout_s: float = 20.0) -> None:
    eventually(lambda: plat(joined) == state, timeout_s=timeout_s, message=f"the PLAT is {state}")


def pings(lab: Lab) -> int:
    """How many went to the NAT64 since `COUNT_PINGS`."""
    listed = json.loads(lab.a.run("nft", "-j", "list", "table", "ip6", "count").stdout)["nftables"]
    (rule,) = (item["rule"] for item in listed if "rule" in item)
    return next(int(part["counter"]["packets"]) for part in rule["expr"] if "counter" in part)


def test_working_plat_is_asked_once(checked: Lab) -> None:
    checked.a.nft(COUNT_PINGS)
    joined = clat.join(checked)
    wait_plat(joined, "alive")
    heard = joined.daemon.status()["router_advertisements"]["heard"]
    checked.a.ra()  # another look at everything
    eventually(lambda: joined.daemon.status()["router_advertisements"]["heard"] > heard, message="heard")
    assert pings(checked) == 1


def test_plat_without_route_takes_ipv4_away_and_gives_it_back(checked: Lab) -> None:
    route(checked, works=False)
    joined = clat.join(checked, wait=False)
    told = clat.wait_off(joined.daemon, "plat-unreachable", timeout_s=20)
    assert told["evidence"]["plat"] == "dead"
    route(checked, works=True)
    clat.wait_on(joined.daemon, timeout_s=30)
    wait_plat(joined, "alive")
    clat.ping(joined.host)


def test_silent_plat_keeps_ipv4(checked: Lab) -> None:
    checked.a.nat64(False)
    joined = clat.join(checked)
    wait_plat(joined, "silent")
    clat.wait_on(joined.daemon)
    checked.a.nat64(True)
    clat.ping(joined.host)


def test_of_two_prefixes_the_working_one_wins(checked: Lab) -> None:
    checked.a.ip("-6", "route", "add", "unreachable", NOWHERE)
    try:
        checked.a.ra(pref64=[[NOWHERE, 600], [ANNOUNCED, 600]])
        joined = clat.join(checked)
        eventually(
            lambda: clat.connection(joined.daemon)["prefix"]["prefix"] == ANNOUNCED, message="the other prefix is used"
        )
        wait_plat(joined, "alive")
        clat.wait_on(joined.daemon)
        clat.ping(joined.host)
    finally:
        checked.a.ip("-6", "route", "del", "unreachable", NOWHERE)


def send_udp(joined: clat.Joined) -> Service:
    """A program that asks the UDP echo five times a second, whether it answers or not."""
    return joined.host.popen(PYTHON, "-c", _ASK, clat.INET)


def test_plat_that_dies_takes_ipv4_away_and_gives_it_back(checked: Lab) -> None:
    joined = clat.join(checked)
    wait_plat(joined, "alive")
    send_udp(joined)
    checked.a.nat64(False)
    told = clat.wait_off(joined.daemon, "plat-unreachable", timeout_s=50)
    assert told["evidence"]["plat"] == "dead"
    checked.a.nat64(True)
    clat.wait_on(joined.daemon, timeout_s=40)
    clat.ping(joined.host)


def test_network_that_drops_pings_keeps_ipv4_and_its_plat_is_alive(checked: Lab) -> None:
    checked.a.nft(NO_PINGS)
    joined = clat.join(checked)
    wait_plat(joined, "silent")
    send_udp(joined)
    wait_plat(joined, "alive")
    clat.wait_on(joined.daemon)


def test_doubt_without_cause_changes_nothing(checked: Lab) -> None:
    """The user sends to a host that does not answer; the PLAT does."""
    checked.a.nft(COUNT_PINGS)
    joined = clat.join(checked)
    wait_plat(joined, "alive")
    assert pings(checked) == 1
    joined.host.popen(PYTHON, "-c", _ASK, NOBODY)
    eventually(lambda: pings(checked) == 2, timeout_s=30, message="the PLAT is asked again")
    assert plat(joined) == "alive"
    clat.wait_on(joined.daemon)
