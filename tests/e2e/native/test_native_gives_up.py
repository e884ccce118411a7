# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks where NetworkManager's own CLAT (1.58) gives up: ours comes, and nobody has to set anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.lab import Host, Lab, eventually
from tests.lab.fixtures import running_lab

# Its own default, which is `no` where Debian builds it, and what Fedora's is.
WORDS = ("default", "auto", "force")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from running_lab("forky")


def joined(lab: Lab, word: str) -> clat.Joined:
    """In A, with a daemon; and IPv4 works, by ours alone."""
    host = lab.host
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    host.add_profile("netA", "up0", ipv4_method="auto", ipv4_clat=word)
    host.up("netA")
    clat.wait_on(daemon)
    assert translated_by_networkmanager(host) == []
    clat.ping(host)
    clat.download(host, clat.MIB)
    clat.udp_echo(host, 1400)
    return clat.Joined(lab, host, daemon)


def translated_by_networkmanager(host: Host) -> list[str]:
    return [str(address) for address in host.addresses("up0") if str(address).startswith("192.0.0.")]


@pytest.mark.parametrize("word", WORDS)
def test_single_addresses_of_dhcpv6(quick_lab: Lab, word: str) -> None:
    quick_lab.a.ra(managed=True, pflags=0x80)
    quick_lab.a.dhcp6("on")
    told = clat.connection(joined(quick_lab, word).daemon)
    assert told["translator"]["shared"] is True
    assert told["prefix"]["source"] == "ra"


@pytest.mark.parametrize("word", WORDS)
def test_prefix_known_from_dns64_alone(quick_lab: Lab, word: str) -> None:
    quick_lab.a.ra(pref64=[])
    told = clat.connection(joined(quick_lab, word).daemon)
    assert told["prefix"]["source"] == "dns64"
    assert told["translator"]["shared"] is False


def test_both(quick_lab: Lab) -> None:
    quick_lab.a.ra(managed=True, pflags=0x80, pref64=[])
    quick_lab.a.dhcp6("on")
    told = clat.connection(joined(quick_lab, "auto").daemon)
    assert (told["prefix"]["source"], told["translator"]["shared"]) == ("dns64", True)


def test_networkmanager_or_nobody(quick_lab: Lab) -> None:
    host = quick_lab.host
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    host.add_profile("netA", "up0", {"ipv4.method": "auto", "ipv4.clat": "auto", "ipv6.dns-options": "clatnm:0"})
    host.up("netA")
    eventually(lambda: translated_by_networkmanager(host), message="NetworkManager's CLAT")
    clat.ping(host)
    clat.wait_off(daemon, "opted-out")
    quick_lab.a.ra(pref64=[["64:ff9b::/96", 0]])
    eventually(lambda: not translated_by_networkmanager(host), message="NetworkManager's CLAT is down")
    clat.wait_off(daemon, "opted-out")
    clat.wait_no_device(host)
    assert not clat.answers(host)


def test_networkmanager_takes_over_where_it_can_again(quick_lab: Lab) -> None:
    quick_lab.a.ra(pref64=[])
    there = joined(quick_lab, "auto")
    quick_lab.a.ra(pref64=[["64:ff9b::/96", 600]])
    eventually(lambda: translated_by_networkmanager(there.host), message="NetworkManager's CLAT")
    clat.wait_off(there.daemon, "manager-translates")
    clat.wait_no_device(there.host)
    clat.ping(there.host)
    quick_lab.a.ra(pref64=[["64:ff9b::/96", 0]])
    clat.wait_on(there.daemon)
    clat.ping(there.host)
