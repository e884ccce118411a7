# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks on clsact can outlive a killed translator: they are found again and removed."""

from __future__ import annotations

import os
import signal

import pytest

from clatnm.translators.estate import PATIENCE_S
from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN

FILTER = "clatnm direct-action"


@pytest.fixture
def connected(clean_lab: Lab) -> Lab:
    clean_lab.host.dad(False)
    clean_lab.host.add_profile("netA", "up0")
    clean_lab.host.up("netA")
    eventually(clean_lab.host.has_ipv6, message="IPv6 in A")
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nbackend = ebpf-clsact\n")
    return clean_lab


def hooks(lab: Lab) -> str:
    return lab.host.run("tc", "filter", "show", "dev", "up0", "ingress", check=False).stdout


def killed(lab: Lab) -> None:
    """A daemon and its translator die at the same moment."""
    daemon = lab.host.daemon()
    clat.wait_on(daemon)
    clat.ping(lab.host)
    assert FILTER in hooks(lab)
    worker = clat.translator(lab.host)
    daemon.signal(signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    daemon.kill()
    clat.wait_no_device(lab.host)


def test_stopped_daemon_takes_its_hook_and_clsact_away(connected: Lab) -> None:
    before = connected.host.snapshot()
    daemon = connected.host.daemon()
    clat.wait_on(daemon)
    assert FILTER in hooks(connected)
    daemon.stop()
    assert not before.diff(connected.host.snapshot())


def test_clsact_of_somebody_else_stays(connected: Lab) -> None:
    connected.host.run("tc", "qdisc", "add", "dev", "up0", "clsact")
    never = ("bpf", "bytecode", "1,6 0 0 0,")  # classic BPF that matches nothing
    connected.host.run("tc", "filter", "add", "dev", "up0", "ingress", "prio", "7", "protocol", "all", *never)
    before = connected.host.snapshot()
    daemon = connected.host.daemon()
    clat.wait_on(daemon)
    daemon.stop()
    assert not before.diff(connected.host.snapshot())
    assert "pref 7 " in hooks(connected)


def test_cleanup_removes_the_hook_of_a_killed_translator(connected: Lab) -> None:
    killed(connected)
    assert FILTER in hooks(connected)
    result = connected.host.clatnm("cleanup")
    assert result.stdout == "removed the hook on up0 of a translator that is gone\n"
    assert FILTER not in hooks(connected)
    again = connected.host.clatnm("cleanup", check=False)
    assert (again.returncode, again.stdout) == (3, "nothing to clean up\n")


def test_next_daemon_removes_it_too(connected: Lab) -> None:
    killed(connected)
    connected.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nmode = no\n")
    daemon = connected.host.daemon()
    clat.wait_off(daemon, "opted-out")
    assert FILTER not in hooks(connected)


@pytest.mark.parametrize("backend", ["tun", "ebpf-clsact"])
def test_translator_by_hand_works_where_one_was_killed(connected: Lab, backend: str) -> None:
    """The dead one's hook would take what the network answers, and lead it nowhere."""
    killed(connected)
    host = connected.host
    words = ("--uplink", "up0", "--plat-prefix", "64:ff9b::/96", "--backend", backend)
    service = host.popen(str(VENV_BIN / "clatnm"), "translate", *words)
    eventually(lambda: "ready " in service.log(), message="the ready line")
    # On clsact the very first one may be lost, while the device gets its hook.
    eventually(lambda: clat.answers(host), message="IPv4 works")
    assert service.stop() == 0, service.log()
    assert FILTER not in hooks(connected)


def test_cleanup_leaves_a_running_translator_alone(connected: Lab) -> None:
    daemon = connected.host.daemon()
    clat.wait_on(daemon)
    assert connected.host.clatnm("cleanup", check=False).returncode == 3
    clat.ping(connected.host)


def test_daemon_killed_alone_leaves_no_hook(connected: Lab) -> None:
    """tcx hooks are descriptors: nothing is left of them, whoever dies."""
    connected.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nbackend = ebpf\n")
    before = connected.host.snapshot()
    daemon = connected.host.daemon()
    clat.wait_on(daemon)
    daemon.kill()
    clat.wait_no_device(connected.host, timeout_s=PATIENCE_S + 10)
    eventually(lambda: not before.diff(connected.host.snapshot()), message="the host as before")
