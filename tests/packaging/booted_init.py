# SPDX-License-Identifier: GPL-2.0-or-later
"""Process 1 of `booted.Booted` until it becomes systemd: `booted_init.py TREE PLACE`, in namespaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Run with -I: the tests are not on its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.machines import box_init


def become_systemd(tree: str, place: Path) -> None:
    """Mount the tree under a layer of memory, with what systemd expects, and go on as its systemd."""
    box_init.mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(place))
    upper, work, root = (place / name for name in ("upper", "work", "root"))
    for directory in (upper, work, root):
        directory.mkdir()
    layers = f"lowerdir={tree},upperdir={upper},workdir={work}"
    box_init.mount("-t", "overlay", "-o", layers, "overlay", str(root))
    # Not the first boot of this system, for which systemd would do more than for others.
    (root / "etc/machine-id").write_text(f"{1:032x}\n")
    box_init.mount("-t", "proc", "proc", str(root / "proc"))
    # Read-only, as in any container: it tells systemd that there is no udev to start.
    box_init.mount("-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    box_init.mount("-t", "cgroup2", "cgroup2", str(root / "sys/fs/cgroup"))
    for name in ("run", "tmp", "dev"):
        box_init.mount("-t", "tmpfs", "-o", f"mode={'1777' if name == 'tmp' else '755'}", "tmpfs", str(root / name))
    box_init.devices(root / "dev")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (root / "run/old").mkdir()
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "run/old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/run/old"], check=True)
    options = ["--unit=multi-user.target", "--log-target=journal"]
    os.execve(box_init.SYSTEMD, [box_init.SYSTEMD, *options], box_init.ENVIRONMENT)


if __name__ == "__main__":
    become_systemd(sys.argv[1], Path(sys.argv[2]))
