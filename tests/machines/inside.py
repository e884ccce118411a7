# SPDX-License-Identifier: GPL-2.0-or-later
"""For jobs, which run inside a guest: one line a check, patience, the service's sandbox."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lab import poll
from tests.lab.namespace import Namespace
from tests.lab.poll import EventuallyError, eventually
from tests.lab.process import Service
from tests.lab.within import Within

UNIT = Path("/usr/lib/systemd/system/clatnm.service")
UNITS = Path("/run/systemd/system")
_PATIENCE = 6
_FIRST_PAUSE_S = 0.3
_FIRST_WITH_TCX = (6, 6)


class SkippedError(Exception):
    """A check does not apply here; the text says why."""


class Report:
    """Says how each check went; `status` is the exit status that all of them make."""

    def __init__(self) -> None:
        self.status = 0

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[None]:
        """The block is a check: it passes unless something is raised, which ends this check alone."""
        try:
            yield
        except SkippedError as reason:
            print(f"skip {name}: {reason}", flush=True)
        except Exception as error:
            self.status = 1
            text = str(error) or type(error).__name__
            print(text, flush=True)
            for diagnose in poll.diagnoses if not isinstance(error, EventuallyError) else ():  # that one has asked them
                print(diagnose(), flush=True)
            print(f"not ok {name}: {' '.join(text.split())[:300]}", flush=True)
        else:
            print(f"ok {name}", flush=True)


def be_patient() -> None:
    """A guest is ten times slower than a machine: whatever waits by default waits longer, and asks less often, since
    asking delays what is awaited."""
    waiting = (eventually, Namespace.run, Namespace.python, Namespace._run, Service.wait, Service.stop)
    for function in (*waiting, Within.sock):
        defaults = function.__kwdefaults__ or {}
        defaults["timeout_s"] *= _PATIENCE
    (eventually.__kwdefaults__ or {})["longest_pause_s"] *= _PATIENCE
    poll._FIRST_PAUSE_S = _FIRST_PAUSE_S


def kernel_release() -> tuple[int, int]:
    """As (6, 12)."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    assert found is not None
    return int(found[1]), int(found[2])


def has_tcx() -> bool:
    """By the kernel's version: what the programs find out for themselves is what is tested."""
    return kernel_release() >= _FIRST_WITH_TCX


def ping_once(address: object, *options: str) -> list[str]:
    """The command: one packet has to be enough. But on clsact one may be lost while hooks are hung up, so there it is
    sent every second, until there is an answer."""
    return ["ping", "-c", "1", *(("-W", "5") if has_tcx() else ("-w", "20")), *options, str(address)]


def derived(unit: str, changes: Mapping[str, str | None]) -> str:
    """A unit's text with other values for settings of [Service]; None: without. The sandbox stays as it is."""
    kept = [line for line in unit.splitlines() if line.partition("=")[0] not in changes]
    at = kept.index("[Service]") + 1
    lines = [f"{name}={value}" for name, value in changes.items() if value is not None]
    return "\n".join([*kept[:at], *lines, *kept[at:]]) + "\n"


class Sandboxed:
    """A command in the place of clatnm's daemon, with exactly the rights that its unit grants, but for `settings`:
    other values, or None for none."""

    def __init__(self, name: str, *argv: str, netns: str = "", **settings: str | None) -> None:
        self.unit = f"{name}.service"
        self._log = Path(f"/run/{name}.log")
        changes: dict[str, str | None] = {
            "Type": "exec",
            "ExecStart": " ".join(argv),
            "ExecReload": None,
            "ExecStopPost": None,
            "Restart": "no",
            "WorkingDirectory": None,
            "StandardOutput": f"file:{self._log}",
            "StandardError": f"file:{self._log}",
            "NetworkNamespacePath": f"/run/netns/{netns}" if netns else None,
            **settings,
        }
        self._log.unlink(missing_ok=True)
        (UNITS / self.unit).write_text(derived(UNIT.read_text(), changes))
        systemctl("daemon-reload")
        systemctl("start", self.unit)

    def __enter__(self) -> Sandboxed:
        return self

    def __exit__(self, *_: object) -> None:
        systemctl("stop", self.unit)

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text() if self._log.exists() else ""

    def property(self, name: str) -> str:
        """As `systemctl show` has it."""
        return systemctl("show", "--value", "-p", name, self.unit).strip()

    def wait(self) -> str:
        """Until it has ended by itself; what it said. AssertionError when it has failed."""
        eventually(lambda: self.property("ActiveState") in ("inactive", "failed"), message=f"{self.unit} ends")
        assert self.property("Result") == "success", self.log()
        return self.log()


def systemctl(*argv: str) -> str:
    """What it says; AssertionError when it fails."""
    result = subprocess.run(["systemctl", *argv], check=False, text=True, capture_output=True)
    assert result.returncode == 0, f"systemctl {' '.join(argv)}: {result.stderr.strip()}"
    return result.stdout
