# SPDX-License-Identifier: GPL-2.0-or-later
"""For scripts that are process 1 of a `container.Container` until they become its systemd, in namespaces of its own.

They are run by `python -I`, so it imports nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NODES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")
SYSTEMD = "/lib/systemd/systemd"
# What a container's manager says, so that systemd leaves clock, consoles and devices alone.
ENVIRONMENT = {"container": "clatnm-box", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def mount(*argv: str) -> None:
    subprocess.run(["mount", *argv], check=True)


def memory(place: Path) -> None:
    """Whatever is written in this directory goes with the last process."""
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(place))


def from_image(image: str, place: Path, archive: str) -> Path:
    """A root out of an image, which stays as it is, and memory; the archive is unpacked in it."""
    memory(place)
    lower = place / "lower"
    lower.mkdir()
    mount("-o", "ro,loop", image, str(lower))
    root = layered(lower, place)
    subprocess.run(["tar", "-x", "-f", archive, "-C", str(root)], check=True)
    return root


def compile_there(root: Path, *sources: str) -> None:
    """By the root's own Python."""
    subprocess.run(["chroot", str(root), "python3", "-m", "compileall", "-q", *sources], check=True)


def layered(lower: Path, place: Path) -> Path:
    """A root of which `lower` is the lower half, and memory in `place` the upper one; all is mounted in it."""
    upper, work, root = (place / name for name in ("upper", "work", "root"))
    for directory in (upper, work, root):
        directory.mkdir()
    mount("-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "overlay", str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    # Read-only, as in any container: it tells systemd that there is no udev to start.
    mount("-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    mount("-t", "cgroup2", "cgroup2", str(root / "sys/fs/cgroup"))
    for name in ("run", "tmp", "dev"):
        mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", "tmpfs", str(root / name))
    _devices(root / "dev")
    return root


def _devices(dev: Path) -> None:
    """Nodes of its own: systemd gives the console to somebody, which must not be done to one of ours."""
    for name in ("pts", "net"):
        (dev / name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=666", "devpts", str(dev / "pts"))
    (dev / "ptmx").symlink_to("pts/ptmx")
    for name in NODES:
        like = os.stat(f"/dev/{name}")
        _node(dev / name, like.st_mode, like.st_rdev)
    _node(dev / "console", 0o20600, os.stat("/dev/null").st_rdev)


def _node(path: Path, mode: int, device: int) -> None:
    os.mknod(path, mode, device)
    path.chmod(mode & 0o7777)  # whatever the umask is


def become_systemd(root: Path) -> None:
    """Go on as the systemd of this root, with nothing of the old one in sight."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    old = root / "run/old"
    old.mkdir()
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "run/old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/run/old"], check=True)
    os.execve(SYSTEMD, [SYSTEMD, "--unit=multi-user.target", "--log-target=journal"], ENVIRONMENT)
