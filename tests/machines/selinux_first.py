# SPDX-License-Identifier: GPL-2.0-or-later
"""A root becomes one of SELinux's before it is switched on: its policy, and a label for every file of it.

Run in the root, where only /proc is and no systemd yet. systemd loads the policy as its first act.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.machines.initramfs import JOB
from tests.machines.selinux_policy import ARCHIVE

_PLACE = Path("/etc/selinux")
_LABELS = _PLACE / "default/contexts/files/file_contexts"
# Of others than the root's own file system, or labelled by systemd when it starts.
_OTHERS = {"/dev", JOB, "/proc", "/run", "/sys", "/usr/lib/modules"}
_NAME = "security.selinux"
_OPT_PATH = 3  # selinux/label.h
_SUBSTITUTES = ".subs_dist"
_LITERAL = re.compile(r"[^\\.^$?*+|\[({]*")
_MAYBE_NONE = "?*{"


class _Option(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("value", ctypes.c_char_p))


def main() -> int:
    _PLACE.mkdir(exist_ok=True)
    with tarfile.open(Path(JOB) / ARCHIVE) as archive:
        archive.extractall(_PLACE)  # ours
    count = 0
    with tempfile.TemporaryDirectory() as name:
        label = labels(_needed(_LABELS, Path(name)))
        for path in _everything("/"):
            found = label(path, os.lstat(path).st_mode)
            if found:
                os.setxattr(path, _NAME, found + b"\0", follow_symlinks=False)
                count += 1
    print(f"{count} files have labels", flush=True)
    return 0


def _everything(top: str) -> Iterator[str]:
    """Each path of the root's file system, directories before what they hold."""
    yield top
    for entry in os.scandir(top):
        if entry.path in _OTHERS:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _everything(entry.path)
        else:
            yield entry.path


def _needed(whole: Path, place: Path) -> Path:
    """A copy with the lines alone that may be about a file that there is: each file is compared with most of them."""
    copy = place / whole.name
    lines = whole.read_text().splitlines(keepends=True)
    copy.write_text("".join(line for line in lines if may_match(line.partition("\t")[0].split()[0])))
    # Which directory counts as which other is looked for beside.
    shutil.copy(f"{whole}{_SUBSTITUTES}", f"{copy}{_SUBSTITUTES}")
    return copy


def may_match(pattern: str) -> bool:
    """Whether there is anything that begins as the pattern does, up to its first special character."""
    found = _LITERAL.match(pattern)
    literal = found[0] if found else ""
    if pattern[len(literal) : len(literal) + 1] in tuple(_MAYBE_NONE):
        literal = literal[:-1]
    directory, _, beginning = literal.rpartition("/")
    return any(name.startswith(beginning) for name in _names(directory or "/"))


@functools.cache
def _names(directory: str) -> tuple[str, ...]:
    try:
        return tuple(os.listdir(directory))
    except OSError:
        return ()


def labels(contexts: Path) -> Callable[[str, int], bytes]:
    """What libselinux says of a path and its mode; nothing for what has no label of its own. OSError."""
    libselinux = ctypes.CDLL("libselinux.so.1", use_errno=True)
    libselinux.selabel_open.restype = ctypes.c_void_p
    libselinux.freecon.argtypes = (ctypes.c_void_p,)
    options = (_Option * 1)(_Option(_OPT_PATH, os.fsencode(contexts)))
    handle = libselinux.selabel_open(0, options, 1)
    if not handle:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(contexts))

    def label(path: str, mode: int) -> bytes:
        found = ctypes.c_void_p()
        if libselinux.selabel_lookup_raw(
            ctypes.c_void_p(handle), ctypes.byref(found), os.fsencode(path), ctypes.c_int(mode)
        ):
            return b""
        try:
            return ctypes.string_at(found)
        finally:
            libselinux.freecon(found)

    return label


if __name__ == "__main__":
    sys.exit(main())
