# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside a NetworkManager that translates itself (1.58: `ipv4.clat`): it has the right of way, and IPv4 works."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.e2e.native.witness import Witness
from tests.lab import Daemon, Host, Lab, eventually
from tests.lab.fixtures import running_lab

NATIVE, OURS = frozenset({"up0"}), frozenset({"clat-up0"})
NOBODY: frozenset[str] = frozenset()
RACES = 6
OURS_INSTEAD = ("netA", "ipv4.clat", "no", "+ipv6.dns-options", "clatnm:1")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    release = os.uname().release
    if tuple(map(int, re.findall(r"\d+", release)[:2])) < (6, 6):
        pytest.skip(f"NetworkManager's CLAT needs Linux 6.6; this is {release}")
    yield from running_lab("forky")


def start_daemon(host: Host) -> Daemon:
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    return daemon


def join(lab: Lab, mode: str) -> None:
    """Join A with a profile whose `ipv4.clat` is `mode`."""
    lab.host.add_profile("netA", "up0", ipv4_method="auto", ipv4_clat=mode)
    lab.host.up("netA")


def native_is_on(host: Host) -> bool:
    return any(str(address.ip).startswith("192.0.0.") for address in host.addresses("up0"))


def wait_native(lab: Lab, daemon: Daemon) -> None:
    """Wait until NetworkManager translates, the daemon says so, and IPv4 works."""
    eventually(lambda: native_is_on(lab.host), message="NetworkManager's CLAT")
    told = clat.wait_off(daemon, "manager-translates")
    assert told["evidence"]["manager-clat"].startswith("192.0.0.")
    clat.wait_no_device(lab.host)
    clat.ping(lab.host)
    clat.download(lab.host, clat.MIB)


def wait_ours(lab: Lab, daemon: Daemon) -> None:
    """Wait until the daemon translates, NetworkManager does not, and IPv4 works."""
    clat.wait_on(daemon)
    assert not native_is_on(lab.host)
    # Long enough for hooks that come up behind the device to be in the way of every further packet.
    steady = lab.host.run("ping", "-c", "20", "-i", "0.1", "-W", "1", clat.INET, check=False)
    assert " 20 received" in steady.stdout, steady.stdout
    clat.download(lab.host, clat.MIB)


def test_native_clat_that_is_there_first_stays_alone(quick_lab: Lab) -> None:
    witness = Witness(quick_lab)
    join(quick_lab, "auto")
    eventually(lambda: native_is_on(quick_lab.host), message="NetworkManager's CLAT")
    daemon = start_daemon(quick_lab.host)
    wait_native(quick_lab, daemon)
    assert witness.history() == [NATIVE]


@pytest.mark.parametrize("mode", ["auto", "force"])
def test_native_clat_that_comes_up_later_is_alone_from_the_first_moment(quick_lab: Lab, mode: str) -> None:
    witness = Witness(quick_lab)
    daemon = start_daemon(quick_lab.host)
    join(quick_lab, mode)
    wait_native(quick_lab, daemon)
    assert witness.history() == [NATIVE]


def test_prefix_announced_later_brings_up_the_native_clat_alone(quick_lab: Lab) -> None:
    quick_lab.a.ra(pref64=[])
    quick_lab.a.dns("plain")
    witness = Witness(quick_lab)
    daemon = start_daemon(quick_lab.host)
    join(quick_lab, "auto")
    clat.wait_off(daemon, "no-pref64")
    # Both hear the same advertisement, so who is first is a race.
    for _ in range(RACES):
        quick_lab.a.ra(pref64=[["64:ff9b::/96", 600]])
        wait_native(quick_lab, daemon)
        quick_lab.a.ra(pref64=[["64:ff9b::/96", 0]])
        eventually(lambda: not native_is_on(quick_lab.host), message="NetworkManager's CLAT is down")
        clat.wait_off(daemon, "no-pref64")
    assert witness.history() == [NATIVE, NOBODY] * RACES


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([("device", "modify", "up0", "ipv4.clat", "no")], id="device-modify"),
        pytest.param([("connection", "modify", *OURS_INSTEAD), ("device", "reapply", "up0")], id="reapply"),
        pytest.param([("connection", "modify", *OURS_INSTEAD), ("connection", "up", "netA")], id="up"),
    ],
)
def test_native_clat_turned_off_live_is_followed_by_ours(quick_lab: Lab, command: list[tuple[str, ...]]) -> None:
    # A reapply leaves NetworkManager's programs on the uplink: what they do not want must still get to ours.
    daemon = start_daemon(quick_lab.host)
    witness = Witness(quick_lab)
    join(quick_lab, "auto")
    wait_native(quick_lab, daemon)
    for argv in command:
        quick_lab.host.nmcli(*argv)
    wait_ours(quick_lab, daemon)
    assert witness.history() == [NATIVE, NOBODY, OURS]


def test_native_clat_turned_on_live_replaces_ours(quick_lab: Lab) -> None:
    daemon = start_daemon(quick_lab.host)
    join(quick_lab, "default")
    wait_ours(quick_lab, daemon)
    witness = Witness(quick_lab)
    quick_lab.host.nmcli("device", "modify", "up0", "ipv4.clat", "auto")
    wait_native(quick_lab, daemon)
    # NetworkManager asks nobody: both are there until the daemon has heard of it.
    assert witness.history()[-1] == NATIVE


def test_daemon_that_ends_leaves_the_native_clat_alone(quick_lab: Lab) -> None:
    daemon = start_daemon(quick_lab.host)
    join(quick_lab, "auto")
    wait_native(quick_lab, daemon)
    before = quick_lab.host.snapshot()
    assert daemon.stop() == 0
    assert before.diff(quick_lab.host.snapshot()) == ""
    clat.ping(quick_lab.host)
