# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab's claim on the machine: a name prefix nobody else has, a state directory, and a full clean-up.

The state directory is locked while its lab lives. A directory nobody holds the lock of was left by a lab that
crashed; whoever starts a lab next removes what that one recorded.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.process import netns_inode, pids_in_netns, start_time

BASE = Path("/tmp/clatnm-lab")  # short: a unix socket's path must fit in 108 bytes
NETNS_DIR = Path("/run/netns")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class LabError(RuntimeError):
    """The lab itself could not be built."""


class Session:
    """An exclusive prefix (such as `cl3k7-`), `directory` for state, and the record of what to undo."""

    def __init__(self, prefix: str, directory: Path, lock: int) -> None:
        self.prefix = prefix
        self.directory = directory
        self._lock = lock
        self._children: list[subprocess.Popen[Any]] = []

    @classmethod
    def open(cls) -> Session:
        """Claim a prefix, after removing what crashed labs left. Raises LabError when the base is not ours."""
        with _base_locked():
            reap()
            number = 0
            while True:
                suffix = f".{number}" if number else ""
                prefix = f"cl{_base36(os.getpid())}{suffix}-"
                directory = BASE / prefix
                if not directory.exists():
                    break
                number += 1
            directory.mkdir()
            (directory / "log").mkdir()
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(prefix, directory, lock)

    def log_path(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    def adopt(self, process: subprocess.Popen[Any]) -> None:
        """Remember a process, so that it can be ended even if this one is not there to do it."""
        self._children.append(process)
        with (self.directory / "pids").open("a") as pids:
            pids.write(f"{process.pid} {start_time(process.pid) or 0}\n")

    def close(self) -> None:
        """Remove everything of this session: processes, namespaces, files. May be called again."""
        if self._lock < 0:
            return
        with _base_locked():
            _remove(self.directory)
        for child in self._children:
            child.communicate() if child.stdin else child.wait()
        os.close(self._lock)
        self._lock = -1


def reap() -> list[str]:
    """Remove what labs without a living owner left behind; returns their prefixes. Caller holds the base's lock."""
    found = []
    for directory in sorted(BASE.glob("cl*-")):
        with contextlib.ExitStack() as stack:
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its owner lives
            _remove(directory)
            found.append(directory.name)
    return found


@contextlib.contextmanager
def _base_locked() -> Iterator[None]:
    BASE.mkdir(mode=0o700, exist_ok=True)
    info = BASE.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise LabError(f"{BASE} is not a directory of ours; remove it")
    lock = os.open(BASE / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


def _remove(directory: Path) -> None:
    namespaces = sorted(NETNS_DIR.glob(f"{directory.name}*"))
    victims = dict(_recorded(directory))
    for namespace in namespaces:
        inode = netns_inode(namespace)
        if inode is not None:
            # Children of what was recorded; the namespace is the lab's own, so is whatever lives in it.
            victims.update((pid, start_time(pid) or "") for pid in pids_in_netns(inode))
    for pid, started in victims.items():
        if start_time(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    _wait_for_end(victims)
    for namespace in namespaces:
        subprocess.run(["ip", "netns", "del", namespace.name], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)


def _recorded(directory: Path) -> Iterator[tuple[int, str]]:
    with contextlib.suppress(FileNotFoundError):
        for line in (directory / "pids").read_text().splitlines():
            pid, _, started = line.partition(" ")
            yield int(pid), started


def _wait_for_end(victims: dict[int, str]) -> None:
    deadline = time.monotonic() + 5.0
    while any(start_time(pid) == started for pid, started in victims.items()) and time.monotonic() < deadline:
        time.sleep(0.005)
