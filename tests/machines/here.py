# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest that a job runs in, as one of the lab's hosts, and what its services have said."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.lab.namespace import Namespace
from tests.lab.process import Service
from tests.lab.session import Session


class ThisGuest(Namespace):
    """Commands run as they are, in no namespace but the guest's own."""

    def __init__(self, session: Session) -> None:
        self.name, self.netns, self.session = "guest", "", session
        self.services: list[Service] = []
        self._popen_count = 0

    def enter(self) -> list[str]:
        return []

    def ip(self, *argv: str, stdin: str | None = None) -> str:
        return self.run("ip", *argv, stdin=stdin).stdout

    def ip_json(self, *argv: str) -> list[dict[str, Any]]:
        return [entry for entry in json.loads(self.ip("-j", *argv) or "[]") if entry]

    def clatnm(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """clatnm as it is installed."""
        return self.run("/usr/bin/clatnm", *argv, check=check)


def journal(unit: str, *, lines: int | None = None) -> str:
    """A unit's log of this boot, with the time of day in microseconds."""
    limit = () if lines is None else ("-n", str(lines))
    argv = ["journalctl", "-b", "-q", "--no-pager", "-o", "short-precise", "-u", unit, *limit]
    return subprocess.run(argv, check=True, text=True, capture_output=True).stdout
