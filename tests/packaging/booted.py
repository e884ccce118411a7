# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian tree with its own systemd as process 1, in namespaces of this machine: what packages do to services.

As `tests.machines.box`, which boots the images of guests; here it is any directory. Nothing that is written stays.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.namespace import SYSTEM_PATH
from tests.lab.poll import CommandError, eventually
from tests.machines import box

_INIT = Path(__file__).with_name("booted_init.py")
_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc", "--net")
_BOOT_S = 60.0
_COMMAND_S = 120.0


def why_not() -> str | None:
    """Why nothing can be booted, in words for a skipped test."""
    return "no unified cgroup hierarchy is mounted" if box._hierarchy() is None else None


class Booted:
    """Context manager: the tree has booted, with a network of its own that has only `lo`."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def __enter__(self) -> Booted:
        with contextlib.ExitStack() as undo:
            place = undo.enter_context(tempfile.TemporaryDirectory(prefix="clatnm-booted-"))
            cgroup = undo.enter_context(box._cgroup(Path(place).name))
            # In the cgroup before it makes namespaces, for that is the root of what they show; and it ends with us.
            joining = ("sh", "-c", 'echo $$ >"$0" && exec "$@"', str(cgroup / "cgroup.procs"))
            alone = ("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "--propagation", "private")
            argv = (*joining, *alone, sys.executable, "-I", str(_INIT), str(self._tree), place)
            self._outer = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
            undo.callback(self._end)
            eventually(self._has_booted, timeout_s=_BOOT_S, message=f"systemd of {self._tree.name} has booted")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def run(self, *argv: str, check: bool = True) -> str:
        """What a program prints that is run there as root. CommandError if it fails and that is to be checked."""
        environment = (f"PATH={SYSTEM_PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
        done = subprocess.run(
            ["nsenter", "--target", str(self._init), "--all", "env", "-i", *environment, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_S,
        )
        if check and done.returncode != 0:
            raise CommandError(done)
        return done.stdout.strip()

    def give(self, file: Path) -> str:
        """Copy a file into its /tmp; the name there."""
        shutil.copy(file, f"/proc/{self._init}/root/tmp/{file.name}")
        return f"/tmp/{file.name}"

    @property
    def _init(self) -> int:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        pids = children.read_text().split()
        assert len(pids) == 1, "there is no process 1 yet"
        return int(pids[0])

    def _has_booted(self) -> bool:
        assert self._outer.poll() is None, f"it ended with status {self._outer.returncode}"
        return self.run("systemctl", "is-active", "multi-user.target", check=False) == "active"

    def _end(self) -> None:
        """All processes end with the first one, and the mounts with the last."""
        self._outer.kill()
        self._outer.wait()
