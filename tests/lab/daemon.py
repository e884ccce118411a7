# SPDX-License-Identifier: GPL-2.0-or-later
"""A running `clatnm daemon` in the host of the lab."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from tests.lab.process import Service

Clatnm = Callable[..., "subprocess.CompletedProcess[str]"]


class Daemon:
    """The daemon under test: its process, its log, and what it says of itself."""

    def __init__(self, service: Service, clatnm: Clatnm) -> None:
        self._service = service
        self._clatnm = clatnm

    @property
    def pid(self) -> int:
        return self._service.pid

    @property
    def running(self) -> bool:
        return self._service.running

    def status(self) -> Any:
        """`clatnm status --json`, parsed. CommandError (an AssertionError) while the daemon does not answer."""
        return json.loads(self._clatnm("status", "--json").stdout)

    def log(self) -> str:
        return self._service.log()

    def signal(self, number: int) -> None:
        self._service.signal(number)

    def wait(self, *, timeout_s: float = 10.0) -> int:
        """Exit status of a daemon that ends by itself."""
        return self._service.wait(timeout_s=timeout_s)

    def stop(self) -> int:
        """SIGTERM; returns the exit status. A daemon that does not obey in 10 s is killed, and that is -9."""
        return self._service.stop(timeout_s=10.0)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._service.kill()
