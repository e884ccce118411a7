# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian tree to install into: what is written goes into a directory of the test's, the tree stays as it is."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab.namespace import SYSTEM_PATH

_IN_TREE = (
    'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" && shift 2 && exec "$@"'
)


class ScratchRoot:
    """`lower` under an overlay, mounted for each command in a mount namespace of its own: nothing is left mounted."""

    def __init__(self, lower: Path, place: Path) -> None:
        self.lower, self._place = lower, place
        self.path = place / "root"
        """Where commands that `run` starts find the tree; empty for everybody else."""
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)

    def run(self, *argv: str, check: bool = True) -> str:
        """What a program says, both ways; AssertionError with that when it fails. It is not in a chroot."""
        alone = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_TREE, "sh")
        done = subprocess.run(
            [*alone, str(self.lower), str(self._place), *argv],
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}"
        return done.stdout

    def entries(self, *, without: str) -> Mapping[str, str]:
        """Everything in the tree but a directory: what lstat says of it, of directories only whose they are."""
        of_files = r"%P\t%M %U:%G %s %T@ %l\n"
        found = self.run(
            *("find", str(self.path), "-path", f"{self.path}/{without}", "-prune", "-o"),
            *("-type", "d", "-printf", r"%P\t%M %U:%G\n", "-o", "-printf", of_files),
        )
        return dict(line.split("\t", 1) for line in found.splitlines())
