# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm translate` by a fork of this process, which has imported all that it needs: in a guest, most of a start is
Python's own. For jobs that want a translator, and are not about how one starts.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path

from clatnm.cli.main import entry
from tests.e2e.datapath.rig import Place
from tests.lab.namespace import clean_environment
from tests.lab.process import Service
from tests.lab.within import Within

# What is not imported here, each of them imports anew.
for module in ("clatnm.cli.translate_", "clatnm.byhand"):
    importlib.import_module(module)


class _Process(ForkProcess):
    """With the names that `subprocess.Popen` has for the same."""

    stdin = None

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired(self.name, timeout or 0)
        return self.exitcode

    def send_signal(self, number: int) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)


class Forked(Service):
    """`clatnm ARGUMENTS` in a namespace, with its output in a log file."""

    def __init__(self, place: Within, arguments: Sequence[str], *, name: str, log: Path) -> None:
        self.name = name
        self.log_path = log
        log.touch()
        self.process = _Process(target=_run, args=(place, arguments, log), name=name, daemon=True)
        self.process.start()


def start(host: Place, arguments: Sequence[str]) -> Service:
    """As `rig.as_installed`."""
    name = f"{host.name}-forked-{len(host.services)}"
    service = Forked(host, arguments, name=name, log=host.session.log_path(name))
    host.session.adopt(service.process)
    host.services.append(service)
    return service


def _run(place: Within, arguments: Sequence[str], log: Path) -> None:
    """In the new process: everything is as `Namespace.popen` has it, but for /sys, which is the parent's."""
    os.setsid()
    with log.open("ab") as output, open(os.devnull) as nothing:
        for number, stream in enumerate((nothing, output, output)):
            os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(clean_environment())
    sys.argv = ["clatnm", *arguments]
    with place.inside():
        entry()
