# SPDX-License-Identifier: GPL-2.0-or-later
"""What else may happen to translators, and to what is written down about them, while there is no daemon."""

from __future__ import annotations

import functools
import signal
from pathlib import Path

from tests.e2e import clat, flows
from tests.e2e.outliving import ESTATE, WAYS, files, joined_with, wait_entrusted
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

BACK_S = 20.0
NOISE = b"\x00\xff{" * 100


def as_ever(daemon: Daemon, host: Host, *, interface: str = "up0") -> None:
    """There is IPv4, by one translator, and at the end nothing is left."""
    clat.wait_on(daemon, interface, timeout_s=BACK_S)
    eventually(lambda: clat.answers(host), timeout_s=BACK_S, message="IPv4")
    eventually(lambda: len(clat.translators(host)) == 1, timeout_s=BACK_S, message="one translator")
    assert "Traceback" not in daemon.log()
    assert daemon.stop() == 0
    assert not [name for name in clat.devices(host) if name.startswith("clat-")]
    assert clat.translators(host) == []


def test_directory_that_is_removed_under_it_is_made_again(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    host.run("rm", "-r", ESTATE)
    with flows.download(host, clat.INET) as flow:
        WAYS["restarted"](joined.daemon)
        flow.further()
        daemon = host.daemon("-v")
        clat.wait_on(daemon)
        flow.further()
    assert clat.translator(host) == pid
    as_ever(daemon, host)
    assert files(host) == set()


def test_where_nothing_can_be_written_none_outlives_and_ipv4_works(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.path(ESTATE).mkdir()
    host.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs", ESTATE)  # it is full
    try:
        joined = joined_with(clean_lab, "auto")
        eventually(lambda: "it will not outlive us" in joined.daemon.log(), message="it says so")
        WAYS["restarted"](joined.daemon)
        assert "clat-up0" not in clat.devices(host)
        daemon = host.daemon("-v")
        clat.wait_on(daemon)
        daemon.kill()
        clat.wait_no_device(host)
        as_ever(host.daemon("-v"), host)
    finally:
        host.run("umount", "-l", ESTATE)


def test_noise_in_files_keeps_nobody_from_ipv4(clean_lab: Lab) -> None:
    """Also in what nobody of ours has written."""
    joined = joined_with(clean_lab, "tun")
    host = joined.host
    wait_entrusted(host)
    (memo,) = (name for name in files(host) if name.endswith(".memo"))
    joined.daemon.kill()
    host.path(f"{ESTATE}/{memo}").write_bytes(NOISE)
    host.path(f"{ESTATE}/4711.memo").write_bytes(NOISE)
    host.path(f"{ESTATE}/4712.socket").mkdir()
    host.path(f"{ESTATE}/٣.memo").touch()
    host.path(f"{ESTATE}/zones").write_bytes(NOISE)
    as_ever(host.daemon("-v"), host)


def renamed(host: Host) -> None:
    """As udev does: down for a moment, and then another name."""
    host.ip("link", "set", "up0", "down")
    host.ip("link", "set", "up0", "name", "up9")
    host.ip("link", "set", "up9", "name", "up0")
    host.ip("link", "set", "up0", "up")


def removed(host: Host) -> None:
    host.ip("link", "del", "up0")


def test_uplink_that_had_another_name_for_a_moment(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host = joined.host
    wait_entrusted(host)
    joined.daemon.kill()
    renamed(host)
    host.up("netA")  # NetworkManager takes it for another one
    eventually(host.has_ipv6, timeout_s=BACK_S, message="IPv6 is back")
    as_ever(host.daemon("-v"), host)


def test_uplink_that_is_removed_takes_the_translator_along(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host = joined.host
    wait_entrusted(host)
    joined.daemon.kill()
    removed(host)
    clat.wait_no_device(host)
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    assert "Traceback" not in daemon.log()
    assert daemon.stop() == 0
    assert files(host) == set()
    assert clat.translators(host) == []


def test_two_daemons_at_once_and_one_of_them_stays(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host = joined.host
    wait_entrusted(host)
    joined.daemon.kill()
    both = [host.daemon("-v"), host.daemon("-v")]
    eventually(lambda: sum(daemon.running for daemon in both) == 1, timeout_s=BACK_S, message="one goes")
    (stays,) = (daemon for daemon in both if daemon.running)
    as_ever(stays, host)
    assert all("Traceback" not in daemon.log() for daemon in both)


def hears(pid: int, number: int) -> bool:
    """It has said what is to be done about that signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> number - 1 & 1)


def test_daemon_that_is_restarted_while_it_starts_leaves_them_to_the_next(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    with flows.download(host, clat.INET) as flow:
        joined.daemon.kill()
        for _ in range(2):
            daemon = host.daemon("-v")
            eventually(functools.partial(hears, daemon.pid, signal.SIGUSR1), message="it hears")
            WAYS["restarted"](daemon)
            flow.further()
        daemon = host.daemon("-v")
        clat.wait_on(daemon)
        flow.further()
    assert clat.translator(host) == pid
    as_ever(daemon, host)


def test_manager_that_is_started_again_at_the_same_time(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    joined.daemon.kill()
    host.nm_stop()
    daemon = host.daemon("-v")
    host.nm_start()
    clat.wait_on(daemon, timeout_s=BACK_S)
    assert clat.translator(host) == pid
    as_ever(daemon, host)
