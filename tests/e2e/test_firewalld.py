# SPDX-License-Identifier: GPL-2.0-or-later
"""A real firewalld: IPv4 goes on behind it, and whoever comes in by IPv4 is judged as on the uplink."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from clatnm.kernel import who
from tests.e2e import clat, inbound
from tests.e2e.clat import Joined
from tests.e2e.outliving import files, wait_entrusted, ways
from tests.lab.daemon import Daemon
from tests.lab.firewalld import Firewalld
from tests.lab.lab import Lab
from tests.lab.poll import eventually

DEVICE, UPLINK = "clat-up0", "up0"
AT_ONCE = """
import sys
from clatnm import caretaker
from clatnm.translators import estate
estate.PATIENCE_S = 0
caretaker._SLACK_S = 0
caretaker._clean_after(sys.argv[1])
"""


@pytest.fixture
def joined(quick_lab: Lab) -> Iterator[Joined]:
    reason = Firewalld.missing(quick_lab.host)
    if reason is not None:
        pytest.skip(reason)
    joined = clat.join(quick_lab)
    with inbound.service(joined.host), inbound.caller(quick_lab):
        yield joined


def in_zone(firewalld: Firewalld, zone: str) -> None:
    """Both are, in the end."""
    eventually(
        lambda: (firewalld.zone(UPLINK), firewalld.zone(DEVICE)) == (zone, zone),
        timeout_s=20,
        message=f"{UPLINK} and {DEVICE} are in zone {zone}",
    )


def test_device_is_where_its_uplink_is(joined: Joined) -> None:
    lab, host = joined.lab, joined.host
    clat_v6 = clat.connection(joined.daemon)["translator"]["clat_v6"]
    eventually(lambda: inbound.call(lab, clat_v6), message="a call is let in")
    with Firewalld(host) as firewalld:
        in_zone(firewalld, "public")
        clat.ping(host)
        clat.download(host, clat.MIB)
        assert not inbound.call(lab, clat_v6)
        firewalld.cmd("--zone=public", f"--add-port={inbound.PORT}/tcp")
        eventually(lambda: inbound.call(lab, clat_v6), message="a call is let in")

        firewalld.cmd("--zone=drop", f"--change-interface={UPLINK}")
        in_zone(firewalld, "drop")
        clat.ping(host)
        clat.download(host, clat.MIB)
        clat.udp_echo(host, 10, 5000)
        assert not inbound.call(lab, clat_v6)

        firewalld.cmd("--zone=trusted", f"--change-interface={UPLINK}")
        in_zone(firewalld, "trusted")
        eventually(lambda: inbound.call(lab, clat_v6), message="a call is let in")

        firewalld.cmd("--reload")
        in_zone(firewalld, firewalld.zone(UPLINK) or "public")
        firewalld.stop()
        firewalld.start()
        in_zone(firewalld, "public")
        clat.ping(host)

        stored = firewalld.cmd("--permanent", "--zone=public", "--list-interfaces")
        assert DEVICE not in stored
        assert joined.daemon.stop() == 0
        assert firewalld.zone(DEVICE) == ""


@ways
def test_device_stays_in_its_zone_when_another_daemon_follows(joined: Joined, leave: Callable[[Daemon], None]) -> None:
    host = joined.host
    with Firewalld(host) as firewalld:
        in_zone(firewalld, "public")
        firewalld.cmd("--zone=work", f"--change-interface={UPLINK}")
        in_zone(firewalld, "work")
        wait_entrusted(host)
        leave(joined.daemon)
        assert firewalld.zone(DEVICE) == "work"
        daemon = host.daemon("-v")
        clat.wait_on(daemon)
        in_zone(firewalld, "work")
        assert f"{DEVICE} is in zone" not in daemon.log(), "it has been there all the time"
        assert daemon.stop() == 0
        assert firewalld.zone(DEVICE) == ""
        assert files(host) == set()


def test_next_daemon_takes_what_is_gone_out_of_its_zone(joined: Joined) -> None:
    host = joined.host
    with Firewalld(host) as firewalld:
        in_zone(firewalld, "public")
        wait_entrusted(host)
        pid = clat.translator(host)
        joined.daemon.kill()
        os.kill(pid, signal.SIGKILL)
        clat.wait_no_device(host)
        assert firewalld.zone(DEVICE) == "public"
        host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nmode = no\n")
        daemon = host.daemon("-v")
        eventually(lambda: firewalld.zone(DEVICE) == "", message="it is in no zone")
        assert daemon.stop() == 0


def test_caretaker_takes_what_is_gone_out_of_its_zone(joined: Joined) -> None:
    """Nobody comes. Only the time that it gives a successor is not waited for here."""
    host = joined.host
    with Firewalld(host) as firewalld:
        in_zone(firewalld, "public")
        wait_entrusted(host)
        name = who.name(joined.daemon.pid)
        pid = clat.translator(host)
        joined.daemon.kill()
        os.kill(pid, signal.SIGKILL)
        clat.wait_no_device(host)
        assert host.python(AT_ONCE, who.name(os.getpid())) == ""
        assert firewalld.zone(DEVICE) == "public", "it is for another daemon's caretaker to see to"
        assert host.python(AT_ONCE, name) == ""
        assert firewalld.zone(DEVICE) == ""
        assert files(host) == set()


def test_device_leaves_its_zone_after_a_reload_too(joined: Joined) -> None:
    with Firewalld(joined.host) as firewalld:
        in_zone(firewalld, "public")
        firewalld.cmd("--zone=work", f"--change-interface={UPLINK}")
        in_zone(firewalld, "work")
        firewalld.cmd("--reload")
        in_zone(firewalld, firewalld.zone(UPLINK) or "public")
        assert joined.daemon.stop() == 0
        assert firewalld.zone(DEVICE) == ""


def test_firewall_whose_default_is_to_drop_is_no_obstacle(joined: Joined) -> None:
    host = joined.host
    with Firewalld(host) as firewalld:
        firewalld.cmd("--set-default-zone=drop")
        in_zone(firewalld, "drop")
        # A start behind it: neighbour discovery, duplicate address detection, the first packets.
        assert joined.daemon.stop() == 0
        daemon = host.daemon("-v")
        told = clat.wait_on(daemon, timeout_s=20)
        in_zone(firewalld, "drop")
        joined.lab.a.ip("neigh", "flush", "dev", "lan")
        clat.ping(host)
        clat.download(host, clat.MIB)
        assert not inbound.call(joined.lab, told["translator"]["clat_v6"])
        firewalld.cmd("--set-default-zone=public")
