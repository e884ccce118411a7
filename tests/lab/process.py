# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a lab: started in the background with a log, ended by the pid recorded for them, never by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


def name_of(pid: int) -> str:
    """What the kernel calls it; "" when it has just ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """Clock tick at which `pid` started; None when there is no such process or only its zombie.

    Pid and start time together name a process for good, as pids are used again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name may hold spaces and brackets; the fixed fields follow its last bracket.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def netns_inode(path: str | Path) -> int | None:
    """The network namespace behind a /proc/PID/ns/net or /run/netns/NAME; None when it has gone."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def pids_in_netns(inode: int) -> Iterator[int]:
    """Every process living in that network namespace, zombies left out."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and netns_inode(entry / "ns/net") == inode and start_time(int(entry.name)):
            yield int(entry.name)


class Service:
    """A background process with its output in a log file. Its own session, so a Ctrl-C at the terminal spares it."""

    def __init__(self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log_path = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status (negative: signal), None while it runs."""
        return self.process.poll()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, *, timeout_s: float = 10.0) -> int:
        """Exit status of a process that ends by itself; subprocess.TimeoutExpired when it does not."""
        return self.process.wait(timeout_s)

    def stop(self, *, timeout_s: float = 5.0) -> int:
        """SIGTERM, and SIGKILL when that is not obeyed in time. Returns the exit status (-9: had to be killed)."""
        if self.running:
            self.process.terminate()
            try:
                return self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def kill(self) -> None:
        if self.running:
            self.process.kill()
        self.process.wait()
