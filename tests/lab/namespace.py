# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace of the lab and the ways to run something in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.poll import CommandError
from tests.lab.process import Service, netns_inode, pids_in_netns
from tests.lab.session import NETNS_DIR, Session

PYTHON = sys.executable
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def clean_environment(**extra: str) -> dict[str, str]:
    """Environment of everything run in the lab: plain locale, and no bus address but the one given."""
    kept = {name: os.environ[name] for name in ("TERM", "HOME", "COVERAGE_PROCESS_START") if name in os.environ}
    return {**kept, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **extra}


class Namespace:
    """One named network namespace; it is made here and removed with its session."""

    def __init__(self, name: str, session: Session) -> None:
        self.name = name
        self.netns = session.prefix + name
        self.session = session
        self.services: list[Service] = []
        self._popen_count = 0
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        self.ip("link", "set", "lo", "up")

    # What to put before a command so that it runs here.
    def enter(self) -> list[str]:
        return ["ip", "netns", "exec", self.netns]

    def environment(self) -> dict[str, str]:
        return clean_environment()

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout_s: float = 30.0,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end, output captured as text. CommandError when `check` and status is not 0."""
        return self._run([*self.enter(), *argv], check=check, timeout_s=timeout_s, stdin=stdin, env=env)

    def popen(self, *argv: str, name: str | None = None, env: Mapping[str, str] | None = None) -> Service:
        """Start a command here in the background; it is ended at the latest by the next reset of the lab."""
        self._popen_count += 1
        service = self._spawn(name or f"{self.name}-popen-{self._popen_count}", [*self.enter(), *argv], env=env)
        self.services.append(service)
        return service

    def python(self, code: str, *argv: str, check: bool = True, timeout_s: float = 30.0) -> str:
        """Run Python source here with the interpreter of the tests; returns what it printed."""
        return self.run(PYTHON, "-c", code, *argv, check=check, timeout_s=timeout_s).stdout

    def ip(self, *argv: str, stdin: str | None = None) -> str:
        """`ip ARGV` here; several commands at once with `ip("-batch", "-", stdin=...)`."""
        return self._run(["ip", "-n", self.netns, *argv], stdin=stdin).stdout

    def ip_json(self, *argv: str) -> list[dict[str, Any]]:
        """`ip -j ARGV` here, as data; entries `ip` prints as empty are left out."""
        text = self._run(["ip", "-n", self.netns, "-j", *argv]).stdout
        return [entry for entry in json.loads(text or "[]") if entry]

    def nft(self, rules: str) -> None:
        self.run("nft", "-f", "-", stdin=rules)

    def sysctl(self, **values: object) -> None:
        """Set `net.*` switches: dots as double underscores, `net.` itself left out (`ipv4__ip_forward=1`)."""
        self.run("sysctl", "-qw", *(f"net.{name.replace('__', '.')}={value}" for name, value in values.items()))

    def processes(self) -> list[int]:
        """Pids of everything living in this network namespace."""
        inode = netns_inode(NETNS_DIR / self.netns)
        return sorted(pids_in_netns(inode)) if inode is not None else []

    def log(self, name: str, *, lines: int = 0) -> str:
        """The log of one of the lab's services here by its name; only its last `lines` if given."""
        path = self.session.log_path(name)
        text = path.read_text(errors="replace") if path.exists() else ""
        return "".join(text.splitlines(keepends=True)[-lines:])

    def stop_services(self) -> None:
        """End what was started here with `popen`."""
        while self.services:
            self.services.pop().kill()

    def _run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 30.0,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            argv,
            check=False,
            timeout=timeout_s,
            text=True,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**self.environment(), **(env or {})},
        )
        if check and result.returncode != 0:
            raise CommandError(result)
        return result

    def _spawn(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Service:
        log = self.session.log_path(name)
        service = Service(name, argv, log=log, env={**self.environment(), **(env or {})})
        self.session.adopt(service.process)
        return service


def write(path: Path, text: str) -> Path:
    """Write a file in one step, so that a reader sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    return temporary.replace(path)
