# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's root without a guest: systemd as process 1 in namespaces of this machine, on this kernel.

It is up within two seconds, so it is for what needs many starts of a service, and none of another kernel.

    python -m tests.machines.box ROOT JOB [ARGS]     # a job of jobs/, as in a guest; its exit status
    python -m tests.machines.box ROOT sh -c '...'    # any command, as root in the box
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tests.lab.namespace import SYSTEM_PATH
from tests.lab.poll import eventually
from tests.machines import guest, machine, needs, roots
from tests.machines.needs import MachineError
from tests.machines.payload import LIBRARY, REPO, payload
from tests.machines.results import TIMED_OUT, Outcome, checks, versions

_INIT = Path(__file__).with_name("box_init.py")
_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc", "--net")
_BOOT_S = 60.0
_Box = TypeVar("_Box", bound="Box")


def why_not(root: str) -> str | None:
    """Why there is no box, in words for a skipped test; None when all is there, made now if necessary."""
    reason = needs.missing()
    if reason:
        return reason
    if _hierarchy() is None:
        return "no unified cgroup hierarchy is mounted"
    if not Path("/dev/loop-control").exists():
        return "no loop devices (CONFIG_BLK_DEV_LOOP)"
    try:
        roots.image(root)
    except MachineError as error:
        return str(error)
    return None


class Box:
    """Context manager: it has booted. MachineError where it does not."""

    def __init__(self, root: str, archive: bytes | None = None) -> None:
        self._image = roots.image(root)
        self._archive = payload() if archive is None else archive

    def __enter__(self: _Box) -> _Box:
        with contextlib.ExitStack() as undo:
            place = undo.enter_context(tempfile.TemporaryDirectory(prefix="clatnm-box-"))
            archive = undo.enter_context(tempfile.NamedTemporaryFile(prefix="clatnm-box-", suffix=".tar"))
            archive.write(self._archive)
            archive.flush()
            cgroup = undo.enter_context(_cgroup(Path(place).name))
            inside = (str(self._image), archive.name, place, LIBRARY + "/clatnm", REPO + "/tests")
            # In the cgroup before it makes namespaces, for that is the root of what they show; and it ends with us.
            joining = ("sh", "-c", 'echo $$ >"$0" && exec "$@"', str(cgroup / "cgroup.procs"))
            alone = ("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "--propagation", "private")
            argv = (*joining, *alone, sys.executable, "-I", str(_INIT), *inside)
            self._outer = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
            undo.callback(self._end)
            try:
                eventually(self._booted, timeout_s=_BOOT_S, message="systemd has booted")
            except AssertionError as error:
                raise MachineError(
                    f"the box does not boot: {self._say('journalctl', '-b', '--no-pager')[-2000:]}"
                ) from error
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def init(self) -> int:
        """Process 1 of the box, by its number here; 0 while there is none."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        with contextlib.suppress(OSError):
            return int((children.read_text().split() or ["0"])[0])
        return 0

    def enter(self) -> list[str]:
        """What to put before a command that is to run in the box, as root."""
        environment = (f"PATH={SYSTEM_PATH}", "HOME=/root", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1")
        return ["nsenter", "--target", str(self.init), "--all", "env", "-i", f"--chdir={REPO}", *environment]

    def run(self, command: Sequence[str], *, limit_s: float, say: Callable[[str], object]) -> Outcome:
        """Run it; `say` gets its output line by line."""
        said = []
        with subprocess.Popen(
            ["timeout", "--kill-after=5", str(limit_s), *self.enter(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    said.append(line)
                    say(line)
            except BaseException:
                process.kill()  # or it would be waited for; what it runs ends with the box
                raise
            status = process.wait()
        text = "".join(said)
        return Outcome(status=status, checks=checks(text), said=text, seconds=limit_s if status == TIMED_OUT else 0.0)

    def _booted(self) -> bool:
        if self._outer.poll() is not None:
            raise MachineError(f"the box ended with status {self._outer.returncode} while it booted")
        return self._say("systemctl", "is-active", "multi-user.target").strip() == "active"

    def _say(self, *argv: str) -> str:
        if not self.init:
            return ""
        told = subprocess.run([*self.enter(), *argv], check=False, text=True, capture_output=True)
        return told.stdout or told.stderr

    def _end(self) -> None:
        """All processes of the box end with the first one, and the mounts with the last."""
        self._outer.kill()
        self._outer.wait()


def run_job(root: str, job: str, *, say: Callable[[str], object]) -> Outcome:
    """A job, or several, in a box of its own. MachineError where there is none to be had."""
    reason = why_not(root)
    if reason:
        raise MachineError(reason)
    with Box(root) as box:
        began = time.monotonic()
        outcome = box.run(machine.command(job), limit_s=machine.LIMIT_S, say=say)
        listing = box.run(["sh", "-c", guest.LISTING], limit_s=machine.LIMIT_S, say=lambda text: None).said
    return replace(outcome, seconds=time.monotonic() - began, versions=versions(listing))


def _hierarchy() -> Path | None:
    """Where the unified hierarchy is mounted here."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(words[1]) for words in lines if words[2] == "cgroup2"), None)


@contextlib.contextmanager
def _cgroup(name: str) -> Iterator[Path]:
    """One of the box's own; it is gone when the last process is."""
    hierarchy = _hierarchy()
    if hierarchy is None:
        raise MachineError("no unified cgroup hierarchy is mounted")
    place = hierarchy / name
    place.mkdir()
    try:
        yield place
    finally:
        eventually(lambda: not _populated(place), message="the box's processes have ended")
        for directory, _, _ in os.walk(place, topdown=False):
            os.rmdir(directory)


def _populated(place: Path) -> bool:
    return "populated 1" in (place / "cgroup.events").read_text()


def main(arguments: Sequence[str]) -> int:
    """The command's exit status; 2 for wrong arguments, 3 where there is no box to be had."""
    if len(arguments) < 2 or arguments[0] not in roots.RECIPES:
        print(f"usage: python -m tests.machines.box {'|'.join(roots.RECIPES)} JOB|COMMAND [ARGS]", file=sys.stderr)
        return 2
    # As an exception, so that the box and its directories go.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    root, name, *rest = arguments
    command = machine.command(name) if name in machine.jobs() else [name]
    reason = why_not(root)
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 3
    with Box(root) as box:
        outcome = box.run([*command, *rest], limit_s=machine.LIMIT_S, say=sys.stdout.write)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
