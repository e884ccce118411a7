# SPDX-License-Identifier: GPL-2.0-or-later
"""A real firewalld on the lab's host, with the rules of its package: the one of the host's system root."""

from __future__ import annotations

from types import TracebackType

from tests.lab.host import Host
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.session import LabError

PROGRAM = "/usr/sbin/firewalld"


class Firewalld:
    """Context manager: inside, firewalld runs; NetworkManager has put its interfaces into the default zone."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._service: Service | None = None

    @staticmethod
    def missing(host: Host) -> str | None:
        """Why it cannot run here."""
        return None if host.system_path(PROGRAM).exists() else "needs firewalld (package firewalld)"

    def __enter__(self) -> Firewalld:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._host.nft("flush ruleset\n")

    def start(self) -> None:
        """Start it and wait until its rules are there."""
        argv = ("python3", "-I", PROGRAM, "--nofork", "--nopid", "--debug=1")
        self._service = self._host._spawn("firewalld", self._host._in_root(*argv))
        eventually(self._answers, timeout_s=30, message="firewalld answers")

    def stop(self) -> None:
        """SIGTERM: its rules go with it."""
        service, self._service = self._service, None
        if service:
            service.stop(timeout_s=15)

    def cmd(self, *argv: str) -> str:
        """`firewall-cmd ARGV`; what it says."""
        return self._host.run("firewall-cmd", *argv).stdout.strip()

    def zone(self, interface: str) -> str:
        """The zone it is in at run time; "" for none, which is the default zone."""
        said = self._host.run("firewall-cmd", f"--get-zone-of-interface={interface}", check=False).stdout.strip()
        return "" if said == "no zone" else said

    def log(self) -> str:
        return self._host.log("firewalld")

    def _answers(self) -> bool:
        if self._service is None or not self._service.running:
            raise LabError(f"firewalld ended:\n{self.log()}")
        return self._host.run("firewall-cmd", "--state", check=False).stdout.strip() == "running"
