# SPDX-License-Identifier: GPL-2.0-or-later
"""TAYGA as the translator: it carries everything, nothing of it is seen on the host, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from clatnm.errors import TranslatorError
from clatnm.model import Plan
from clatnm.translators import tayga
from clatnm.worker import privileges
from tests.e2e import clat
from tests.e2e.outliving import at_hand
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.process import Service, name_of, start_time
from tests.lab.snapshot import HostState

# TAYGA 0.9.2 refuses documentation addresses as the lab's behind 64:ff9b::/96, so A announces its other prefix.
PREFIX = "2001:db8:64::/96"
BY_HAND = ("translate", "--uplink", "up0", "--plat-prefix", PREFIX, "--backend", "tayga")
PLAN = Plan(
    interface="up0",
    ifindex=2,
    uuid="",
    device="clat-up0",
    backend="tayga",
    clat_v4=IPv4Address("192.0.0.4"),
    clat_v6=IPv6Address("2001:db8:1::c1a7"),
    prefix=IPv6Network(PREFIX),
    gateway=None,
    link_address=None,
    ipv6_mtu_bytes=1500,
    ipv4_mtu_bytes=1472,
    metric=1,
)


@pytest.fixture
def connected(clean_lab: Lab) -> Lab:
    """Joined network A, without clatnm."""
    clean_lab.host.dad(False)
    clean_lab.a.ra(pref64=[[PREFIX, 600]])
    clean_lab.a.dns("plain")  # its DNS64 would tell the other one
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nbackend = tayga\n")
    clean_lab.host.add_profile("netA", "up0")
    clean_lab.host.up("netA")
    eventually(clean_lab.host.has_ipv6, message="IPv6 in A")
    return clean_lab


def joined(lab: Lab) -> clat.Joined:
    """The daemon runs, and IPv4 works."""
    daemon = lab.host.daemon("-v")
    clat.wait_on(daemon)
    clat.ping(lab.host)
    return clat.Joined(lab, lab.host, daemon)


def taygas(parent: int) -> list[int]:
    """Pids of the TAYGAs that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if name_of(int(pid)) == "tayga"]


def the_tayga(parent: int) -> int:
    pids = taygas(parent)
    assert len(pids) == 1, pids
    return pids[0]


def assert_all_gone(lab: Lab, before: HostState, *pids: int) -> None:
    def gone() -> bool:
        difference = before.diff(lab.host.snapshot())
        assert not difference, difference
        assert [pid for pid in pids if start_time(pid)] == []
        return True

    eventually(gone, message="the host as before, and no process left")


def test_it_carries_everything(connected: Lab) -> None:
    host, daemon = (it := joined(connected)).host, it.daemon
    told = clat.connection(daemon)["translator"]
    assert (told["backend"], told["prefix"]) == ("tayga", PREFIX)
    clat.ping(host, clat.INET, "-s", "1200")  # a larger reply comes in fragments, which TAYGA does not translate
    clat.udp_echo(host, 1, 1400, 4000)
    clat.download(host, 8 * clat.MIB)
    clat.upload(host, 8 * clat.MIB)
    counters = clat.connection(daemon)["translator"]["counters"]
    for direction in ("ipv4_to_ipv6", "ipv6_to_ipv4"):
        packets = {name: row["packets"] for name, row in counters[direction]["protocols"].items()}
        assert packets.keys() >= {"tcp", "udp", "icmp"}, packets
        assert counters[direction]["drops"].keys() <= {"busy"}


def test_host_has_nothing_but_the_device_and_tayga_no_privileges(connected: Lab) -> None:
    before = connected.host.snapshot()
    it = joined(connected)
    pid = the_tayga(it.daemon.pid)
    assert pid not in it.host.processes()
    changed = {line for line in before.diff(it.host.snapshot()).splitlines() if line[0] in "+-"}
    assert [line for line in changed if line[0] == "-" or ("clat-up0" not in line and "192.0.0.4" not in line)] == []
    assert clat.devices(it.host) == {"lo", "up0", "up1", "clat-up0"}
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert [fields[name].split()[0] for name in ("Uid", "Gid")] == [str(number) for number in privileges.identity()]
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapInh"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_end_of_the_daemon_leaves_nothing(connected: Lab, number: signal.Signals) -> None:
    before = connected.host.snapshot()
    it = joined(connected)
    pids = (the_tayga(it.daemon.pid), clat.translator(it.host))
    it.daemon.signal(number)
    it.daemon.wait()
    assert_all_gone(connected, before, *pids)


def descriptors_of(it: clat.Joined) -> int:
    """How many the daemon has in the end, without those to processes that may have been started already, or not yet."""
    clat.calm(it.daemon)
    return clat.descriptors(it.daemon.pid) - at_hand(it.host)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("which", ["tayga", "worker"])
def test_killed_half_takes_the_other_along_and_both_start_again(
    connected: Lab, which: str, number: signal.Signals
) -> None:
    it = joined(connected)
    descriptors = descriptors_of(it)
    tayga_pid, worker = the_tayga(it.daemon.pid), clat.translator(it.host)
    os.kill(tayga_pid if which == "tayga" else worker, number)

    def anew() -> bool:
        assert the_tayga(it.daemon.pid) != tayga_pid
        return clat.translator(it.host) != worker

    eventually(anew, message="another pair")
    assert [pid for pid in (tayga_pid, worker) if start_time(pid)] == []
    clat.wait_on(it.daemon)
    clat.ping(it.host)
    assert len([line for line in it.daemon.log().splitlines() if "ended with" in line]) == 1
    assert descriptors_of(it) == descriptors


def test_smaller_mtu_is_applied_live(connected: Lab) -> None:
    it = joined(connected)
    pid = the_tayga(it.daemon.pid)
    connected.a.ra(pref64=[[PREFIX, 600]], mtu=1300)
    eventually(lambda: "mtu 1272" in it.host.ip("-4", "route", "show", "default"), message="route MTU 1272")
    clat.download(it.host, clat.MIB)
    clat.upload(it.host, clat.MIB)
    assert the_tayga(it.daemon.pid) == pid


def test_changed_prefix_starts_another_tayga(connected: Lab) -> None:
    connected.a.ra(pref64=[["64:ff9b::/96", 600]])
    daemon = connected.host.daemon("-v")
    clat.wait_on(daemon)
    pid = the_tayga(daemon.pid)
    assert not clat.answers(connected.host)  # documentation addresses, see above
    connected.a.ra(pref64=[["64:ff9b::/96", 0], [PREFIX, 600]])

    def changed() -> bool:
        told = clat.connection(daemon)
        assert (told["state"], told["translator"]["prefix"]) == ("on", PREFIX), told
        return the_tayga(daemon.pid) != pid

    eventually(changed, message="the new prefix")
    clat.ping(connected.host)
    assert not start_time(pid)


# By hand


def by_hand(lab: Lab, *before: str) -> Service:
    service = lab.host.popen(*before, "clatnm", *BY_HAND)
    eventually(lambda: "ready clat-up0 192.0.0.4" in service.log(), message="the ready line")
    return service


def test_translates_by_hand_until_sigterm(connected: Lab) -> None:
    before = connected.host.snapshot()
    service = by_hand(connected)
    pids = (the_tayga(service.pid), clat.translator(connected.host))
    clat.ping(connected.host)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert_all_gone(connected, before, *pids)


def test_killed_tayga_ends_it_with_status_1(connected: Lab) -> None:
    before = connected.host.snapshot()
    service = by_hand(connected)
    worker = clat.translator(connected.host)
    os.kill(the_tayga(service.pid), signal.SIGKILL)
    assert service.wait() == 1
    assert "error: tayga ended with signal 9\n" in service.log()
    assert_all_gone(connected, before, worker)


def test_without_cap_sys_admin_a_user_namespace_will_do(connected: Lab) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if connected.host.run(*nobody, "unshare", "--user", "--net", "true", check=False).returncode:
        pytest.skip("this kernel gives unprivileged users no namespaces")
    service = by_hand(connected, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    namespaces = {os.readlink(f"/proc/{pid}/ns/user") for pid in (service.pid, the_tayga(service.pid))}
    assert len(namespaces) == 2
    clat.ping(connected.host)
    clat.download(connected.host, clat.MIB)


# TAYGA alone


def start(plan: Plan, path: str) -> None:
    """Start and stop it, as a backend does. TranslatorError."""

    async def run() -> None:
        running = await tayga.start(plan, tayga.examine(path))
        running.packets.close()
        await running.stop()

    asyncio.run(run())


@pytest.mark.parametrize("prefix", ["64:ff9b::/96", PREFIX], ids=["rfc6052-2.1-well-known", "len96"])
@pytest.mark.usefixtures("needs_tayga")
def test_it_translates_right(prefix: str) -> None:
    start(replace(PLAN, prefix=IPv6Network(prefix)), tayga.find())


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64])
@pytest.mark.usefixtures("needs_tayga")
def test_it_takes_each_prefix_length(length: int) -> None:
    prefix = IPv6Network((int(IPv6Address("2001:db9:6464:6464::")) >> (128 - length) << (128 - length), length))
    start(replace(PLAN, prefix=prefix), tayga.find())


@pytest.fixture
def script(needs_root: None) -> Iterator[Callable[[str], str]]:
    """Writes a program that anybody may run; its path."""
    # Not pytest's own directory, which nobody but its user may enter.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)

        def write(line: str) -> str:
            path = Path(directory) / "tayga"
            path.write_text(f"#!/bin/bash\nexec {line}\n")
            path.chmod(0o755)
            return str(path)

        yield write


@pytest.mark.usefixtures("needs_tayga")
def test_tayga_that_ignores_its_map_is_found_out(script: Callable[[str], str]) -> None:
    """Debian's 0.9.2-9 did: clatd-53, 54 and 55."""
    forgetful = script(f'{tayga.find()} -d -c <(grep -v ^map "$3")')
    with pytest.raises(TranslatorError) as caught:
        start(replace(PLAN, prefix=IPv6Network("64:ff9b::/96")), forgetful)
    assert "it makes a packet from 64:ff9b::c000:4 to 64:ff9b::c629:4, not from 2001:db8:1::c1a7" in str(caught.value)


@pytest.mark.usefixtures("needs_tayga")
def test_refused_configuration_is_told_in_its_own_words() -> None:
    with pytest.raises(TranslatorError) as caught:
        start(replace(PLAN, prefix=IPv6Network("2001:db8::/32")), tayga.find())
    assert "tayga ended with status 1: Error: IPv6 address in map directive on line" in str(caught.value)


def test_program_that_translates_nothing_is_found_out(
    script: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tayga, "_ANSWER_S", (0.01, 0.01))
    with pytest.raises(TranslatorError, match="translates nothing"):
        start(PLAN, script("sleep 60"))


def test_program_that_ends_at_once_is_told(script: Callable[[str], str]) -> None:
    with pytest.raises(TranslatorError, match=r"tayga ended with status 3: no$"):
        start(PLAN, script("sh -c 'echo no; exit 3'"))


@pytest.fixture
def needs_tayga(needs_root: None) -> None:
    if not tayga.find():
        pytest.skip("needs tayga (package tayga)")
