# SPDX-License-Identifier: GPL-2.0-or-later
"""The source DNS64 by itself, on a host between real resolvers and ones that lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON
from tests.lab.poll import eventually

SCRIPTED = str(Path(__file__).with_name("scripted_resolver.py"))
ASK = """
import asyncio, json, sys, time
from ipaddress import ip_address
from clatnm.discovery.dns64 import Dns64
from clatnm.kernel.netlink import Netlink

async def main(links, interface, *resolvers):
    clock = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    ended = asyncio.Event()
    source = Dns64(clock=clock, changed=ended.set)
    began = clock()
    source.follow(links, {interface: [ip_address(resolver) for resolver in resolvers]})
    await asyncio.wait_for(ended.wait(), 20)
    now = clock()
    report = source.report(interface, now)
    assert report.settled
    candidates = source.candidates(interface, now)
    source.close()
    print(json.dumps({
        "prefixes": [str(candidate.prefix) for candidate in candidates],
        "routers": [str(candidate.router) for candidate in candidates],
        "left_s": [candidate.expires_at - now for candidate in candidates],
        "detail": report.detail,
        "took_s": now - began,
    }))

with Netlink() as kernel:
    links = kernel.links()
asyncio.run(main(links, *sys.argv[1:]))
"""


@dataclass(frozen=True)
class Heard:
    """What the source said after it had asked."""

    prefixes: list[str]
    routers: list[str]
    left_s: list[float]
    detail: str
    took_s: float


Ask = Callable[..., Heard]
"""Resolvers to ask over up0."""


@pytest.fixture
def ask(quick_lab: Lab) -> Ask:
    def asked(*resolvers: str) -> Heard:
        return Heard(**json.loads(quick_lab.host.python(ASK, "up0", *resolvers)))

    return asked


def join(lab: Lab, network: str) -> None:
    host = lab.host
    host.plug("up0", network)
    host.add_profile("any", "up0", ipv4_method="auto" if network == "b" else "disabled")
    host.up("any")
    eventually(lambda: host.has_ipv6("up0"), message="an address of this network")


def scripted(lab: Lab, script: str) -> str:
    """Such a resolver in A, at the address it returns."""
    address = {"silent": "2001:db8:a::5301"}.get(script, "2001:db8:a::5302")
    lab.a.ip("addr", "replace", f"{address}/64", "dev", "lan", "nodad")
    service = lab.a.popen(PYTHON, SCRIPTED, script, address)
    eventually(lambda: "ready" in service.log(), message=f"the resolver {script}")
    return address


@pytest.mark.parametrize("resolver", ["2001:db8:a::1", "fe80::1"])
def test_prefix_of_a_real_dns64(quick_lab: Lab, ask: Ask, resolver: str) -> None:
    join(quick_lab, "a")
    heard = ask(resolver)
    assert (heard.prefixes, heard.routers) == (["64:ff9b::/96"], [resolver])
    assert heard.left_s == [pytest.approx(60, abs=1)]  # the lab's resolvers say 5 s at most
    assert heard.took_s < 3


def test_other_network_has_another_prefix(quick_lab: Lab, ask: Ask) -> None:
    join(quick_lab, "c")
    assert ask("fe80::1").prefixes == ["2001:db8:64:0:c::/96"]


@pytest.mark.parametrize("resolver", ["2001:db8:b::1", "192.168.2.1"])
def test_real_resolver_without_dns64_is_a_denial(quick_lab: Lab, ask: Ask, resolver: str) -> None:
    join(quick_lab, "b")
    host = quick_lab.host
    eventually(lambda: any(a.version == 4 for a in host.addresses("up0")), message="an IPv4 address by DHCP")
    heard = ask(resolver)
    assert (heard.prefixes, heard.detail) == ([], f"{resolver} says NODATA")
    assert heard.took_s < 3


def test_resolver_that_is_switched_off_refuses(quick_lab: Lab, ask: Ask) -> None:
    join(quick_lab, "a")
    quick_lab.a.dns("off")
    heard = ask("2001:db8:a::1")
    assert heard.detail == "2001:db8:a::1 cannot be asked: Connection refused"


def test_question_passes_a_vpn_that_has_the_default_route(quick_lab: Lab, ask: Ask) -> None:
    """The resolver is not on the link, so an unbound socket would ask it through the VPN, where nobody answers."""
    join(quick_lab, "a")
    host = quick_lab.host
    vpn = "clat-vpn"  # NetworkManager leaves devices of this name alone
    host.ip("link", "add", vpn, "type", "veth", "peer", "name", "clat-far")
    host.ip("link", "set", "clat-far", "up")
    host.ip("link", "set", vpn, "up")
    host.ip("addr", "add", "2001:db8:99::5/64", "dev", vpn, "nodad")
    host.ip("-6", "route", "add", "default", "dev", vpn, "metric", "1")
    try:
        assert vpn in host.ip("-6", "route", "get", "2001:db8:100::10")
        assert ask("2001:db8:100::10").detail.startswith("2001:db8:100::10 says ")
    finally:
        host.ip("link", "del", vpn)


def test_truncated_answer_comes_over_tcp(quick_lab: Lab, ask: Ask) -> None:
    join(quick_lab, "a")
    heard = ask(scripted(quick_lab, "truncated"))
    assert heard.prefixes == ["2001:db8:7050::/96"]
    assert heard.left_s == [pytest.approx(600, abs=1)]
    assert heard.took_s < 3


def test_forged_answers_are_ignored(quick_lab: Lab, ask: Ask) -> None:
    join(quick_lab, "a")
    assert ask(scripted(quick_lab, "forged")).prefixes == ["2001:db8:7050::/96"]


@pytest.mark.parametrize(("script", "least_s"), [("servfail", 0), ("denied", 0), ("silent", 1)])
def test_second_resolver_answers_for_the_first(quick_lab: Lab, ask: Ask, script: str, least_s: float) -> None:
    join(quick_lab, "a")
    heard = ask(scripted(quick_lab, script), "2001:db8:a::1")
    assert heard.prefixes == ["64:ff9b::/96"]
    assert least_s <= heard.took_s < 3
