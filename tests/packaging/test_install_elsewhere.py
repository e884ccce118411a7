# SPDX-License-Identifier: GPL-2.0-or-later
"""`make install DESTDIR=…`, as people write it: carried to `/`, it works there. And which units are disabled when."""

from __future__ import annotations

import os

import pytest

from clatnm import __version__
from tests.packaging.test_install import REPOSITORY, HostView, machine

pytestmark = [pytest.mark.root]
__all__ = ["machine"]
RELATIVE = os.path.relpath("/tmp/there", REPOSITORY)


@pytest.mark.parametrize(("destination", "prefix"), [("/tmp/there/", "/usr/local/"), (RELATIVE, "/usr/local")])
def test_program_knows_nothing_of_the_directory_it_was_put_into(
    machine: HostView, destination: str, prefix: str
) -> None:
    machine.run("make", "-C", str(REPOSITORY), "install", f"DESTDIR={destination}", f"PREFIX={prefix}")
    assert machine.run("sh", "-c", "grep -rl /tmp/there /tmp/there --include=pyvenv.cfg --include=clatnm; :") == ""
    machine.run("cp", "-a", "/tmp/there/usr/local/.", "/usr/local")
    machine.run("rm", "-r", "/tmp/there")
    assert machine.run("/usr/local/bin/clatnm", "--version") == f"clatnm {__version__}\n"


def test_purge_after_uninstall_has_no_unit_disabled_that_is_not_there(machine: HostView) -> None:
    machine.run("mkdir", "-p", "/run/systemd/system", "/run/bin")
    asked = r"printf '#!/bin/sh\necho $* >>/run/asked\n' >/run/bin/systemctl && chmod 755 /run/bin/systemctl"
    machine.run("sh", "-euc", asked)
    units = ("/etc/systemd/system/clatnm.service", "/etc/systemd/user/clatnm-notify.service")
    machine.run("sh", "-euc", 'for unit; do mkdir -p "${unit%/*}" && touch "$unit"; done', "sh", *units)
    words = []
    for target in ("uninstall", "purge"):
        machine.run("make", "-C", str(REPOSITORY), target, PATH=f"/run/bin:{os.environ['PATH']}")
        words.append([line for line in machine.run("cat", "/run/asked").splitlines() if "disable" in line])
        machine.run("rm", "/run/asked")
    assert words == [
        ["disable --quiet --now clatnm.service", "--global disable --quiet clatnm-notify.service"],
        [],
    ]
