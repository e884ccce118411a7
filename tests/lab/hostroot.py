# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of the host: run once, as a program, inside the host's own mount namespace (`hostroot.py STATE LOWER`).

Two views of one host share /run, so they share the bus and what the daemons publish there:
  the machine's own root, with private /run, /etc, /var/lib and /sys: clatnm and the test's commands live here;
  STATE/root, an overlay over LOWER (any Debian tree, `/` by default): dbus-daemon and NetworkManager live here.
Nothing written in either reaches the machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN_DIRECTORIES = ("dbus", "NetworkManager", "lock", "netns", "clatnm")


def mount(*argv: str) -> None:
    subprocess.run(["mount", *argv], check=True)


def overlay(lower: str, target: Path, scratch: Path) -> None:
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    mount("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", str(target))


def build(state: Path, lower: str) -> None:
    scratch, root, run = state / "scratch", state / "root", state / "run"
    for directory in (scratch, root, run):
        directory.mkdir()
    mount("-t", "tmpfs", "tmpfs", str(scratch))
    overlay(lower, root, scratch / "root")
    overlay("/etc", Path("/etc"), scratch / "etc")
    overlay("/var/lib", Path("/var/lib"), scratch / "lib")
    for name in RUN_DIRECTORIES:
        (run / name).mkdir()
    mount("--rbind", "/run/netns", str(run / "netns"))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--rbind", "/dev", str(root / "dev"))
    # Read-only /sys tells NetworkManager that there is no udev to wait for.
    mount("--bind", "/sys", str(root / "sys"))
    mount("-o", "remount,bind,ro", str(root / "sys"))
    mount("--bind", str(run), str(root / "run"))
    mount("--rbind", str(run), "/run")


def furnish(root: Path) -> None:
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.write_text("# nothing yet\n")
    # Where NetworkManager leaves its own copy; the machine's view follows it there.
    Path("/etc/resolv.conf").unlink(missing_ok=True)
    Path("/etc/resolv.conf").symlink_to("/run/NetworkManager/resolv.conf")
    for directory in (Path("/etc/clatnm"), Path("/var/lib/clatnm")):
        clear(directory)
        directory.mkdir(exist_ok=True)
    for name in ("system-connections", "conf.d"):
        (root / "etc/NetworkManager" / name).mkdir(parents=True, exist_ok=True)
        clear(root / "etc/NetworkManager" / name)
    clear(root / "var/lib/NetworkManager")


def clear(directory: Path) -> None:
    if directory.is_dir():
        subprocess.run(["find", str(directory), "-mindepth", "1", "-delete"], check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])
    furnish(Path(sys.argv[1]) / "root")
