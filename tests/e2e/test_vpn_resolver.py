# SPDX-License-Identifier: GPL-2.0-or-later
"""A VPN has the default route and the default resolver, which synthesises. It knows nothing of this link's NAT64.

host ── vpn0 ══ far0 ── inet
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON
from tests.lab.poll import eventually
from tests.lab.process import Service

SCRIPTED = str(Path(__file__).with_name("scripted_resolver.py"))
OURS, THEIRS = "2001:db8:99::5", "2001:db8:99::53"
ASKED = "for ipv4only.arpa. by"
SYNTHESISED = "2001:db8:7050::c000:aa"


@pytest.fixture
def resolver(clean_lab: Lab) -> Iterator[Service]:
    """The VPN, up, and the resolver behind it; the network itself tells no prefix."""
    host, inet = clean_lab.host, clean_lab.inet
    clean_lab.a.ra(pref64=[])
    clean_lab.a.dns("plain")
    host.ip("link", "add", "vpn0", "type", "veth", "peer", "name", "far0", "netns", inet.netns)
    inet.ip("-batch", "-", stdin=f"addr add {THEIRS}/64 dev far0 nodad\nlink set far0 up\n")
    host.ip("-batch", "-", stdin=f"addr add {OURS}/64 dev vpn0 nodad\nlink set vpn0 up\n")
    take_default_route(host)
    service = inet.popen(PYTHON, SCRIPTED, "truncated", THEIRS)
    eventually(lambda: "ready" in service.log(), message="the VPN's resolver")
    host.run("sh", "-c", f"rm /etc/resolv.conf && echo nameserver {THEIRS} > /etc/resolv.conf")
    yield service
    host.run("ln", "-sfn", "/run/NetworkManager/resolv.conf", "/etc/resolv.conf")
    host.run("ip", "link", "del", "vpn0", check=False)


def take_default_route(host: Host) -> None:
    """Lead everything into the VPN, as soon as its end has a carrier."""
    route = ("default", "via", THEIRS, "dev", "vpn0", "metric", "1")
    eventually(lambda: host.ip("-6", "route", "replace", *route) == "", message="the VPN has the default route")


def default_resolver_synthesises(lab: Lab) -> bool:
    """What a program is told that asks as programs do."""
    return SYNTHESISED in lab.host.run("getent", "ahostsv6", "ipv4only.arpa", check=False).stdout


def all_have_answered(joined: clat.Joined) -> bool:
    return "asking" not in clat.connection(joined.daemon)["evidence"]


@pytest.mark.parametrize(
    ("rdnss", "answer"),
    [
        pytest.param([["2001:db8:a::1"], 600], "2001:db8:a::1 says NODATA", id="the-link-has-one-of-its-own"),
        pytest.param(None, "no resolver known", id="the-link-has-none"),
    ],
)
def test_resolver_of_a_vpn_is_not_asked(clean_lab: Lab, resolver: Service, rdnss: object, answer: str) -> None:
    clean_lab.a.ra(rdnss=rdnss)
    joined = clat.join(clean_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    eventually(lambda: all_have_answered(joined), message="everybody has had the time to tell a prefix")
    assert answer in joined.host.clatnm("explain", "up0").stdout
    assert clat.connection(joined.daemon)["reason"] == "no-pref64"
    assert ASKED not in resolver.log()  # NetworkManager asks it for the host's name
    assert "dev vpn0" in joined.host.ip("-6", "route", "get", "2001:db8:100::10")
    eventually(lambda: default_resolver_synthesises(clean_lab), message="it would have told a prefix")
    assert ASKED in resolver.log()
    assert clat.connection(joined.daemon)["reason"] == "no-pref64"


def test_vpn_that_comes_later_changes_nothing(clean_lab: Lab, resolver: Service) -> None:
    """The CLAT has its prefix from the link's own DNS64, and its packets go out of the link."""
    host = clean_lab.host
    host.ip("link", "set", "vpn0", "down")
    clean_lab.a.dns("dns64")
    joined = clat.join(clean_lab)
    pid = clat.translator(host)
    assert clat.connection(joined.daemon)["prefix"]["source"] == "dns64"
    host.ip("link", "set", "vpn0", "up")
    host.ip("addr", "replace", f"{OURS}/64", "dev", "vpn0", "nodad")
    take_default_route(host)
    eventually(lambda: default_resolver_synthesises(clean_lab), message="the VPN works")
    clat.ping(host)
    told = clat.connection(joined.daemon)
    assert (told["state"], told["prefix"]["prefix"], told["prefix"]["source"]) == ("on", "64:ff9b::/96", "dns64")
    assert clat.translator(host) == pid
