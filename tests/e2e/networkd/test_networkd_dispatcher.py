# SPDX-License-Identifier: GPL-2.0-or-later
"""The hook for networkd-dispatcher, installed as its first lines say, run by the real one."""

from __future__ import annotations

import os

import pytest

from tests.e2e import clat
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.networkd import Networkd
from tests.lab.poll import eventually
from tests.lab.system import REPOSITORY

HOOK = REPOSITORY / "networkd/networkd-dispatcher-clatnm"
INSTALLED = "/usr/local/share/clatnm/networkd-dispatcher-clatnm"
PROGRAM = "/usr/bin/networkd-dispatcher"


def install(host: Host) -> None:
    """The commands that stand in its comments."""
    commands = [line[1:].strip() for line in HOOK.read_text().splitlines() if line.startswith("#   ")]
    script = "\n".join(commands)
    assert INSTALLED in script
    place = host.path("/etc/clatnm-hook")
    place.write_text(HOOK.read_text())
    host.run("sh", "-euc", script.replace(INSTALLED, "/etc/clatnm-hook"))


def test_real_networkd_dispatcher_pokes_the_daemon(clean_lab: Lab, networkd: Networkd, daemon: Daemon) -> None:
    host = clean_lab.host
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip("needs networkd-dispatcher (package networkd-dispatcher)")
    install(host)
    dispatcher = host.popen(PROGRAM, "-v")
    eventually(lambda: "Startup complete" in dispatcher.log(), message="networkd-dispatcher listens")
    networkd.manage()
    clat.wait_on(daemon)
    for state in ("routable", "configured"):
        eventually(lambda state=state: f"poked: up0 {state}" in daemon.log(), message=f"a poke: {state}")  # type: ignore[misc]
    host.carrier("up0", False)
    eventually(lambda: "poked: up0 no-carrier" in daemon.log(), message="a poke: no-carrier")
    assert "poked: clat-" not in daemon.log()
    assert "invalid permissions" not in dispatcher.log()
