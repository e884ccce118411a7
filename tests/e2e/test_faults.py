# SPDX-License-Identifier: GPL-2.0-or-later
"""Restarts, lost buses and lies on the wire: no crash, at most one log line, and the state converges."""

from __future__ import annotations

import struct
from ipaddress import IPv6Network

import pytest

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually


@pytest.fixture
def joined(clean_lab: Lab) -> clat.Joined:
    return clat.join(clean_lab)


def test_restarted_networkmanager_keeps_ipv4_working(joined: clat.Joined) -> None:
    host = joined.host
    pid = clat.translator(host)
    host.nm_stop()
    eventually(lambda: "NetworkManager went away" in joined.daemon.log(), message="the loss was noticed")
    clat.ping(host)
    host.nm_start()
    eventually(lambda: host.device_state("up0") == 100, message="NetworkManager has taken the connection up again")
    clat.wait_on(joined.daemon)
    clat.ping(host)
    assert clat.translator(host) == pid
    host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")


def test_killed_bus_is_joined_again(joined: clat.Joined) -> None:
    host = joined.host
    host.bus_stop()
    eventually(lambda: "the system bus went away" in joined.daemon.log(), message="the loss was noticed")
    clat.ping(host)
    host.nm_stop()  # this NetworkManager never comes back to a bus by itself
    host.bus_start()
    host.nm_start()
    eventually(lambda: clat.connection(joined.daemon)["state"] == "on", timeout_s=20, message="back on the bus")
    clat.ping(host)
    host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")


def test_daemon_started_before_bus_and_networkmanager_finds_them(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.dad(False)
    host.add_profile("netA", "up0")
    host.up("netA")
    host.nm_stop()
    host.bus_stop()
    daemon = host.daemon("-v")
    eventually(lambda: "cannot connect to the system bus" in daemon.log(), message="it says what it waits for")
    host.bus_start()
    host.nm_start()
    clat.wait_on(daemon, timeout_s=20)
    assert daemon.log().count("cannot connect to the system bus") == 1


FORGED = "2001:db8:bad::/96"


@pytest.mark.parametrize(
    "options",
    [("--hop-limit", "64"), ("--source", "2001:db8:a::1"), ("--code", "1")],
    ids=["rfc4861-6.1.2-hop-limit", "rfc4861-6.1.2-source", "rfc4861-6.1.2-code"],
)
def test_forged_advertisement_is_dropped_and_counted(joined: clat.Joined, options: tuple[str, ...]) -> None:
    clat.calm(joined.daemon)
    dropped = joined.daemon.status()["router_advertisements"]["dropped"]
    lines = len(joined.daemon.log().splitlines())
    joined.lab.a.forge_ra(*options, pref64=[["64:ff9b::/96", 0], [FORGED, 600]])
    eventually(
        lambda: joined.daemon.status()["router_advertisements"]["dropped"] == dropped + 1, message="one more dropped"
    )
    assert clat.connection(joined.daemon)["prefix"]["prefix"] == "64:ff9b::/96"
    assert clat.connection(joined.daemon)["state"] == "on"
    assert len(joined.daemon.log().splitlines()) <= lines + 1


def pref64(prefix: str, *, code: int, length: int = 2) -> str:
    """A PREF64 option (RFC 8781 4) in hex, with any prefix length code and length field."""
    network = IPv6Network(prefix)
    return struct.pack("!BBH12s", 38, length, 600 << 3 | code, network.network_address.packed[:12]).hex()


@pytest.mark.parametrize(
    ("raw", "counted"),
    [
        pytest.param("2600" + "00" * 14, True, id="rfc4861-4.6-option-of-length-0"),
        pytest.param("26ff" + "00" * 14, True, id="rfc4861-4.6-option-past-the-end"),
        pytest.param(pref64(FORGED, code=6), False, id="rfc8781-4-prefix-length-code-6"),
        pytest.param(pref64(FORGED, code=7), False, id="rfc8781-4-prefix-length-code-7"),
        pytest.param(pref64(FORGED, code=0, length=1)[:16], False, id="rfc8781-4-length-1"),
    ],
)
def test_broken_option_does_not_become_a_prefix(clean_lab: Lab, raw: str, counted: bool) -> None:
    clean_lab.a.ra(pref64=[])
    clean_lab.a.dns("plain")
    joined = clat.join(clean_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    which = "dropped" if counted else "heard"
    before = joined.daemon.status()["router_advertisements"][which]
    clean_lab.a.ra(raw=[raw])
    eventually(
        lambda: joined.daemon.status()["router_advertisements"][which] > before, message="the advertisement arrived"
    )
    assert clat.connection(joined.daemon)["prefix"] is None
    clean_lab.a.ra(pref64=[["64:ff9b::/96", 600]], raw=[])
    clat.wait_on(joined.daemon)
    assert "Traceback" not in joined.daemon.log()


def test_flood_of_prefixes_is_bounded(joined: clat.Joined) -> None:
    many = [[f"2001:db8:{n:x}::/96", 600] for n in range(1, 60)]
    joined.lab.a.ra(pref64=[["64:ff9b::/96", 600], *many])
    heard = joined.daemon.status()["router_advertisements"]["heard"]
    joined.lab.a.ra()
    eventually(lambda: joined.daemon.status()["router_advertisements"]["heard"] > heard, message="heard")
    assert clat.connection(joined.daemon)["prefix"]["prefix"] == "64:ff9b::/96"
    clat.ping(joined.host)


def test_translator_that_cannot_start_is_tried_again_with_growing_pauses(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.ip("tuntap", "add", "dev", "clat-up0", "mode", "tun")  # somebody else's device has our name
    joined = clat.join(clean_lab, wait=False)
    told = clat.wait_off(joined.daemon, "backing-off")
    assert "clat-up0" in told["error"]
    assert "clat-up0" in clat.devices(host)
    host.ip("link", "del", "clat-up0")
    clat.wait_on(joined.daemon, timeout_s=15)
    clat.ping(host)


def test_dispatcher_hook_pokes_the_daemon(joined: clat.Joined) -> None:
    joined.host.dispatcher_start()
    joined.host.down("netA")
    eventually(lambda: "poked: up0 down" in joined.daemon.log(), message="the hook has poked")
