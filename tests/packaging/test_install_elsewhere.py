# SPDX-License-Identifier: GPL-2.0-or-later
"""`make install DESTDIR=…`, as people write it: what is carried to `/` afterwards works there."""

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
