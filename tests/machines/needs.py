# SPDX-License-Identifier: GPL-2.0-or-later
"""What guests need of this machine, and where what is made for them is kept."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.lab.namespace import SYSTEM_PATH
from tests.lab.trees import KEYRING

CACHE = Path(os.environ.get("CLATNM_MACHINES") or "/var/cache/clatnm-tests/machines")
QEMU = "qemu-system-x86_64"
# Program: the Debian package that has it.
TOOLS: Mapping[str, str] = {
    QEMU: "qemu-system-x86",
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "depmod": "kmod",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "clang": "clang",
}
_DYNAMIC = b"ld-linux"


class MachineError(RuntimeError):
    """A guest cannot be had here; the text says why, on one line if possible."""


def missing() -> str | None:
    """Why no guest can be had here; None where nothing is known to be in the way."""
    if platform.machine() != "x86_64":
        return f"guests are x86_64, this machine is {platform.machine()}"
    if os.geteuid() != 0:
        return "needs root (images are made with chroot, and read as root)"
    absent = [tool for tool in TOOLS if not shutil.which(tool, path=SYSTEM_PATH)]
    if absent:
        return "needs " + ", ".join(f"{tool} (package {TOOLS[tool]})" for tool in absent)
    if _DYNAMIC in busybox()[:4096]:
        return "needs a static busybox (package busybox-static)"
    if not KEYRING.exists():
        return f"needs {KEYRING} (package debian-archive-keyring)"
    return None


def busybox() -> bytes:
    """The program itself: all that a guest has before its root is mounted."""
    found = shutil.which("busybox", path=SYSTEM_PATH)
    return Path(found).read_bytes() if found else b""
