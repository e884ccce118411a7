# SPDX-License-Identifier: GPL-2.0-or-later
"""The right moment: IPv4 that comes, goes and flaps, and prefixes that change, while connections go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.e2e import clat, flows
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

INET6 = "2001:db8:100::10"
FIRST, SECOND = "64:ff9b::/96", "2001:db8:64::/96"  # network A translates both
BACK_S = 5.0  # a second, and some more for a busy machine
COUNT_PER_PREFIX = """
table ip6 count {
  counter first {}
  counter second {}
  chain per_prefix {
    type filter hook prerouting priority -300;
    ip6 daddr 64:ff9b::/96 tcp dport 80 counter name first
    ip6 daddr 2001:db8:64::/96 tcp dport 80 counter name second
  }
}
"""
NATIVE = ("192.168.1.77/24", "192.168.1.1")


def native_comes(lab: Lab) -> None:
    """As a manager would put it up."""
    address, gateway = NATIVE
    lab.host.ip("addr", "replace", address, "dev", "up0")
    lab.host.ip("route", "replace", "default", "via", gateway, "dev", "up0", "metric", "100")


def native_goes(lab: Lab) -> None:
    lab.host.ip("-4", "route", "flush", "dev", "up0")
    lab.host.ip("-4", "addr", "flush", "dev", "up0")


def ours_again(lab: Lab, source: str) -> bool:
    """Whether a new connection has this source; NetworkManager may have put back what `native_goes` took from it."""
    if any(address.version == 4 for address in lab.host.addresses("up0")):
        native_goes(lab)
    return flows.source_of_new(lab.host, clat.INET) == source


def state(joined: clat.Joined) -> tuple[str, str | None]:
    told = clat.connection(joined.daemon)
    return told["state"], told["reason"]


# Native IPv4


def test_native_ipv4_that_comes_late_and_goes_again_costs_no_connection(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab, ipv4="auto")
    host, pid = joined.host, clat.translator(joined.host)
    with (
        flows.download(host, clat.INET) as through_clat,
        flows.download(host, INET6) as through_ipv6,
        flows.astray(clean_lab) as astray,
    ):
        through_clat.further()
        clean_lab.a.dhcp4("on")
        eventually(lambda: state(joined) == ("draining", "native-ipv4"), timeout_s=60, message="the CLAT drains")
        astray()
        for flow in (through_clat, through_ipv6):
            flow.further()
        assert flows.source_of_new(host, clat.INET).startswith("192.168.1.")
        assert astray() == 0
        native_goes(clean_lab)
        clat.wait_on(joined.daemon, timeout_s=BACK_S)
        eventually(lambda: ours_again(clean_lab, through_clat.source), message="new connections are translated")
        for flow in (through_clat, through_ipv6):
            flow.further()
            flow.end()
    assert clat.translator(host) == pid


def test_flapping_native_ipv4_costs_no_start(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    host, pid = joined.host, clat.translator(joined.host)
    for _ in range(10):
        native_comes(clean_lab)
        eventually(lambda: state(joined) == ("draining", "native-ipv4"), message="the CLAT drains")
        native_goes(clean_lab)
        clat.wait_on(joined.daemon, timeout_s=BACK_S)
    for _ in range(10):  # faster than anybody can follow
        native_comes(clean_lab)
        native_goes(clean_lab)
    clat.wait_on(joined.daemon)
    clat.ping(host)
    assert clat.translator(host) == pid
    native_comes(clean_lab)
    clat.wait_off(joined.daemon, "native-ipv4")
    assert flows.source_of_new(host, clat.INET) == "192.168.1.77"


# Prefixes


def packets(lab: Lab) -> tuple[int, int]:
    """How many TCP packets went to the first and to the second prefix since `COUNT_PER_PREFIX`."""
    listed = json.loads(lab.a.run("nft", "-j", "list", "counters").stdout)["nftables"]
    count = {item["counter"]["name"]: int(item["counter"]["packets"]) for item in listed if "counter" in item}
    return count["first"], count["second"]


@pytest.fixture
def counting(clean_lab: Lab) -> Iterator[Lab]:
    clean_lab.a.nft(COUNT_PER_PREFIX)
    yield clean_lab
    clean_lab.a.nft("delete table ip6 count\n")


def test_connection_keeps_its_prefix_while_new_ones_use_the_new_one(counting: Lab) -> None:
    joined = clat.join(counting)
    host, first = joined.host, clat.translator(joined.host)
    with flows.download(host, clat.INET) as old:
        old.further()
        counting.a.ra(pref64=[[SECOND, 600]], interval=1)
        eventually(lambda: told(joined) == ("on", "clat-up0", SECOND), message="the new prefix on the device's name")
        before = packets(counting)
        old.further()
        after = packets(counting)
        assert after[0] > before[0]
        assert after[1] == before[1]
        with flows.download(host, clat.INET) as new:
            new.further()
            assert new.source != old.source
            assert packets(counting)[1] > after[1]
            assert len(clat.translators(host)) == 2
            old.end()
            eventually(lambda: ended(host, first), timeout_s=40, message="the old one ends")
            new.further()
            new.end()
    eventually(lambda: clat.devices(host) == {"lo", "up0", "up1", "clat-up0"}, message="its device is gone")
    assert told(joined) == ("on", "clat-up0", SECOND)


def ended(host: Host, pid: int) -> bool:
    """The translator has; else says who may be using it."""
    assert pid not in clat.translators(host), host.run("ss", "-tuna").stdout
    return True


def told(joined: clat.Joined) -> tuple[str, str, str]:
    """State, device and prefix."""
    it = clat.connection(joined.daemon)
    assert it["translator"], it
    return it["state"], it["translator"]["device"], it["translator"]["prefix"]


def test_renumbered_link_keeps_its_connections(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    host, first = joined.host, clat.translator(joined.host)
    with flows.download(host, clat.INET) as old:
        old.further()
        clat.renumber(clean_lab, 3600)
        eventually(lambda: clat.has_moved(joined.daemon), message="a CLAT address in the new prefix")
        assert told(joined) == ("on", "clat-up0", FIRST)
        assert flows.source_of_new(host, clat.INET) != old.source
        assert first in clat.translators(host)
        old.further()
        old.end()


def test_of_router_and_dns64_that_disagree_the_router_is_believed(clean_lab: Lab) -> None:
    clean_lab.a.ra(pref64=[])
    joined = clat.join(clean_lab)
    assert source(joined) == (FIRST, "dns64")
    clean_lab.a.ra(pref64=[[SECOND, 600]])
    eventually(lambda: source(joined) == (SECOND, "ra"), message="the router's prefix")
    eventually(lambda: told(joined) == ("on", "clat-up0", SECOND), message="it is in use")
    clat.ping(joined.host)
    clean_lab.a.ra(pref64=[[SECOND, 0]])
    eventually(lambda: source(joined) == (FIRST, "dns64"), message="the DNS64's prefix again")
    eventually(lambda: told(joined) == ("on", "clat-up0", FIRST), message="it is in use")
    clat.ping(joined.host)


def source(joined: clat.Joined) -> tuple[str, str]:
    """The chosen prefix, and who told it."""
    prefix = clat.connection(joined.daemon)["prefix"]
    assert prefix
    return prefix["prefix"], prefix["source"]


# What is written


@pytest.fixture
def mute(clean_lab: Lab) -> Lab:
    """Nobody tells a prefix."""
    clean_lab.a.ra(pref64=[])
    clean_lab.a.dns("plain")
    return clean_lab


def configure(lab: Lab, *lines: str, connection: str = "") -> None:
    """Write the configuration, or that of one connection."""
    path = lab.host.path(f"/etc/clatnm/connections.d/{connection}.conf" if connection else "/etc/clatnm/clatnm.conf")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("[clatnm]", *lines, "")))


def test_fallback_prefix_is_used_where_nobody_tells_one(mute: Lab) -> None:
    configure(mute, f"fallback-prefix = {SECOND}")
    joined = clat.join(mute)
    assert source(joined) == (SECOND, "fallback")
    clat.ping(joined.host)
    mute.a.ra(pref64=[[FIRST, 600]])
    eventually(lambda: source(joined) == (FIRST, "ra"), message="the router's prefix")
    eventually(lambda: told(joined) == ("on", "clat-up0", FIRST), message="it is in use")


def test_written_prefix_is_used_whatever_the_router_says(clean_lab: Lab) -> None:
    configure(clean_lab, f"prefix = {SECOND}")
    joined = clat.join(clean_lab)
    assert source(joined) == (SECOND, "static")
    assert told(joined) == ("on", "clat-up0", SECOND)
    clat.ping(joined.host)


def test_file_of_a_connection_overrides_and_a_broken_one_changes_nothing(mute: Lab) -> None:
    configure(mute, f"fallback-prefix = {SECOND}")
    joined = clat.join(mute)
    uuid = str(clat.connection(joined.daemon)["uuid"])
    configure(mute, f"prefix = {FIRST}", connection=uuid)
    joined.daemon.signal(signal.SIGHUP)
    eventually(lambda: source(joined) == (FIRST, "static"), message="the connection's own prefix")
    eventually(lambda: told(joined) == ("on", "clat-up0", FIRST), message="it is in use")
    clat.ping(joined.host)
    configure(mute, "mode = no", "prefix = 64:ff9b::/97", connection=uuid)
    joined.daemon.signal(signal.SIGHUP)
    eventually(lambda: f"/connections.d/{uuid}.conf:3: " in joined.daemon.log(), message="the mistake is named")
    assert joined.daemon.log().count("keeping the last good configuration") == 1
    assert (state(joined), source(joined)) == (("on", None), (FIRST, "static"))
    configure(mute, "mode = no", connection=uuid)
    joined.daemon.signal(signal.SIGHUP)
    clat.wait_off(joined.daemon, "opted-out")
