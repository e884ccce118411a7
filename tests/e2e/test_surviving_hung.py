# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators that hang: whoever comes next ends them, and if nobody comes, the caretaker does."""

from __future__ import annotations

import json
import os
import signal

from clatnm.translators.estate import PATIENCE_S
from tests.e2e import clat
from tests.e2e.outliving import ESTATE, SECOND, caretakers, connect, files, joined_with, ours, wait_entrusted
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.process import start_time

BACK_S = 20.0
BOUND_S = PATIENCE_S + 15.0


def stopped(pid: int) -> None:
    """As a loop that never ends: it answers nobody, and does not end by itself."""
    os.kill(pid, signal.SIGSTOP)


def changed_memo(host: Host, **fields: str) -> None:
    """What was written down about the only translator has other fields."""
    (name,) = (name for name in files(host) if name.endswith(".memo"))
    path = host.path(f"{ESTATE}/{name}")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}) + "\n")


def test_next_daemon_ends_it_and_ipv4_is_back(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    here = host.snapshot()
    stopped(pid)
    joined.daemon.kill()
    daemon = host.daemon("-v")
    clat.wait_on(daemon, timeout_s=BACK_S)
    clat.ping(host)
    clat.download(host, clat.MIB)
    assert start_time(pid) is None
    assert clat.translator(host) != pid
    assert not here.diff(host.snapshot()), "nothing of the first is left beside the second"
    assert "the translator clat-up0 did not answer, and was killed" in daemon.log()
    assert daemon.log().count("Traceback") == 0
    assert daemon.stop() == 0


def test_half_of_tayga_s_that_should_have_ended_is_ended(clean_lab: Lab) -> None:
    clean_lab.a.ra(pref64=[[SECOND, 600]])  # see test_tayga_is_started_anew
    clean_lab.a.dns("plain")
    joined = joined_with(clean_lab, "tayga")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    stopped(pid)
    joined.daemon.kill()
    daemon = host.daemon("-v")
    clat.wait_on(daemon, timeout_s=BACK_S)
    clat.ping(host)
    assert start_time(pid) is None
    assert daemon.stop() == 0


def test_one_that_is_not_known_for_sure_makes_room_and_ends_when_it_can(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "tun")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    joined.daemon.kill()
    stopped(pid)
    changed_memo(host, process="")
    daemon = host.daemon("-v")
    clat.wait_on(daemon, timeout_s=BACK_S)
    clat.ping(host)
    assert start_time(pid) is not None
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: start_time(pid) is None, message="it has no device any more")
    clat.ping(host)
    assert daemon.stop() == 0


def test_one_whose_daemon_lives_is_not_touched_by_others(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    stopped(pid)
    second = host.daemon("-v")
    assert second.wait(timeout_s=BACK_S) == 1
    os.kill(pid, signal.SIGCONT)
    clat.wait_on(joined.daemon)
    clat.ping(host)
    assert clat.translator(host) == pid


def test_nobody_comes_and_nothing_is_left_of_one_that_hangs(clean_lab: Lab) -> None:
    """Its hooks on tcx are held by its process alone."""
    host = clean_lab.host
    connect(host)
    before = host.snapshot()
    host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nbackend = auto\n")
    daemon = host.daemon("-v")
    clat.wait_on(daemon)
    wait_entrusted(host)
    eventually(lambda: caretakers(host), message="the caretaker is there")
    stopped(clat.translator(host))
    daemon.kill()
    clat.wait_no_device(host, timeout_s=BOUND_S)
    eventually(lambda: not ours(host), message="no process of ours")
    eventually(lambda: not before.diff(host.snapshot()), message="the host as before")
    assert files(host) == set()
