# SPDX-License-Identifier: GPL-2.0-or-later
"""`make install` on this machine as it is, but for what it changes: that goes into a directory, and has to go again."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from clatnm import __version__
from tests.lab.requirements import missing
from tests.packaging.host_view import HostView

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = ("/etc/clatnm", "/etc/clatnm/clatnm.conf", "/var/lib/clatnm", "/var/lib/clatnm/secret")
USERS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")


# What tests that run the daemon, and people, have left there.
FORGET = """
rm -rf /etc/clatnm /var/lib/clatnm
! getent passwd clatnm-translator || userdel clatnm-translator
! getent group clatnm-translator || groupdel clatnm-translator
"""


@pytest.fixture
def machine(tmp_path: Path) -> HostView:
    reason = missing({"unshare": "util-linux", "make": "make", "systemd-sysusers": "systemd"})
    if reason:
        pytest.skip(reason)
    if Path("/usr/local/lib/clatnm").exists():
        pytest.skip("clatnm is installed here")
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("temporary files are not in /tmp, but in what would be laid over")
    view = HostView(tmp_path, tree=REPOSITORY)
    assert view.changes() == {}
    view.run("sh", "-euc", FORGET)
    return view


def make(machine: HostView, target: str) -> str:
    return machine.run("make", "--no-print-directory", "-C", str(REPOSITORY), target)


def test_what_install_makes_uninstall_and_purge_take_away(machine: HostView) -> None:
    before = machine.changes()
    assert make(machine, "install").splitlines()[-1].startswith("installed; ")
    assert machine.run("/usr/local/bin/clatnm", "--version") == f"clatnm {__version__}\n"
    assert "clatnm-translator:" in machine.run("getent", "passwd", "clatnm-translator")
    made = machine.changes()
    assert {path: made.get(path) for path in ("/etc/systemd/system/clatnm.service", "/usr/local/lib/clatnm")} == {
        "/etc/systemd/system/clatnm.service": "new",
        "/usr/local/lib/clatnm": "new",
    }
    assert {path: how for path, how in made.items() if how != "new" and path not in USERS} == {}
    # What the daemon keeps, and a file of somebody else in a directory that install had to make.
    machine.run("sh", "-c", "umask 077 && echo secret >/var/lib/clatnm/secret && touch /usr/local/lib/systemd/other")
    machine.run("mkdir", "-p", "/run/clatnm/translators")

    assert make(machine, "uninstall") == "removed; /etc/clatnm and /var/lib/clatnm stay (make purge)\n"
    stays = ("/usr/local/lib/systemd", "/usr/local/lib/systemd/other", *STATE)
    assert machine.run("ls", "-d", *stays).splitlines() == sorted(stays)
    assert machine.changes().keys() - before.keys() - {*stays, *USERS} == set()

    machine.run("rm", "-r", "/usr/local/lib/systemd")
    assert make(machine, "purge") == "removed\n"
    assert machine.changes() == before
    assert machine.run("find", "/run", "-name", "*clatnm*") == ""


def test_upgrade_that_fails_leaves_the_older_one_that_succeeds_has_it_started_anew(machine: HostView) -> None:
    """pip may find no network, and clatnm may be what there is IPv4 by."""
    make(machine, "install")
    before = machine.changes()
    failing = f"! PIP_INDEX_URL=https://[::1]:1/ PIP_RETRIES=0 make -C {REPOSITORY} install"
    assert "ERROR: " in machine.run("sh", "-euc", failing)
    assert machine.run("/usr/local/bin/clatnm", "--version") == f"clatnm {__version__}\n"
    assert machine.changes() == before

    # There is no systemd here to be asked.
    asked = shlex.quote("#!/bin/sh\necho $* >>/run/asked\n")
    machine.run("mkdir", "-p", "/run/systemd/system", "/run/bin")
    machine.run("sh", "-euc", f"printf %s {asked} >/run/bin/systemctl && chmod 755 /run/bin/systemctl")
    machine.run("make", "-C", str(REPOSITORY), "install", PATH=f"/run/bin:{os.environ['PATH']}")
    asked_for = machine.run("cat", "/run/asked").splitlines()
    assert asked_for.index("daemon-reload") < asked_for.index("try-restart clatnm.service")


def test_purge_where_nothing_is_changes_nothing(machine: HostView) -> None:
    before = machine.changes()
    assert make(machine, "purge") == "removed\n"
    assert machine.changes() == before
