# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command that the documents show, on one host that has joined an IPv6-only network and is translated.

Those that cannot be run here are in `documented_ways.NOT_RUN`, each with the reason.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests import documented
from tests.documented import Command
from tests.e2e import clat
from tests.e2e.documented_ways import CONFIGURATION, DIFFERENTLY, LAB_WORDS, NOT_RUN, Way
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

RUN = [command for command in documented.all_of_them() if command.text not in NOT_RUN]
PLACE = "/run/documented"
CAPTURE = "@capture "
# The tests may be somewhere where only root can read, as in /root.
NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
)


@pytest.fixture(scope="module")
def joined(own_lab: Lab) -> Iterator[clat.Joined]:
    """A host that is translated, with a directory to be in."""
    host = own_lab.host
    host.path(PLACE).mkdir()
    host.path("/etc/clatnm/clatnm.conf").write_text(CONFIGURATION)
    host.dad(False)
    daemon = host.daemon("-v", "--record", f"{PLACE}/trace")
    eventually(daemon.status, message="the daemon answers")
    host.add_profile("netA", "up0")
    host.up("netA")
    yield clat.Joined(own_lab, host, daemon)
    daemon.kill()


def here(text: str) -> str:
    """A command of the documents with the lab's names."""
    for word, name in LAB_WORDS.items():
        text = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", name, text)
    return text


def shell(host: Host, text: str, *, as_user: bool = False) -> subprocess.CompletedProcess[str]:
    """Run one line in the host; nmcli is its NetworkManager's."""
    if text.startswith("nmcli "):
        return host.nmcli(*host.run("sh", "-c", f"printf '%s\\n' {text[6:]}").stdout.splitlines(), check=False)
    return host.run(*(NOBODY if as_user else ()), "sh", "-c", f"mkdir -p {PLACE} && cd {PLACE} && {text}", check=False)


def prepare(joined: clat.Joined, way: Way) -> None:
    host = joined.host
    clat.wait_on(joined.daemon, timeout_s=20)
    clat.ping(host)
    if way.before.startswith(CAPTURE):
        capture(host, way.before.removeprefix(CAPTURE))
    elif way.before:
        shell(host, way.before)


def capture(host: Host, name: str) -> None:
    """Some packets on the translator's device."""
    service = host.popen("tcpdump", "-i", "clat-up0", "-w", f"{PLACE}/{name}", "-U", "-Z", "root", "icmp")
    eventually(lambda: "listening on" in service.log(), message="tcpdump listens")
    clat.ping(host, clat.INET, "-c", "2", "-i", "0.2")
    eventually(lambda: host.path(f"{PLACE}/{name}").stat().st_size > 200, message="it was captured")
    service.stop()


@pytest.mark.parametrize("command", RUN, ids=lambda command: command.text)
def test_documented_command_does_what_it_says(joined: clat.Joined, command: Command) -> None:
    way = DIFFERENTLY.get(command.text, Way())
    prepare(joined, way)
    try:
        if way.until:
            service = joined.host.popen("sh", "-c", f"cd {PLACE} && exec {here(command.text)}")
            eventually(lambda: way.until in service.log(), message=f"{way.until!r} is said")
            ours = command.program == "clatnm"  # others need not end in order
            assert service.stop() in ((0,) if ours else (0, -signal.SIGTERM)), service.log()
            return
        other = joined.host.popen(*way.beside.split()) if way.beside else None
        done = shell(joined.host, here(command.text), as_user=way.as_user)
        if other is not None:
            other.stop()
        told = f"{done.stdout}\n{done.stderr}"
        assert done.returncode in way.statuses, told
        assert way.shows in told, told
        assert "Traceback" not in told
    finally:
        if way.after:
            shell(joined.host, way.after)


# As a newcomer, from the README alone


def answer_in_readme(question: str) -> list[str]:
    """The commands under the heading that asks it."""
    text = (documented.REPOSITORY / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^#+ {re.escape(question)}\n(.*?)(?=^#)", text, re.MULTILINE | re.DOTALL)
    return list(documented.of_markdown(section))


def test_newcomer_finds_out_why_there_is_no_ipv4(quick_lab: Lab) -> None:
    quick_lab.a.ra(pref64=[])
    quick_lab.a.dns("plain")
    joined = clat.join(quick_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    commands = answer_in_readme("Why is there no IPv4?")
    first, second, third = (shell(joined.host, here(text)).stdout for text in commands)
    assert "no CLAT: the network tells no NAT64 prefix, neither by its routers nor by DNS (no-pref64)" in first
    assert "What would change it:" in second
    assert "First of all: pref64 on up0: " in third


def test_newcomer_turns_it_off_for_one_connection(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    (command, *_) = answer_in_readme("How do I turn it off for one connection?")
    assert shell(joined.host, here(command)).returncode == 0
    clat.wait_off(joined.daemon, "opted-out")
    clat.wait_no_device(joined.host)


def test_newcomer_reads_how_many_packets_were_translated(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    for _ in range(3):
        clat.ping(joined.host)
    (command, *_) = answer_in_readme("How many packets were translated?")
    told = shell(joined.host, here(command)).stdout
    counts = [int(count) for count in re.findall(r"^  IPv[46]→IPv[46] (\d+) packets", told, re.MULTILINE)]
    assert len(counts) == 2 and min(counts) >= 3, told
