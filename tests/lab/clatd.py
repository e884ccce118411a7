# SPDX-License-Identifier: GPL-2.0-or-later
"""A real clatd on the lab's host, the one of the host's system root: `Lab(root=tree("clatd"))`."""

from __future__ import annotations

import os
import signal
from types import TracebackType

from tests.lab.host import Host
from tests.lab.poll import eventually
from tests.lab.process import Service, name_of
from tests.lab.session import LabError

PROGRAM = "/usr/sbin/clatd"
CONFIGURATION = "/run/clatd.conf"  # where both views of the host have it


class Clatd:
    """Context manager: inside, clatd runs with this configuration; in the end it has cleaned up."""

    def __init__(self, host: Host, text: str) -> None:
        self._host = host
        self._text = text
        self._service: Service | None = None

    @staticmethod
    def missing(host: Host) -> str | None:
        """Why it cannot run here."""
        return None if host.system_path(PROGRAM).exists() else "needs clatd (package clatd)"

    def __enter__(self) -> Clatd:
        self._host.path(CONFIGURATION).write_text(self._text)
        self._service = self._host._spawn("clatd", self._host._in_root("clatd", "-d", "-c", CONFIGURATION))
        eventually(self._works, timeout_s=30, message="clatd has started TAYGA")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # As systemd does it: clatd ignores SIGTERM, and waits for TAYGA's end.
        for pid in self._translators():
            os.kill(pid, signal.SIGTERM)
        service, self._service = self._service, None
        assert service is not None
        eventually(lambda: not service.running, timeout_s=15, message="clatd has ended")

    def log(self) -> str:
        return self._host.log("clatd")

    def _works(self) -> bool:
        if self._service is None or not self._service.running:
            raise LabError(f"clatd ended:\n{self.log()}")
        return bool(self._translators())

    def _translators(self) -> list[int]:
        return [pid for pid in self._host.processes() if name_of(pid) == "tayga"]
