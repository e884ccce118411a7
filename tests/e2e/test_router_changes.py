# SPDX-License-Identifier: GPL-2.0-or-later
"""Routers that say something else than before, and second ones beside them: IPv4 goes on wherever it can."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON, write
from tests.lab.poll import eventually
from tests.lab.router import RA_SENDER

FIRST, SECOND = "64:ff9b::/96", "2001:db8:64::/96"  # network A translates both
SELDOM_S = 1000


class SecondRouter:
    """Another router of network A: fe80::2, the same machine under another name. Silent until told what to say."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._path = lab.directory / "ra-second.json"
        self._say({"silent": True})
        lab.a.ip("addr", "add", "fe80::2/64", "dev", "lan", "nodad")
        options = ("--interface", "lan", "--config", str(self._path), "--source", "fe80::2")
        self._sender = lab.a.popen(PYTHON, "-IS", RA_SENDER, *options, name="second-router")
        eventually(lambda: "ready" in self._sender.log(), message="the second router advertises")

    def ra(self, **config: object) -> None:
        """Say this once, and to everybody who asks; keys are those of ra_sender."""
        self._say({"lifetime": 1800, "interval": SELDOM_S, **config})
        self._sender.signal(signal.SIGHUP)

    def close(self) -> None:
        """The router is switched off; nobody is told."""
        self._sender.kill()
        self._lab.a.ip("addr", "del", "fe80::2/64", "dev", "lan")

    def _say(self, config: dict[str, object]) -> None:
        write(self._path, json.dumps(config))


@pytest.fixture(autouse=True)
def only_what_the_test_says(clean_lab: Lab) -> None:
    """Nobody but routers tells a prefix, and they say nothing by themselves."""
    clean_lab.a.dns("plain")
    clean_lab.a.ra(interval=SELDOM_S)


@pytest.fixture
def second(clean_lab: Lab) -> Iterator[SecondRouter]:
    router = SecondRouter(clean_lab)
    yield router
    router.close()


def wait_for(joined: clat.Joined, prefix: str, *, router: str = "fe80::1", timeout_s: float = 10.0) -> None:
    """Wait until IPv4 goes through this prefix, which this router told."""

    def check() -> bool:
        told = clat.connection(joined.daemon)
        assert told["state"] == "on", (told["state"], told["reason"], told["evidence"], told["error"])
        assert told["translator"]["prefix"] == prefix, told["translator"]["prefix"]
        assert (told["prefix"]["prefix"], told["prefix"]["router"]) == (prefix, router), told["prefix"]
        return clat.answers(joined.host)

    eventually(check, timeout_s=timeout_s, message=f"IPv4 through {prefix} of {router}")


@contextlib.contextmanager
def heard(joined: clat.Joined, count: int = 1) -> Iterator[None]:
    """Wait at the end until the daemon has heard that many more advertisements than at the beginning."""

    def total() -> int:
        return int(joined.daemon.status()["router_advertisements"]["heard"])

    before = total()
    yield
    eventually(lambda: total() >= before + count, message=f"{count} more advertisements")


def test_second_router_changes_nothing_while_the_first_one_keeps_its_word(clean_lab: Lab, second: SecondRouter) -> None:
    joined = clat.join(clean_lab)
    pid = clat.translator(joined.host)
    with heard(joined):
        second.ra(pref64=[[SECOND, 600]], preference="high")
    wait_for(joined, FIRST)
    assert clat.translator(joined.host) == pid


def test_router_of_higher_preference_is_believed_first(clean_lab: Lab, second: SecondRouter) -> None:
    joined = clat.join(clean_lab)
    joined.host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    with heard(joined, 2):
        clean_lab.a.ra(preference="low")
        second.ra(pref64=[[SECOND, 600]], preference="high")
    joined.host.clatnm("set", "netA", "auto")
    wait_for(joined, SECOND, router="fe80::2")


@pytest.mark.parametrize(
    "farewell",
    [
        pytest.param({"pref64": [[FIRST, 0]]}, id="rfc8781-4.1-withdraws"),
        pytest.param({"lifetime": 0}, id="rfc4861-6.2.5-ceases"),
        pytest.param({"pref64": [[FIRST, 8]]}, id="rfc8781-4.1-shortens-and-is-silent"),
        pytest.param({"lifetime": 8}, id="rfc4861-6.3.4-shortens-and-is-silent"),
    ],
)
def test_second_router_takes_over_when_the_first_one_ends(
    clean_lab: Lab, second: SecondRouter, farewell: dict[str, object]
) -> None:
    joined = clat.join(clean_lab)
    with heard(joined):
        second.ra(pref64=[[SECOND, 600]])
    clean_lab.a.ra(**farewell)
    wait_for(joined, SECOND, router="fe80::2", timeout_s=15)


def test_same_prefix_of_another_router_keeps_the_translator(clean_lab: Lab, second: SecondRouter) -> None:
    joined = clat.join(clean_lab)
    pid = clat.translator(joined.host)
    with heard(joined):
        second.ra(pref64=[[FIRST, 600]])
    clean_lab.a.ra(lifetime=0)
    wait_for(joined, FIRST, router="fe80::2")
    assert clat.translator(joined.host) == pid


def test_prefix_that_its_router_tells_no_longer_gives_way_before_it_ends(clean_lab: Lab) -> None:
    """Routers rarely withdraw (RFC 8781 section 4.1): after a new configuration they tell another prefix instead."""
    joined = clat.join(clean_lab)
    clean_lab.a.ra(pref64=[[SECOND, 600]], interval=1)
    wait_for(joined, SECOND)
    clean_lab.a.ra(pref64=[[FIRST, 600]])
    wait_for(joined, FIRST)


def test_router_that_says_nothing_about_prefixes_for_a_while_takes_nothing_back(clean_lab: Lab) -> None:
    """RFC 4861 section 6.2.3: options may be split over several advertisements."""
    joined = clat.join(clean_lab)
    pid = clat.translator(joined.host)
    with heard(joined, 3):
        clean_lab.a.ra(pref64=[], interval=1)
    wait_for(joined, FIRST)
    assert clat.translator(joined.host) == pid


@pytest.mark.parametrize("change", [{"pref64": [[FIRST, 0]]}, {"lifetime": 0}], ids=["prefix", "router"])
def test_what_was_taken_back_and_is_told_again_counts_again(clean_lab: Lab, change: dict[str, object]) -> None:
    joined = clat.join(clean_lab)
    for _ in range(3):
        clean_lab.a.ra(**change)
        eventually(lambda: clat.connection(joined.daemon)["state"] == "off", message="no CLAT")
        clean_lab.a.ra(lifetime=1800, pref64=[[FIRST, 600]])
        wait_for(joined, FIRST)
    expected = {"lo", "up0", "up1", "clat-up0"}
    eventually(lambda: clat.devices(joined.host) == expected, message="one device")
    assert len(clat.translators(joined.host)) == 1


# What NetworkManager makes of the routers' resolvers

_RESOLVERS = """
import asyncio
from clatnm.dbus.bus import Bus
from clatnm.uplinks.networkmanager import NetworkManager

async def main():
    bus, manager = await Bus.connect(), NetworkManager()
    await manager.attach(bus, lambda: None)
    for uplink in manager.uplinks():
        print(uplink.interface, uplink.ipv4_disabled, *uplink.resolvers)
    bus.close()

asyncio.run(main())
"""


def resolvers(lab: Lab) -> str:
    return lab.host.python(_RESOLVERS).strip()


def test_resolver_of_the_routers_advertisement_is_the_links(quick_lab: Lab) -> None:
    quick_lab.host.add_profile("netA", "up0")
    quick_lab.host.up("netA")
    eventually(lambda: resolvers(quick_lab) == "up0 True 2001:db8:a::1", message="the resolver of A")


def test_resolver_of_dhcp6_is_the_links(quick_lab: Lab) -> None:
    quick_lab.a.dhcp6("on")
    quick_lab.a.ra(managed=True, pflags=0x80, rdnss=None)
    quick_lab.host.add_profile("netA", "up0", ipv4_method="auto", ipv4_may_fail="yes")
    quick_lab.host.up("netA")
    eventually(lambda: resolvers(quick_lab) == "up0 False 2001:db8:a::1", message="the resolver of the lease")


def test_resolvers_of_both_families_are_the_links(quick_lab: Lab) -> None:
    quick_lab.host.plug("up0", "b")
    quick_lab.host.add_profile("netB", "up0", ipv4_method="auto")
    quick_lab.host.up("netB")
    expected = "up0 False 2001:db8:b::1 192.168.2.1"
    eventually(lambda: resolvers(quick_lab) == expected, timeout_s=20, message="both resolvers of B")
