# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else's translator on the machine: recognized by what it has, named, and not fought."""

from __future__ import annotations

import sys
import time

import pytest

from tests.e2e import clat
from tests.e2e.clatd_like import clatd
from tests.e2e.flows import download
from tests.lab.lab import Lab
from tests.lab.poll import eventually

REASON = "other-translator"
_TUN = """
import fcntl, os, signal, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
print("open", flush=True)
signal.pause()
"""
# An event, and looking at it once; the rest is for the tools that ask.
AT_ONCE_S = 1.5


def test_translator_that_is_there_first_stays_alone(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.add_profile("netA", "up0")
    host.up("netA")
    eventually(host.has_ipv6, message="IPv6 in A")
    with clatd(host):
        eventually(lambda: clat.answers(host), message="IPv4 by the other translator")
        before = host.snapshot()
        daemon = host.daemon("-v")
        told = clat.wait_off(daemon, REASON)
        assert told["evidence"]["other-translator"] == "clat/192.0.0.1"
        clat.wait_no_device(host)
        assert before.diff(host.snapshot()) == ""
        clat.ping(host)
        clat.download(host, clat.MIB)
        explained = host.clatnm("explain", "up0").stdout
        assert "192.0.0.1 on clat, default route of metric 2048" in explained
        assert "systemctl disable --now clatd" in explained
    clat.wait_on(daemon)
    clat.ping(host)


def test_translator_that_comes_later_has_all_new_connections_at_once(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    with download(host, clat.INET) as older:
        older.further()
        with clatd(host):
            came = time.monotonic()
            clat.wait_off(joined.daemon, REASON)
            assert time.monotonic() - came < AT_ONCE_S
            route = host.ip_json("-4", "route", "get", clat.INET)[0]
            assert (route["dev"], route["prefsrc"]) == ("clat", "192.0.0.1")
            eventually(lambda: clat.answers(host), message="IPv4 by the other translator")
            older.further()  # what began before goes on by ours
        clat.wait_on(joined.daemon)
        clat.ping(host)
        older.further()


@pytest.mark.parametrize("mode", ["auto", "force"])
@pytest.mark.parametrize("device", ["cl-up0", "v4-up0", "464xlat"])
def test_translator_is_known_by_its_address_and_its_route(quick_lab: Lab, device: str, mode: str) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    host.clatnm("set", "netA", mode)
    clat.wait_on(joined.daemon)
    # Open, or it would have no carrier, and its routes would lead nowhere.
    owner = host.popen(sys.executable, "-c", _TUN, device)
    eventually(lambda: "open" in owner.log(), message=f"{device} is there")
    host.ip("link", "set", device, "up")
    host.ip("addr", "add", "192.0.0.2/32", "dev", device)
    host.ip("route", "add", "default", "dev", device, "metric", "5000")
    told = clat.wait_off(joined.daemon, REASON)
    assert told["evidence"]["other-translator"] == f"{device}/192.0.0.2"
    owner.kill()
    clat.wait_on(joined.daemon)
    clat.ping(host)


def test_address_alone_is_no_translator(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    host.ip("addr", "add", "192.0.0.1/32", "dev", "lo")
    host.clatnm("status")
    told = clat.wait_on(joined.daemon)
    assert "other-translator" not in told["evidence"]
    clat.ping(host)


def test_other_translator_on_one_connection_is_one_for_all(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    host.plug("up1", "c")
    host.add_profile("netC", "up1")
    host.up("netC")
    clat.wait_on(joined.daemon, "up1")
    with clatd(host):
        for interface in ("up0", "up1"):
            clat.wait_off(joined.daemon, REASON, interface)
    for interface in ("up0", "up1"):
        clat.wait_on(joined.daemon, interface)
