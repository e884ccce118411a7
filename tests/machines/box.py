# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's root without a guest: systemd as process 1 in namespaces of this machine, on this kernel.

It is up within two seconds, so it is for what needs many starts of a service, and none of another kernel.

    python -m tests.machines.box ROOT JOB [ARGS]     # a job of jobs/, as in a guest; its exit status
    python -m tests.machines.box ROOT sh -c '...'    # any command, as root in the box
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tests.lab.namespace import SYSTEM_PATH
from tests.machines import container, guest, machine, needs, roots
from tests.machines.container import Container
from tests.machines.needs import MachineError
from tests.machines.payload import LIBRARY, REPO, payload
from tests.machines.results import TIMED_OUT, Outcome, checks, versions

_INIT = Path(__file__).with_name("box_init.py")
_Box = TypeVar("_Box", bound="Box")


def why_not(root: str) -> str | None:
    """Why there is no box, in words for a skipped test; None when all is there, made now if necessary."""
    reason = needs.missing() or container.why_not()
    if reason:
        return reason
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
            archive = undo.enter_context(tempfile.NamedTemporaryFile(prefix="clatnm-box-", suffix=".tar"))
            archive.write(self._archive)
            archive.flush()
            inside = (str(self._image), archive.name, LIBRARY + "/clatnm", REPO + "/tests")
            self._container = undo.enter_context(Container("box", _INIT, *inside))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def enter(self) -> list[str]:
        """What to put before a command that is to run in the box, as root."""
        environment = (f"PATH={SYSTEM_PATH}", "HOME=/root", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1")
        return [*self._container.enter(), "env", "-i", f"--chdir={REPO}", *environment]

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
