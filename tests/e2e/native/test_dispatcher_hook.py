# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager's hook as it is installed, run by a real nm-dispatcher that the bus has started."""

from __future__ import annotations

import functools
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import clat
from tests.e2e.outliving import at_hand
from tests.lab import Host, Lab, eventually
from tests.lab.fixtures import EVERY_VERSION, running_lab

HOOKS = "/etc/NetworkManager/dispatcher.d"
EVENTS = 200
WAITING_S = 2.0
"""How long the hook's own call may take; whoever waited for it would be as late."""
PROBE = """\
#!/bin/sh
# When, before or after clatnm's hook, which interface, what happened, whether others configured it.
echo "$(date +%s.%N) ${0##*/} ${1:-none} $2 ${CONNECTION_EXTERNAL:-0}" >>/run/clatnm/events
"""
STORM = """\
while [ "$(grep -c "99-after up1 reapply" /run/clatnm/events)" -lt "$1" ]; do
    busctl --quiet call $3 $2 $3.Device Reapply "a{sa{sv}}tu" 0 0 0
done
"""


@pytest.fixture(scope="module", params=EVERY_VERSION)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from running_lab(request.param)


@pytest.fixture
def host(quick_lab: Lab) -> Iterator[Host]:
    """Its nm-dispatcher has two hooks that tell of themselves, one before ours and one after it."""
    host = quick_lab.host
    host.dispatcher_start()
    probes = [host.system_path(f"{HOOKS}/{name}") for name in ("10-before", "99-after")]
    for probe in probes:
        probe.write_text(PROBE)
        probe.chmod(0o755)
    host.path("/run/clatnm/events").write_text("")
    yield host
    for probe in probes:
        probe.unlink()
    host.nm_stop()  # its next start brings the snippet back


class Event:
    """One line of a probe."""

    def __init__(self, line: str) -> None:
        when, self.probe, self.interface, self.action, external = line.split()
        self.when_s, self.external = float(when), external == "1"


def events(host: Host, *, probe: str = "99-after") -> list[Event]:
    found = [Event(line) for line in host.path("/run/clatnm/events").read_text().splitlines()]
    return [event for event in found if event.probe == probe]


def seen(host: Host, interface: str, action: str) -> Event:
    """The last such event, once our hook has been run for it. AssertionError before."""
    found = [event for event in events(host) if (event.interface, event.action) == (interface, action)]
    assert found, f"no {action} of {interface}"
    return found[-1]


def callers(host: Host) -> list[int]:
    """Processes that the hook has left to poke the daemon, and those of the hook itself."""
    return [pid for pid in host.processes() if b"org.clatnm1.Manager" in command(pid) or b"90-clatnm" in command(pid)]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""


def test_hook_pokes_the_daemon_at_every_event_of_a_connection(quick_lab: Lab, host: Host) -> None:
    daemon = clat.join(quick_lab).daemon
    eventually(lambda: "poked: up0 up" in daemon.log(), message="the hook has poked")
    host.nmcli("device", "reapply", "up0")
    eventually(lambda: "poked: up0 reapply" in daemon.log(), message="the hook has poked again")
    host.down("netA")
    eventually(lambda: "poked: up0 down" in daemon.log(), message="the hook has poked once more")


def test_hook_is_silent_about_our_devices_and_about_external_ones(quick_lab: Lab, host: Host) -> None:
    # Without the snippet, so that NetworkManager has something to tell of a device of ours.
    host.system_path("/etc/NetworkManager/conf.d/90-clatnm.conf").unlink()
    host.nmcli("general", "reload", "conf")
    daemon = clat.join(quick_lab).daemon
    eventually(lambda: "poked: up0 up" in daemon.log(), message="the hook has poked")
    for name in ("clat-other", "stranger0"):
        host.ip("tuntap", "add", name, "mode", "tun")
        host.ip("addr", "add", "192.0.2.1/32", "dev", name)
        host.ip("link", "set", name, "up")
        event = eventually(functools.partial(seen, host, name, "up"), message="a hook was run for it")
        assert event.external
    host.ip("link", "del", "clat-other")
    eventually(lambda: seen(host, "clat-other", "down"), message="a hook was run for it")
    host.down("netA")
    eventually(lambda: "poked: up0 down" in daemon.log(), message="the hook has poked again")
    poked = [line for line in daemon.log().splitlines() if "poked: " in line]
    assert not [line for line in poked if "clat-" in line or "stranger0 up" in line], poked


@pytest.mark.parametrize("daemon", ["stopped", "absent", "killed"])
def test_hook_lets_nobody_wait_for_the_daemon(quick_lab: Lab, host: Host, daemon: str) -> None:
    if daemon == "absent":
        host.add_profile("netA", "up0")
        host.up("netA")
    else:
        joined = clat.join(quick_lab)
        joined.daemon.signal(signal.SIGSTOP if daemon == "stopped" else signal.SIGKILL)
    eventually(lambda: seen(host, "up0", "up"), message="the hooks were run for it")
    host.down("netA")
    eventually(lambda: seen(host, "up0", "down"), message="the hooks were run for it")
    after = events(host)
    before = events(host, probe="10-before")
    # One event after the other; the last one may still be under way.
    pairs = list(zip(before, after, strict=False))
    assert all((begin.interface, begin.action) == (end.interface, end.action) for begin, end in pairs)
    took_s = [end.when_s - begin.when_s for begin, end in pairs]
    assert statistics.median(took_s) < WAITING_S, took_s  # a busy machine may hold one of them up
    eventually(lambda: not callers(host), message="nobody is left who would poke")


def test_hundreds_of_events_are_survived(quick_lab: Lab, host: Host) -> None:
    joined = clat.join(quick_lab)
    clat.calm(joined.daemon)
    pid, descriptors = clat.translator(host), clat.descriptors(joined.daemon.pid) - at_hand(host)
    # Of another connection: what NetworkManager does to the uplink itself is no part of this.
    host.plug("up1", "b")
    host.add_profile("other", "up1", ipv4_method="manual", ipv4_addresses="192.0.2.9/32", ipv6_method="disabled")
    host.up("other")
    device = host.nmcli("-g", "GENERAL.DBUS-PATH", "device", "show", "up1").stdout.strip()
    host.run("sh", "-euc", STORM, "storm", str(EVENTS), device, "org.freedesktop.NetworkManager", timeout_s=180)
    host.down("other")

    def poked_at_each() -> bool:
        return joined.daemon.log().count("poked: up1 reapply") == sum(
            event.action == "reapply" for event in events(host, probe="10-before")
        )

    # 1.42's nm-dispatcher ends itself while events are still waiting, which are lost then: hence no more than pokes.
    eventually(poked_at_each, timeout_s=60, message="each event that hooks were run for has arrived")
    eventually(
        lambda: {told["interface"] for told in joined.daemon.status()["connections"]} == {"up0"},
        message="the daemon knows what came of it, whether or not a hook was run for that",
    )
    eventually(lambda: not callers(host), message="nobody is left who would poke")
    assert clat.translator(host) == pid
    assert clat.descriptors(joined.daemon.pid) - at_hand(host) <= descriptors + 1
    clat.ping(host)
