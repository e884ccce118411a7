# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian system beside this machine's own, whatever it is made of: programs are run in it, and packages installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.lab.namespace import SYSTEM_PATH
from tests.lab.poll import CommandError

_TIMEOUT_S = 300
_FORCED = tuple(f"--force-{option}" for option in ("unsafe-io", "confdef", "confold"))
_DPKG = ("dpkg", *_FORCED)
_APT = ("apt-get", "-qy", *(f"-oDpkg::Options::={option}" for option in _FORCED), "-oDpkg::Use-Pty=0")


class DebianSystem:
    """`run` programs in it as root, `apt`, and `give` it files."""

    def enter(self) -> list[str]:
        """What to put before a command that is to run there."""
        raise NotImplementedError

    @property
    def root(self) -> Path:
        """Its root directory, as seen from here."""
        raise NotImplementedError

    def path(self, name: str) -> Path:
        """One of its files, as seen from here."""
        return self.root / name.lstrip("/")

    def run(self, *argv: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end. CommandError if it fails and that is to be checked."""
        done = subprocess.run(
            [*self.enter(), *argv],
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if check and done.returncode != 0:
            raise CommandError(done)
        return done

    def ask(self, *argv: str) -> str:
        """What a program prints there, whatever its status."""
        return self.run(*argv, check=False).stdout.strip()

    def apt(self, *argv: str, **environment: str) -> str:
        """`apt-get ARGV`, questions answered as proposed; what it printed."""
        return self.run(*_APT, *argv, DEBIAN_FRONTEND="noninteractive", **environment).stdout

    def dpkg(self, *argv: str) -> str:
        """`dpkg ARGV`, which asks nothing either."""
        return self.run(*_DPKG, *argv, DEBIAN_FRONTEND="noninteractive").stdout

    def version(self, package: str) -> str:
        """Which one is installed."""
        return self.run("dpkg-query", "-W", "-f", "${Version}", package).stdout

    def give(self, *files: Path) -> list[str]:
        """Copy files into its /tmp; their names there."""
        return [f"/tmp/{shutil.copy(file, self.path('/tmp')) and file.name}" for file in files]
