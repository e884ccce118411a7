# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that finds translators, and another world than its predecessor knew, or a memo that it cannot read."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import clat, flows
from tests.e2e.outliving import ESTATE, SECOND, files, joined_with, packets, restart_after, wait_entrusted
from tests.e2e.test_right_moment import native_comes
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

METRIC = 77


def test_new_prefix_takes_over_and_old_connections_go_on(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host = joined.host
    with flows.download(host, clat.INET) as old:
        old.further()
        daemon = restart_after(joined, lambda: clean_lab.a.ra(pref64=[[SECOND, 600]], interval=1))

        def moved() -> bool:
            told = clat.connection(daemon)["translator"]
            return (told["device"], told["prefix"]) == ("clat-up0", SECOND)

        eventually(moved, timeout_s=20, message="the new prefix on the device's name")
        clat.wait_on(daemon)
        old.further()
        assert flows.source_of_new(host, clat.INET) != old.source
        old.end()


def test_native_ipv4_that_came_meanwhile_takes_new_connections_only(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    host = joined.host
    with flows.download(host, clat.INET) as flow:
        flow.further()

        daemon = restart_after(joined, lambda: native_comes(clean_lab))
        clat.wait_off(daemon, "native-ipv4")
        flow.further()
        assert flows.source_of_new(host, clat.INET) == "192.168.1.77"
        # Another one finds a translator that drains.
        wait_entrusted(host)
        daemon.kill()
        daemon = host.daemon("-v")
        clat.wait_off(daemon, "native-ipv4")
        flow.further()
        flow.end()
    clat.wait_no_device(host, timeout_s=30)


def test_network_that_was_left_meanwhile_ends_it(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    daemon = restart_after(joined, lambda: joined.host.down("netA"))
    eventually(daemon.status, message="the daemon answers")
    clat.wait_no_device(joined.host)
    assert clat.translators(joined.host) == []


def test_opted_out_meanwhile_ends_it(clean_lab: Lab) -> None:
    joined = joined_with(clean_lab, "auto")
    told = joined.host.path("/etc/clatnm/clatnm.conf")
    daemon = restart_after(joined, lambda: told.write_text("[clatnm]\nmode = no\n"))
    clat.wait_off(daemon, "opted-out")
    clat.wait_no_device(joined.host)


# What cannot be adopted


def other_version(memo: str) -> str:
    told = json.loads(memo)
    told["version"] += 1
    return json.dumps(told) + "\n"


@pytest.mark.parametrize("spoil", [other_version, lambda memo: memo[:-20]], ids=["another-version", "damaged"])
def test_what_is_not_understood_is_ended_and_another_one_started(clean_lab: Lab, spoil: Callable[[str], str]) -> None:
    joined = joined_with(clean_lab, "auto")
    host, pid = joined.host, clat.translator(joined.host)
    wait_entrusted(host)
    joined.daemon.kill()
    spoiled(host, spoil)
    daemon = host.daemon("-v")
    clat.wait_on(daemon)
    clat.ping(host)
    assert clat.translator(host) != pid
    assert "an earlier translator is ended" in daemon.log()
    assert daemon.log().count("failed") == 0


def other_programs(memo: str) -> str:
    told = json.loads(memo)
    told["programs"] = "of an earlier version"
    return json.dumps(told) + "\n"


def spoiled(host: Host, spoil: Callable[[str], str]) -> None:
    """What was written down about the only translator is something else."""
    (name,) = (name for name in files(host) if name.endswith(".memo"))
    path = host.path(f"{ESTATE}/{name}")
    path.write_text(spoil(path.read_text()))


def maps(pid: int) -> set[str]:
    """Numbers of the eBPF maps that a process holds."""
    texts = [info.read_text() for info in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return {line.split()[1] for text in texts for line in text.splitlines() if line.startswith("map_id:")}


@pytest.mark.parametrize("backend", ["ebpf", "ebpf-clsact"])
def test_programs_of_another_version_go_on_until_the_next_change(clean_lab: Lab, backend: str) -> None:
    joined = joined_with(clean_lab, backend)
    host, pid = joined.host, clat.translator(joined.host)
    with flows.download(host, clat.INET) as flow:
        flow.further()
        counted = packets(joined.daemon)
        wait_entrusted(host)
        joined.daemon.kill()
        spoiled(host, other_programs)
        daemon = host.daemon("-v")
        clat.wait_on(daemon)
        flow.further()
        assert packets(daemon) > counted
        counted = packets(daemon)
        theirs = maps(pid)
        host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\nmetric = {METRIC}\n")
        daemon.signal(signal.SIGHUP)
        eventually(lambda: clat.connection(daemon)["translator"]["metric"] == METRIC, message="another plan")
        flow.further()
        assert packets(daemon) > counted, "what the old ones have counted still counts"
        wait_entrusted(host)
        # They may be made otherwise than those that our programs know.
        eventually(lambda: theirs and not theirs & maps(pid), message="none of the maps is in use any more")
        flow.end()
    assert clat.translator(host) == pid
    assert daemon.stop() == 0
    assert "clat-up0" not in clat.devices(host)
