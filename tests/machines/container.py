# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd as process 1 in namespaces of this machine: what boxes and the trees of tests/packaging have in common.

Each has a script that makes its root, and then becomes its systemd: with `container_init`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab.poll import eventually
from tests.machines.needs import MachineError

BOOT_S = 60.0
_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc", "--net")
# In the cgroup before it makes namespaces, for that is the root of what they show.
_JOIN = 'echo $$ >"$0" && exec "$@"'


def why_not() -> str | None:
    """Why nothing can be booted, in words for a skipped test."""
    return "no unified cgroup hierarchy is mounted" if _hierarchy() is None else None


class Container:
    """Context manager: it has booted. MachineError where it does not."""

    def __init__(self, name: str, script: Path, *arguments: str) -> None:
        """The script is run with an empty directory of its own, and then these. `name` is for directories."""
        self._name, self._script, self._arguments = name, script, arguments

    def __enter__(self) -> Container:
        with contextlib.ExitStack() as undo:
            place = undo.enter_context(tempfile.TemporaryDirectory(prefix=f"clatnm-{self._name}-"))
            cgroup = undo.enter_context(_cgroup(Path(place).name))
            # It ends with us.
            alone = ("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "--propagation", "private")
            joining = ("sh", "-c", _JOIN, str(cgroup / "cgroup.procs"), *alone)
            argv = (*joining, sys.executable, "-I", str(self._script), place, *self._arguments)
            self._outer = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
            undo.callback(self._end)
            try:
                eventually(self._booted, timeout_s=BOOT_S, message="systemd has booted")
            except AssertionError as error:
                said = self.ask("journalctl", "-b", "--no-pager")[-2000:]
                raise MachineError(f"it does not boot: {said}") from error
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def init(self) -> int:
        """Its process 1, by the number it has here; 0 while there is none."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        with contextlib.suppress(OSError):
            return int((children.read_text().split() or ["0"])[0])
        return 0

    @property
    def root(self) -> Path:
        """Its root directory, as seen from here."""
        return Path(f"/proc/{self.init}/root")

    def enter(self) -> list[str]:
        """What to put before a command that is to run there, as root."""
        return ["nsenter", "--target", str(self.init), "--all"]

    def ask(self, *argv: str) -> str:
        """What a program says there, of an error if it says nothing else; nothing while there is no process 1."""
        if not self.init:
            return ""
        told = subprocess.run([*self.enter(), *argv], check=False, text=True, capture_output=True)
        return told.stdout or told.stderr

    def _booted(self) -> bool:
        if self._outer.poll() is not None:
            raise MachineError(f"it ended with status {self._outer.returncode} while it booted")
        return self.ask("systemctl", "is-active", "multi-user.target").strip() == "active"

    def _end(self) -> None:
        """All processes end with the first one, and the mounts with the last."""
        self._outer.kill()
        self._outer.wait()


def _hierarchy() -> Path | None:
    """Where the unified hierarchy is mounted here."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(words[1]) for words in lines if words[2] == "cgroup2"), None)


@contextlib.contextmanager
def _cgroup(name: str) -> Iterator[Path]:
    """One of its own; it is gone when the last process is."""
    hierarchy = _hierarchy()
    if hierarchy is None:
        raise MachineError("no unified cgroup hierarchy is mounted")
    place = hierarchy / name
    place.mkdir()
    try:
        yield place
    finally:
        eventually(lambda: not _populated(place), message="its processes have ended")
        for directory, _, _ in os.walk(place, topdown=False):
            os.rmdir(directory)


def _populated(place: Path) -> bool:
    return "populated 1" in (place / "cgroup.events").read_text()
