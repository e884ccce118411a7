# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that is restarted or killed: its translators go on, and the next one finds them. Or nobody comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from clatnm.translators.estate import PATIENCE_S
from tests.e2e import clat, flows
from tests.e2e.outliving import (
    ESTATE,
    SECOND,
    WAYS,
    connect,
    files,
    joined_with,
    ours,
    packets,
    restarted,
    wait_entrusted,
    ways,
)
from tests.e2e.streams import stream
from tests.e2e.test_leaving import KERNELS_RULES
from tests.e2e.test_right_moment import native_comes, native_goes
from tests.e2e.test_static_translators import SERVICE, server, wait_on, write
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

__all__ = ["server"]

BACKENDS = ("ebpf", "ebpf-clsact", "tun")
NOBODY = 65534
BOUND_S = PATIENCE_S + 15.0

_KNOCK = f"""
import os, socket, sys
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    sock.connect(sys.argv[1])
except PermissionError:
    print("refused")
"""


@ways
@pytest.mark.parametrize("backend", BACKENDS)
def test_connections_go_on_without_a_gap(clean_lab: Lab, backend: str, leave: Callable[[Daemon], None]) -> None:
    joined = joined_with(clean_lab, backend)
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    here = host.snapshot()
    with flows.download(host, clat.INET) as flow, stream(host, clat.INET) as datagrams:
        flow.further()
        counted = packets(joined.daemon)
        leave(joined.daemon)
        flow.further()
        datagrams.further()
        daemon = host.daemon("-v")
        told = clat.wait_on(daemon)
        assert told["translator"]["backend"] == backend
        flow.further()
        datagrams.further()
        assert packets(daemon) > counted, "it counts on"
        assert (datagrams.lost(), datagrams.refused) == (set(), 0)
        flow.end()
    assert clat.translator(host) == pid
    assert not here.diff(host.snapshot())
    assert daemon.stop() == 0
    assert files(host) == set()
    assert "clat-up0" not in clat.devices(host)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_leaves_nothing_of_an_adopted_one(clean_lab: Lab, backend: str) -> None:
    connect(clean_lab.host)
    before = clean_lab.host.snapshot()
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\n")
    for _ in range(3):
        daemon = clean_lab.host.daemon("-v")
        clat.wait_on(daemon)
        wait_entrusted(clean_lab.host)
        daemon.kill()
    daemon = clean_lab.host.daemon("-v")
    clat.wait_on(daemon)
    assert daemon.stop() == 0
    assert not before.diff(clean_lab.host.snapshot())
    assert files(clean_lab.host) == set()
    assert clat.translators(clean_lab.host) == []


def test_nobody_comes_and_nothing_is_left(clean_lab: Lab) -> None:
    """Also of hooks that no process holds. Of the others: test_surviving_hung.py."""
    host = clean_lab.host
    connect(host)
    before = host.snapshot()
    host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nbackend = ebpf-clsact\n")
    daemon = host.daemon("-v")
    clat.wait_on(daemon)
    wait_entrusted(host)
    daemon.kill()
    clat.ping(host)
    clat.wait_no_device(host, timeout_s=BOUND_S)
    eventually(lambda: not before.diff(host.snapshot()), timeout_s=BOUND_S, message="the host as before")
    eventually(lambda: not ours(host), timeout_s=BOUND_S, message="no process of ours")


def test_nobody_comes_and_no_rule_of_a_drain_is_left(clean_lab: Lab) -> None:
    host = clean_lab.host
    connect(host)
    native_comes(clean_lab)
    before = host.snapshot()
    native_goes(clean_lab)
    daemon = host.daemon("-v")
    clat.wait_on(daemon)
    with flows.download(host, clat.INET) as flow:
        native_comes(clean_lab)
        clat.wait_off(daemon, "native-ipv4")
        eventually(lambda: len(host.ip_json("-4", "rule")) > KERNELS_RULES, message="the rule of a drain")
        wait_entrusted(host)
        daemon.kill()
        flow.further()
        eventually(lambda: not before.diff(host.snapshot()), timeout_s=2 * BOUND_S, message="the host as before")
    eventually(lambda: not ours(host), timeout_s=BOUND_S, message="no process of ours")


def test_manager_that_begins_while_there_is_no_daemon_has_the_link_alone(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host = joined.host
    wait_entrusted(host)
    joined.daemon.kill()
    clat.ping(host)
    host.ip("addr", "add", "192.0.0.1/32", "dev", "up0")  # as its CLAT begins
    clat.wait_no_device(host, timeout_s=PATIENCE_S / 3)
    assert clat.translators(host) == []


def test_cleanup_ends_what_nobody_has_and_only_that(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "ebpf-clsact")
    host = joined.host
    wait_entrusted(host)
    assert host.clatnm("cleanup", check=False).returncode == 3, "it has a daemon"
    joined.daemon.kill()
    assert host.clatnm("cleanup", "--gone", check=False).returncode == 3
    clat.ping(host)
    told = host.clatnm("cleanup").stdout.splitlines()
    assert told == [
        "ended the translator clat-up0, which no daemon had",
        "removed the hook on up0 of a translator that is gone",
    ]
    assert "clat-up0" not in clat.devices(host)
    assert files(host) == set()


def test_other_users_do_not_get_in(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    (name,) = (name for name in files(host) if name.endswith(".socket"))
    joined.daemon.kill()
    assert host.python(_KNOCK, f"{ESTATE}/{name}") == "refused\n"
    daemon = host.daemon("-v")
    clat.wait_on(daemon)
    assert clat.translator(host) == pid


def test_second_daemon_does_not_get_what_the_first_has(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    with flows.download(host, clat.INET) as flow:
        second = host.daemon("-v")
        assert second.wait() == 1
        flow.further()
        flow.end()
    assert clat.translator(host) == pid
    clat.wait_on(joined.daemon)


def test_tayga_is_started_anew(clean_lab: Lab) -> None:
    clean_lab.a.ra(pref64=[[SECOND, 600]])  # by the well-known prefix TAYGA translates no addresses of documents
    clean_lab.a.dns("plain")
    joined = joined_with(clean_lab, "tayga")
    pid = clat.translator(joined.host)
    restarted(joined.daemon)
    assert clat.translators(joined.host) == []
    daemon = joined.host.daemon("-v")
    clat.wait_on(daemon)
    clat.ping(joined.host)
    assert clat.translator(joined.host) != pid


# Whatever else belongs to a translator


def test_scripts_run_once_and_in_the_end(clean_lab: Lab) -> None:
    host = clean_lab.host
    said = host.path("/run/clatnm/said")
    for name in ("up", "down"):
        script = host.path(f"/etc/clatnm/{name}")
        script.write_text(f"#!/bin/sh\necho {name} $clat_dev $plat_prefix $script_up >>/run/clatnm/said\n")
        script.chmod(0o755)
    config = host.path("/etc/clatnm/clatnm.conf")
    config.write_text("[clatnm]\nscript-up = /etc/clatnm/up\nscript-down = /etc/clatnm/down\n")
    joined = clat.join(clean_lab)
    daemon = joined.daemon
    for leave in WAYS.values():
        wait_entrusted(host)
        leave(daemon)
        # What it is told in the end is as at the start, and so is what is run.
        config.write_text("[clatnm]\nscript-up = none\nscript-down = /etc/clatnm/another\n")
        daemon = host.daemon("-v")
        clat.wait_on(daemon)
    told = "clat-up0 64:ff9b::/96 /etc/clatnm/up\n"
    assert said.read_text() == f"up {told}"
    assert daemon.stop() == 0
    assert said.read_text() == f"up {told}down {told}"


def test_script_of_one_that_ended_while_there_was_no_daemon_is_run_by_the_next(clean_lab: Lab) -> None:
    host = clean_lab.host
    said = host.path("/run/clatnm/said")
    for name in ("up", "down"):
        script = host.path(f"/etc/clatnm/{name}")
        script.write_text(f"#!/bin/sh\necho {name} >>/run/clatnm/said\n")
        script.chmod(0o755)
    config = host.path("/etc/clatnm/clatnm.conf")
    config.write_text("[clatnm]\nscript-up = /etc/clatnm/up\nscript-down = /etc/clatnm/down\n")
    joined = clat.join(clean_lab)
    pid = clat.translator(host)
    wait_entrusted(host)
    joined.daemon.kill()
    os.kill(pid, signal.SIGKILL)
    clat.wait_no_device(host)
    daemon = host.daemon("-v")
    clat.wait_on(daemon)
    eventually(lambda: said.read_text() == "up\ndown\nup\n", message="first what undoes, then what does")
    assert daemon.stop() == 0
    assert said.read_text() == "up\ndown\nup\ndown\n"


@ways
@pytest.mark.parametrize("backend", BACKENDS)
def test_edge_relay_goes_on(server: Host, backend: str, leave: Callable[[Daemon], None]) -> None:
    write(server, "relay", f"backend = {backend}\n{SERVICE}")
    daemon = server.daemon("-v")
    device = wait_on(daemon, "relay")["device"]
    pid = clat.translator(server)
    wait_entrusted(server)
    here = server.snapshot()
    leave(daemon)
    daemon = server.daemon("-v")
    assert wait_on(daemon, "relay")["device"] == device
    assert clat.translator(server) == pid
    assert not here.diff(server.snapshot())
    assert clat.answers(server)
    wait_entrusted(server)
    server.path("/etc/clatnm/static.d/relay.conf").unlink()
    daemon.signal(signal.SIGHUP)
    eventually(lambda: device not in clat.devices(server), message="its file is gone, and so is it")
    eventually(lambda: files(server) == set(), message="nothing is written down any more")
