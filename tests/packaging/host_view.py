# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine, to be changed without harm: what is written goes into a directory of the test's, and can be listed."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Made anew for each view, and not looked at.
_OWN = frozenset({"run", "tmp"})
_KERNELS = frozenset({"proc", "sys", "dev"})
# There even where each is a file system of its own, as other mounts are not.
_SYSTEM = frozenset({"etc", "usr", "var"})
_UNSTEADY = frozenset(
    [
        # Caches and logs, and the user database as it was before its last change.
        *("/root/.cache", "/var/cache", "/var/log"),
        *("/etc/.pwd.lock", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-"),
    ]
)
_ENTER = r"""
place=$1; shift
for name in $1; do
    mount -t overlay overlay "$place/root/$name" \
        -o "lowerdir=/$name,upperdir=$place/over/$name/upper,workdir=$place/over/$name/work"
done
mount -t proc proc "$place/root/proc"
mount --rbind /dev "$place/root/dev"
mkdir -p "$place/root$2"
mount --bind "$2" "$place/root$2"
mount -o remount,bind,ro "$place/root$2"
shift 2
exec chroot "$place/root" "$@"
"""


class HostView:
    """`run` programs as if on this machine, without its services; then `changes`."""

    def __init__(self, place: Path, *, tree: Path) -> None:
        """`place`: an empty directory in /tmp. `tree` is there too, wherever it is, and cannot be written to."""
        self._place, self._tree = place, tree
        root = place / "root"
        root.mkdir()
        self._names = []
        for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
            if entry.is_symlink():
                (root / entry.name).symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                (root / entry.name).mkdir(mode=stat.S_IMODE(entry.stat().st_mode))
                if entry.name in _SYSTEM or (entry.name not in _OWN | _KERNELS and not os.path.ismount(entry.path)):
                    self._names.append(entry.name)
        (root / "tmp").chmod(0o1777)
        for name in self._names:
            for part in ("upper", "work"):
                (place / "over" / name / part).mkdir(parents=True)
            (place / "over" / name / "upper").chmod(stat.S_IMODE(os.stat(f"/{name}").st_mode))

    def run(self, *argv: str, timeout: float = 300, **environment: str) -> str:
        """What a program says, both ways; AssertionError with that when it fails."""
        alone = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
        known = {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key in ("PATH", "HOME")}
        done = subprocess.run(
            [*alone, "sh", "-euc", _ENTER, "sh", str(self._place), " ".join(self._names), str(self._tree), *argv],
            env={**known, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}"
        return done.stdout

    def changes(self) -> dict[str, str]:
        """Each path that is not what it is on the machine: how it differs."""
        return {path: how for path, how in self._changes() if not any(Path(path).is_relative_to(u) for u in _UNSTEADY)}

    def _changes(self) -> Iterator[tuple[str, str]]:
        for name in self._names:
            upper = self._place / "over" / name / "upper"
            for changed in sorted(upper.rglob("*")):
                path = f"/{name}/{changed.relative_to(upper)}"
                how = _difference(Path(path), changed)
                if how:
                    yield path, how


def _difference(was: Path, now: Path) -> str | None:
    """None where an overlay has taken a copy of something that then stayed, or became again, what it was."""
    info = now.lstat()
    if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
        return "gone" if os.path.lexists(was) else None
    if not os.path.lexists(was):
        return "new"
    old = was.lstat()
    if (old.st_mode, old.st_uid, old.st_gid) != (info.st_mode, info.st_uid, info.st_gid):
        return "mode or owner"
    if stat.S_ISLNK(info.st_mode):
        return None if os.readlink(was) == os.readlink(now) else "link"
    if stat.S_ISREG(info.st_mode) and was.read_bytes() != now.read_bytes():
        return "content"
    return None
