# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm in a guest, as it is installed: a service of systemd."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.daemon import Daemon
from tests.machines.here import journal
from tests.machines.inside import UNITS, systemctl

SERVICE = "clatnm.service"
MANAGER = ("org.clatnm1", "/org/clatnm1", "org.clatnm1.Manager")


class ClatService(Daemon):
    """`configure` changes what an administrator may change."""

    def __init__(self) -> None:
        pass

    def start(self) -> None:
        systemctl("start", SERVICE)

    def restart(self) -> None:
        systemctl("restart", SERVICE)

    def stop(self) -> int:
        systemctl("stop", SERVICE)
        return 0

    def configure(self, drop_in: str) -> None:
        """Settings of [Service] beside the unit's own; they count from the next start on."""
        path = UNITS / f"{SERVICE}.d/test.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[Service]\n{drop_in}\n")
        systemctl("daemon-reload")

    def unconfigure(self) -> None:
        """Only the unit's own settings."""
        (UNITS / f"{SERVICE}.d/test.conf").unlink()
        systemctl("daemon-reload")

    def status(self) -> Any:
        """What `clatnm status --json` prints; without that, for it takes seconds to start here, and is asked often."""
        asked = ["busctl", "--system", "--json=short", "call", *MANAGER, "Status"]
        told = subprocess.run(asked, check=False, text=True, capture_output=True)
        assert told.returncode == 0, told.stderr
        return json.loads(json.loads(told.stdout)["data"][0])

    @property
    def pid(self) -> int:
        return int(unit_property(SERVICE, "MainPID"))

    def log(self) -> str:
        return journal(SERVICE)

    def translators(self) -> set[int]:
        """Pids of the service's processes that hold a TUN device, in units of their own or not."""
        own = {pid for unit in (SERVICE, *scopes()) for pid in processes(unit)}
        return {pid for pid in own if _has_device(pid) and pid != self.pid}


def processes(unit: str) -> set[int]:
    """Pids of those in the unit's cgroup; none where it has none."""
    path = Path("/sys/fs/cgroup/system.slice") / unit / "cgroup.procs"
    try:
        return {int(pid) for pid in path.read_text().split()}
    except OSError:
        return set()


def scopes(pattern: str = "clat-*.scope") -> set[str]:
    """Names of the units that the service has had made for its translators; "clat*.scope": and for caretakers."""
    return {path.name for path in Path("/sys/fs/cgroup/system.slice").glob(pattern)}


def unit_property(unit: str, name: str) -> str:
    """As `systemctl show` has it."""
    return systemctl("show", "--value", "-p", name, unit).strip()


def _has_device(pid: int) -> bool:
    try:
        return any(os.readlink(link) == "/dev/net/tun" for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has just ended
        return False
