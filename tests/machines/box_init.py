# SPDX-License-Identifier: GPL-2.0-or-later
"""What is process 1 of a box until it becomes systemd: `box_init.py IMAGE PAYLOAD PLACE`, in namespaces of its own.

The image is the lower half of the root, and memory the upper one: nothing that is written stays.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NODES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")
SYSTEMD = "/lib/systemd/systemd"
# What a container's manager says, so that systemd leaves clock, consoles and devices alone.
ENVIRONMENT = {"container": "clatnm-box", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def mount(*argv: str) -> None:
    subprocess.run(["mount", *argv], check=True)


def build(image: str, payload: str, place: Path) -> Path:
    """The root, filled; everything is mounted in it."""
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(place))
    lower, upper, work, root = (place / name for name in ("lower", "upper", "work", "root"))
    for directory in (lower, upper, work, root):
        directory.mkdir()
    mount("-o", "ro,loop", image, str(lower))
    mount("-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "overlay", str(root))
    subprocess.run(["tar", "-x", "-f", payload, "-C", str(root)], check=True)
    mount("-t", "proc", "proc", str(root / "proc"))
    # Read-only, as in any container: it tells systemd that there is no udev to start.
    mount("-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    mount("-t", "cgroup2", "cgroup2", str(root / "sys/fs/cgroup"))
    for name in ("run", "tmp", "dev"):
        mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", "tmpfs", str(root / name))
    devices(root / "dev")
    return root


def devices(dev: Path) -> None:
    """Nodes of the box's own: systemd gives the console to somebody, which must not be done to one of ours."""
    for name in ("pts", "net"):
        (dev / name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=666", "devpts", str(dev / "pts"))
    (dev / "ptmx").symlink_to("pts/ptmx")
    for name in NODES:
        like = os.stat(f"/dev/{name}")
        node(dev / name, like.st_mode, like.st_rdev)
    node(dev / "console", 0o20600, os.stat("/dev/null").st_rdev)


def node(path: Path, mode: int, device: int) -> None:
    os.mknod(path, mode, device)
    path.chmod(mode & 0o7777)  # whatever the umask is


def main(image: str, payload: str, place: str) -> None:
    root = build(image, payload, Path(place))
    # As a package's installation does. The service could not write what is compiled, and would compile at each start.
    for command in (("systemd-sysusers",), ("python3", "-m", "compileall", "-q", *sys.argv[4:])):
        subprocess.run(["chroot", str(root), *command], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    old = root / "run/old"
    old.mkdir()
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "run/old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/run/old"], check=True)
    os.execve(SYSTEMD, [SYSTEMD, "--unit=multi-user.target", "--log-target=journal"], ENVIRONMENT)


if __name__ == "__main__":
    main(*sys.argv[1:4])
