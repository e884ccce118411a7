# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator adds to unit and bounds, as clatnm.conf(5) and docs/security.md say: for TAYGA, and for scripts
that call iptables as it was before nf_tables. With that, nothing is refused.
"""

from __future__ import annotations

import contextlib
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.machines import iptables
from tests.machines.bounds import Bounds, label
from tests.machines.clat_service import SERVICE
from tests.machines.initramfs import JOB
from tests.machines.inside import SkippedError, systemctl
from tests.machines.systemd_network import CONFIGURATION
from tests.machines.systemd_place import UPLINK, Place
from tests.machines.systemd_traffic import ipv4_works

TAYGA_UNIT = "RestrictNamespaces=net user\nRestrictAddressFamilies=AF_INET"
LEGACY_UNIT = f"RestrictAddressFamilies=AF_INET\nExecStartPre=+{iptables.LEGACY} -S"
"""The drop-ins of clatnm.conf(5)."""
# The lab's addresses are documentation's, which TAYGA 0.9.2 does not take behind 64:ff9b::/96.
_TAYGA = "[clatnm]\nbackend = tayga\nprefix = 2001:db8:64::/96\n"
_LOCK = Path("/run/xtables.lock")
_SCRIPTS = {"up": "-A", "down": "-D"}
Widened = Callable[[], AbstractContextManager[None]]
"""Meanwhile the bounds are wider, by what the documents say."""


def tayga_translates(bounds: Bounds, place: Place, widened: Widened) -> None:
    with _unit(place, TAYGA_UNIT), _configuration(_TAYGA):
        before = len(bounds.refused())
        _start_anew()
        eventually(lambda: len(bounds.refused()) > before, timeout_s=60.0, message="TAYGA is refused what it needs")
        systemctl("stop", SERVICE)
        with widened():
            told = len(bounds.refused())
            _start_anew()
            wait_on(place.clat, UPLINK, timeout_s=90.0)
            assert connection(place.clat, UPLINK)["translator"]["backend"] == "tayga"
            ipv4_works()
            # The routers of the lab have one, too.
            ours = ["pgrep", "-P", str(place.clat.pid), "-x", "tayga"]
            pids = subprocess.run(ours, check=True, text=True, capture_output=True).stdout.split()
            assert [label(pid) for pid in pids] == [bounds.label], pids
            systemctl("stop", SERVICE)
            _nothing_since(bounds, told)


def iptables_works(bounds: Bounds, place: Place) -> None:
    """In scripts, with nothing added."""
    install_iptables()
    _scripts_change_rules(bounds, place, iptables.NFT)


def legacy_iptables_works(bounds: Bounds, place: Place, widened: Widened) -> None:
    """With the lock that everybody else's takes, too: it is made before the service, which cannot make it."""
    install_iptables()
    assert not _LOCK.exists(), "somebody has made the lock before"
    unprepared = ["systemd-run", "--wait", "-q", "-p", "ReadOnlyPaths=/run", iptables.LEGACY, "-S"]
    assert subprocess.run(unprepared, check=False).returncode != 0, "then the unit needs no ExecStartPre="
    with _unit(place, LEGACY_UNIT), widened():
        _scripts_change_rules(bounds, place, iptables.LEGACY)
    assert _LOCK.exists()


def _scripts_change_rules(bounds: Bounds, place: Place, command: str) -> None:
    for name, action in _SCRIPTS.items():
        path = Path(f"/etc/clatnm/script-{name}")
        path.write_text(f"#!/bin/sh\nexec {command} -w 5 {action} OUTPUT -o $clat_dev -j ACCEPT\n")
        path.chmod(0o755)
    text = "[clatnm]\n" + "".join(f"script-{name} = /etc/clatnm/script-{name}\n" for name in _SCRIPTS)
    rule = f"-A OUTPUT -o clat-{UPLINK} -j ACCEPT"
    with _configuration(text):
        told = len(bounds.refused())
        _start_anew()
        wait_on(place.clat, UPLINK, timeout_s=90.0)
        assert rule in _rules(command), _rules(command)
        systemctl("stop", SERVICE)
        assert rule not in _rules(command), _rules(command)
        _nothing_since(bounds, told)


def _nothing_since(bounds: Bounds, told: int) -> None:
    refused = bounds.refused()[told:]
    assert not refused, "\n".join(refused)


def _rules(command: str) -> list[str]:
    said = subprocess.run([command, "-S"], check=True, text=True, capture_output=True).stdout
    return said.splitlines()


def install_iptables() -> Sequence[Path]:
    """Beside what the root has, which stays as it is: the programs. SkippedError where none was brought along, or it is
    for another release."""
    archive = Path(JOB, iptables.ARCHIVE)
    if not archive.exists():
        raise SkippedError("the machine around this one has no iptables (package iptables)")
    with tarfile.open(archive) as packed:
        for member in filter(tarfile.TarInfo.isfile, packed):
            there, brought = Path("/", member.name), packed.extractfile(member)
            assert brought is not None, member.name
            if there.exists() and there.read_bytes() != brought.read():
                raise SkippedError(f"the iptables of the machine around this one is for another {there.name}")
    subprocess.run(["tar", "-x", "--skip-old-files", "-f", str(archive), "-C", "/"], check=True)
    return [Path("/usr/sbin", name).resolve() for name in (iptables.NFT, iptables.LEGACY)]


def _start_anew() -> None:
    """A restart would take over the translator."""
    systemctl("stop", SERVICE)
    systemctl("start", SERVICE)


@contextlib.contextmanager
def _unit(place: Place, drop_in: str) -> Iterator[None]:
    place.clat.configure(drop_in)
    try:
        yield
    finally:
        place.clat.unconfigure()


@contextlib.contextmanager
def _configuration(text: str) -> Iterator[None]:
    """Afterwards the service is what it was before."""
    before = CONFIGURATION.read_text()
    CONFIGURATION.write_text(text)
    try:
        yield
    finally:
        CONFIGURATION.write_text(before)
        systemctl("stop", SERVICE)
