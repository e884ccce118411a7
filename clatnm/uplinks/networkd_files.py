# SPDX-License-Identifier: GPL-2.0-or-later
"""The .network files of systemd-networkd with their drop-ins, where networkd looks for them.

networkd tells which file a link has, but not what it says, and of drop-ins only newer versions tell. Nor does it tell
when they change. So they are read here, again whenever one of them is another than before.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from clatnm.log import Message, about
from clatnm.uplinks.networkd_objects import FileSettings, settings_from

log = logging.getLogger(__name__)

# Of two drop-ins of one name, that of the directory named first counts.
DIRECTORIES = tuple(
    Path(path)
    for path in (
        "/etc/systemd/network",
        "/run/systemd/network",
        "/usr/local/lib/systemd/network",
        "/usr/lib/systemd/network",
        "/lib/systemd/network",
    )
)
_MAX_BYTES = 1 << 20

# Tells two versions of a file apart
_Version = tuple[Path, int, int, int]


class NetworkFiles:
    """What the files say, without reading one twice that has not changed."""

    def __init__(self, directories: Sequence[Path] = DIRECTORIES, *, backends: tuple[str, ...] = ()) -> None:
        self._directories = tuple(directories)
        self._backends = backends
        self._read: dict[str, tuple[tuple[_Version, ...], FileSettings]] = {}
        self._said: set[str] = set()

    def settings(self, network_file: str) -> FileSettings:
        """What a .network file and its drop-ins say now; while the file itself is absent, what it said last."""
        if not network_file:
            return FileSettings()
        before, last = self._read.get(network_file, ((), FileSettings()))
        file = Path(network_file)
        versions = tuple(version for path in (file, *self._dropins(file)) if (version := _version(path)))
        if versions == before or not versions or versions[0][0] != file:
            return last
        settings = settings_from(((str(path), _text(path)) for path, *_ in versions), backends=self._backends)
        self._read[network_file] = versions, settings
        for problem in settings.problems:
            if problem not in self._said:
                self._said.add(problem)
                log.warning("%s", problem, extra=about(Message.SETTING_IGNORED))
        return settings

    def keep(self, network_files: Iterable[str]) -> None:
        """Forget all files but these."""
        wanted = set(network_files)
        for gone in self._read.keys() - wanted:
            del self._read[gone]

    def places(self, network_files: Iterable[str]) -> set[Path]:
        """The directories in which a change may concern one of these files; they need not exist."""
        found = set(self._directories) | {directory.parent for directory in self._directories if not directory.exists()}
        for file in map(Path, network_files):
            found |= {file.parent, *(directory / f"{file.name}.d" for directory in self._directories)}
        return found

    def _dropins(self, file: Path) -> list[Path]:
        by_name: dict[str, Path] = {}
        for directory in self._directories:
            try:
                for path in (directory / f"{file.name}.d").iterdir():
                    if path.suffix == ".conf":
                        by_name.setdefault(path.name, path)
            except (OSError, ValueError):
                continue
        return [by_name[name] for name in sorted(by_name)]


def _version(path: Path) -> _Version | None:
    try:
        info = path.stat()
    except (OSError, ValueError):  # ValueError: no file can have that name
        return None
    # A link to /dev/null hides a drop-in of the same name.
    return (path, info.st_ino, info.st_size, info.st_mtime_ns)


def _text(path: Path) -> str:
    try:
        # A pipe would never end.
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        log.debug("%s: %s", path, error.strerror)
        return ""
