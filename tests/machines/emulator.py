# SPDX-License-Identifier: GPL-2.0-or-later
"""Which qemu runs guests: this machine's own, or a newer one out of a tree of Debian's."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.lab import trees
from tests.lab.namespace import SYSTEM_PATH
from tests.machines.needs import QEMU

_GOOD_SINCE = 9
"""Emulates a sixth faster than 7.2 does, which Debian 12 has."""
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


class Emulator(NamedTuple):
    """The beginning of its command line, and where it looks for its modules ("": where it always does)."""

    command: tuple[str, ...]
    modules: str = ""

    def environment(self) -> dict[str, str]:
        """Beside ours."""
        return {"QEMU_MODULE_DIR": self.modules} if self.modules else {}


def emulator() -> Emulator:
    """The newer one, where it has been fetched; else this machine's own."""
    if trees.is_made("qemu"):
        newer = _in(trees.tree("qemu"))
        if _version(newer):
            return newer
    return _own()


def fetch() -> None:
    """Have a newer one if this machine's own is old and a tree can be made: that takes half a minute."""
    if _version(_own()) < _GOOD_SINCE:
        trees.why_not("qemu")


def _own() -> Emulator:
    return Emulator((shutil.which(QEMU, path=SYSTEM_PATH) or QEMU,))


def _in(tree: Path) -> Emulator:
    """By the tree's own loader and libraries: nothing has to be mounted, and paths are those of this machine."""
    loader = (str(tree / "lib64/ld-linux-x86-64.so.2"), "--library-path", f"{tree / _LIBRARIES}")
    data = ("-L", str(tree / "usr/share/qemu"), "-L", str(tree / "usr/share/seabios"))
    program = str(tree / "usr/bin" / QEMU)
    return Emulator((*loader, program, *data), str(tree / _LIBRARIES / "qemu"))


@functools.lru_cache
def _version(which: Emulator) -> int:
    """The major one; 0 when it does not run."""
    try:
        said = subprocess.run([*which.command, "--version"], check=False, text=True, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"version (\d+)", said.stdout)
    return int(found[1]) if found else 0
