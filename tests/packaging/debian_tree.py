# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian system in a directory: a copy of one of `tests.lab.trees`, with its own apt, for packages to be tried in.

Only a chroot, without an init: maintainer scripts run, services do not start. Downloads are kept beside the trees.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

from tests.lab import trees
from tests.lab.poll import CommandError
from tests.packaging.debian_system import DebianSystem

LISTS_GOOD_FOR_S = 12 * 3600
# Where apt keeps what it has fetched, for each release that something is installed in.
CACHE = trees.CACHE.parent / "apt"
# The directories that apt keeps its own things in, and what changes whoever installs something.
_UNSTEADY = frozenset(
    [
        *("proc", "sys", "dev", "tmp", "var/log", "var/cache", "var/lib/apt", "var/lib/dpkg"),
        # Notes of systemd's, that units are to be read again, for one, and of who mounts; in memory on a machine.
        *("run/systemd", "run/mount"),
        # The user database as it was before the last change.
        *("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"),
    ]
)
_ENTER = """
root=$1 cache=$2; shift 2
mount -t proc proc "$root/proc"
mount --bind "$cache/lists" "$root/var/lib/apt/lists"
mount --bind "$cache/archives" "$root/var/cache/apt/archives"
exec chroot "$root" "$@"
"""


class DebianTree(DebianSystem):
    """And see what has changed: `state`."""

    def __init__(self, name: str, place: Path) -> None:
        """A fresh copy of the tree of that name at `place`. TreeError where there is none and none can be made."""
        self._place = place
        self._cache = CACHE / name
        subprocess.run(["cp", "-a", "--reflink=auto", str(trees.tree(name)), str(place)], check=True)
        for directory in ("var/lib/apt/lists", "var/cache/apt/archives"):
            (place / directory).mkdir(parents=True, exist_ok=True)
        for directory in ("lists", "archives"):
            (self._cache / directory / "partial").mkdir(parents=True, exist_ok=True)
        (self._cache / "used").touch()

    @property
    def root(self) -> Path:
        return self._place

    def enter(self) -> list[str]:
        """In namespaces of its own but for the network."""
        alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _ENTER, "sh")
        return [*alone, str(self._place), str(self._cache)]

    def apt(self, *argv: str, **environment: str) -> str:
        """One at a time: others share its cache."""
        with (self._cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return super().apt(*argv, **trees.proxies(), **environment)

    def refresh(self) -> str | None:
        """Have lists of what the mirror offers that are not too old; why they are not to be had, else."""
        stamp = self._cache / "refreshed"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_GOOD_FOR_S:
            try:
                self.apt("update", "--error-on=any")
            except CommandError as error:
                return f"the mirror does not say what there is: {str(error).splitlines()[-1]}"
            # Of each package one version is kept, as long as the mirror has it.
            self.apt("autoclean")
            stamp.touch()
            prune(CACHE)
        return None

    def packages(self) -> frozenset[str]:
        """Names of all packages of which anything is there, configuration included."""
        told = self.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n").stdout.splitlines()
        return frozenset(line.split()[0] for line in told if not line.endswith("not-installed"))

    def state(self) -> dict[str, str]:
        """Everything that is there: path → kind, mode, owner, and where it leads or what is in it."""
        found = {}
        for directory, names, files in os.walk(self.root):
            within = Path(directory).relative_to(self.root)
            names[:] = [name for name in names if str(within / name) not in _UNSTEADY]
            found |= {
                f"/{within / name}": _described(Path(directory, name))
                for name in (*names, *files)
                if str(within / name) not in _UNSTEADY
            }
        return found

    def remove(self) -> None:
        """Away with it."""
        shutil.rmtree(self.root, ignore_errors=True)


def prune(cache: Path) -> None:
    """Remove what was fetched for releases that nothing was installed in for a month."""
    for stamp in cache.glob("*/used"):
        if time.time() - stamp.stat().st_mtime > trees.UNUSED_S:
            shutil.rmtree(stamp.parent, ignore_errors=True)


def _described(path: Path) -> str:
    info = path.lstat()
    what = f"{stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
    if stat.S_ISLNK(info.st_mode):
        return f"{what} → {path.readlink()}"
    if stat.S_ISREG(info.st_mode):
        return f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return what


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What differs, one line each: `+ path`, `- path`, `~ path: before, after`."""
    return [
        f"+ {path}" if path not in before else f"- {path}" if path not in after else f"~ {path}: {old}, {new}"
        for path in sorted(before.keys() | after.keys())
        if (old := before.get(path)) != (new := after.get(path))
    ]
