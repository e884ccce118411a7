# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm translate`: one translator in the foreground, without a daemon."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.snapshot import HostState

ARGUMENTS = ("translate", "--uplink", "up0", "--plat-prefix", "64:ff9b::/96")


@pytest.fixture
def connected(clean_lab: Lab) -> Lab:
    clean_lab.host.dad(False)
    clean_lab.host.add_profile("netA", "up0")
    clean_lab.host.up("netA")
    eventually(clean_lab.host.has_ipv6, message="IPv6 in A")
    return clean_lab


def start(lab: Lab, *options: str) -> Service:
    service = lab.host.popen("clatnm", *ARGUMENTS, *options)
    eventually(lambda: "ready" in service.log(), message="the ready line")
    return service


def assert_as_before(lab: Lab, before: HostState) -> None:
    def same() -> bool:
        difference = before.diff(lab.host.snapshot())
        assert not difference, difference
        return True

    eventually(same, message="the host as before")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_translates_until_a_signal_and_leaves_nothing(connected: Lab, number: signal.Signals) -> None:
    before = connected.host.snapshot()
    service = start(connected)
    assert [line for line in service.log().splitlines() if line.startswith("ready ")] != []
    clat.ping(connected.host)
    clat.udp_echo(connected.host, 10, 1400)
    clat.download(connected.host, clat.MIB)
    service.signal(number)
    assert service.wait() == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    assert_as_before(connected, before)
    assert clat.translators(connected.host) == []


def test_killed_worker_ends_it_with_status_1(connected: Lab) -> None:
    before = connected.host.snapshot()
    service = start(connected)
    os.kill(clat.translator(connected.host), signal.SIGKILL)
    assert service.wait() == 1
    assert "error: the translator process ended with signal 9" in service.log()
    assert_as_before(connected, before)


def test_every_choice_can_be_made_by_hand(connected: Lab) -> None:
    options = ("--clat-v4-addr", "192.0.0.1", "--clat-v6-addr", "2001:db8:a::c1a7", "--device", "clat-mine")
    service = start(connected, *options, "--backend", "tun")
    assert "ready clat-mine 192.0.0.1 2001:db8:a::c1a7 64:ff9b::/96 tun" in service.log()
    assert "192.0.0.1/32" in connected.host.ip("addr", "show", "clat-mine")
    clat.ping(connected.host)


def test_removed_uplink_ends_it(connected: Lab) -> None:
    service = start(connected)
    connected.host.ip("link", "del", "up0")
    assert service.wait() in (1, 2)
    assert "error:" in service.log()
    clat.wait_no_device(connected.host)


def test_changed_mtu_of_the_uplink_is_followed(connected: Lab) -> None:
    service = start(connected)
    connected.host.ip("link", "set", "up0", "mtu", "1400")
    eventually(lambda: "mtu 1372" in connected.host.ip("-4", "route", "show", "default"), message="route MTU 1372")
    clat.ping(connected.host)
    assert service.running


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        pytest.param(("--uplink", "none0", "--plat-prefix", "64:ff9b::/96"), 2, "no interface 'none0'", id="interface"),
        pytest.param(("--uplink", "up0", "--plat-prefix", "64:ff9b::/97"), 2, "64:ff9b::/97", id="rfc6052-2.2-length"),
        pytest.param(("--uplink", "up0", "--plat-prefix", "64:ff9b::1/96"), 2, "64:ff9b::1/96", id="host-bits"),
        pytest.param(("--plat-prefix", "64:ff9b::/96"), 2, "--uplink", id="no-uplink"),
        pytest.param((*ARGUMENTS[1:], "--clat-v4-addr", "300.1.1.1"), 2, "300.1.1.1", id="ipv4"),
        pytest.param((*ARGUMENTS[1:], "--clat-v6-addr", "here"), 2, "here", id="ipv6"),
        pytest.param((*ARGUMENTS[1:], "--backend", "magic"), 2, "magic", id="backend"),
        pytest.param((*ARGUMENTS[1:], "--device", "a-name-that-is-too-long"), 2, "device", id="device"),
        pytest.param((*ARGUMENTS[1:], "--clat-v6-addr", "fe80::1"), 2, "fe80::1", id="link-local-clat-address"),
        pytest.param((*ARGUMENTS[1:], "--clat-v6-addr", "64:ff9b::1"), 2, "64:ff9b::1", id="clat-address-in-prefix"),
    ],
)
def test_bad_arguments_cost_one_line_and_change_nothing(
    connected: Lab, arguments: tuple[str, ...], status: int, error: str
) -> None:
    before = connected.host.snapshot()
    result = connected.host.clatnm("translate", *arguments, check=False)
    assert result.returncode == status
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert error in line
    assert not before.diff(connected.host.snapshot())


def test_uplink_without_ipv6_is_said(clean_lab: Lab) -> None:
    result = clean_lab.host.clatnm(*ARGUMENTS, check=False)
    assert (result.returncode, result.stderr) == (1, "error: up0: the connection has no working IPv6\n")


def test_second_translator_on_one_link_is_refused(connected: Lab) -> None:
    daemon = connected.host.daemon()
    clat.wait_on(daemon)
    result = connected.host.clatnm(*ARGUMENTS, "--device", "clat-other", check=False)
    assert result.returncode == 1
    assert "up0 has a translator already, on clat-up0" in result.stderr
    clat.ping(connected.host)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "x%d", "a:b"])
def test_impossible_device_name_is_an_argument_error(connected: Lab, name: str) -> None:
    result = connected.host.clatnm(*ARGUMENTS, "--device", name, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)


def test_address_in_use_is_named(connected: Lab) -> None:
    connected.host.ip("addr", "add", "192.0.0.6/32", "dev", "lo")
    try:
        result = connected.host.clatnm(*ARGUMENTS, "--clat-v4-addr", "192.0.0.6", check=False)
    finally:
        connected.host.ip("addr", "del", "192.0.0.6/32", "dev", "lo")
    assert (result.returncode, "192.0.0.6 is in use on lo" in result.stderr) == (2, True)


def test_prefix_of_the_link_itself_is_no_nat64_prefix(connected: Lab) -> None:
    arguments = ("translate", "--uplink", "up0", "--plat-prefix", "2001:db8::/32")
    result = connected.host.clatnm(*arguments, check=False)
    assert result.returncode == 2
    assert "2001:db8::/32 contains 2001:db8:a:" in result.stderr
