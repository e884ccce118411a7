# SPDX-License-Identifier: GPL-2.0-or-later
"""`dist.py [DIRECTORY]`: source tarball, source distribution and wheel into DIRECTORY (dist), always the same bytes.

Run by an interpreter that has setuptools. What goes in are the tree's files as they are now: all that git does not
ignore, in an unpacked release all but what work leaves there. Every time stamp is SOURCE_DATE_EPOCH: where that is not
set, the last commit's, in an unpacked release that of its files.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
PROGRAMS = "clatnm/bpf/clat.json"
LEFTOVERS = frozenset(
    (".git", ".venv", "build", "dist", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis")
)
"""What work in an unpacked release leaves there, beside the programs and *.egg-info."""


class DistError(Exception):
    """It cannot be made here; the text says why, on one line."""


def version() -> str:
    """The one place that has it is clatnm/__init__.py."""
    (found,) = re.findall(r'^__version__ = "(.+)"$', (TREE / "clatnm/__init__.py").read_text(encoding="utf-8"), re.M)
    return str(found)


def sources() -> list[Path]:
    """Every file of a release, relative to the tree, in an order that does not depend on the machine."""
    if (TREE / ".git").exists():
        listed = [
            Path(name)
            for name in _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
            if name
        ]
    else:
        listed = [path.relative_to(TREE) for path in TREE.rglob("*")]
    return sorted(path for path in listed if (TREE / path).is_file() and not _is_made(path))


def _is_made(path: Path) -> bool:
    made = any(part in LEFTOVERS or part.endswith(".egg-info") for part in path.parts)
    return made or str(path) in (PROGRAMS, "PKG-INFO", "setup.cfg") or path.suffix == ".pyc"


def epoch(files: Iterable[Path]) -> int:
    """Seconds since 1970 that every time stamp gets."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told is not None:
        if not told.isdigit():
            raise DistError(f"SOURCE_DATE_EPOCH={told} is no number of seconds")
        return int(told)
    if (TREE / ".git").exists():
        return int(_git("log", "-1", "--format=%ct"))
    return int(max((TREE / path).stat().st_mtime for path in files))


def _git(*argv: str) -> str:
    # The tree may be somebody else's: root makes a release in a checkout.
    trusted = ("-c", f"safe.directory={TREE}")
    try:
        done = subprocess.run(["git", *trusted, *argv], cwd=TREE, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise DistError("git is not installed, which knows the files of this tree") from None
    except subprocess.CalledProcessError as error:
        raise DistError(f"git {argv[0]}: {error.stderr.strip()}") from error
    return done.stdout


def stage(files: Iterable[Path], place: Path, when: int) -> None:
    """A copy of the files, with modes and times that do not depend on whose checkout it is."""
    for path in files:
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TREE / path, target)
        target.chmod(0o755 if os.access(TREE / path, os.X_OK) else 0o644)
        os.utime(target, (when, when))
    for directory in (place, *(path for path in place.rglob("*") if path.is_dir())):
        directory.chmod(0o755)


def packed(root: Path, when: int) -> bytes:
    """A directory as tar, entries sorted, everything root's and of one time."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = when
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in (root, *sorted(root.rglob("*"))):
            archive.add(path, str(path.relative_to(root.parent)), recursive=False, filter=plain)
    return out.getvalue()


def built(what: str, source: Path, place: Path, when: int) -> Path:
    """`sdist` or `wheel` of a source directory, by the backend that pyproject.toml names."""
    place.mkdir()
    call = f"import sys; from setuptools import build_meta; build_meta.build_{what}(sys.argv[1])"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(when), "PYTHONHASHSEED": "0"}
    argv = [sys.executable, "-c", call, str(place)]
    done = subprocess.run(argv, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise DistError(f"setuptools makes no {what}: {last[-1]}")
    (result,) = place.iterdir()
    return result


def dist(out: Path) -> list[Path]:
    """Make the three files; DistError leaves none of them half made."""
    files = sources()
    when, name = epoch(files), f"clatnm-{version()}"
    with tempfile.TemporaryDirectory(prefix="clatnm-dist-") as temporary:
        work, ready = Path(temporary), Path(temporary, "ready")
        ready.mkdir()
        stage(files, work / "tree" / name, when)
        (ready / f"{name}.tar.xz").write_bytes(lzma.compress(packed(work / "tree" / name, when), preset=6))
        made = built("sdist", work / "tree" / name, work / "sdist", when)
        # Unpacked and packed again: setuptools writes the time of day and the names of whoever runs it.
        shutil.unpack_archive(made, work / "unpacked", "gztar")
        (source,) = (work / "unpacked").iterdir()
        (ready / f"{name}.tar.gz").write_bytes(gzip.compress(packed(source, when), mtime=when))
        # From the source distribution, not from the tree: so that is known to be whole.
        wheel = built("wheel", source, work / "wheel", when)
        if PROGRAMS not in zipfile.ZipFile(wheel).namelist():
            raise DistError("the wheel has no eBPF programs (install clang)")
        shutil.copyfile(wheel, ready / wheel.name)
        out.mkdir(parents=True, exist_ok=True)
        return [_put(path, out) for path in sorted(ready.iterdir())]


def _put(path: Path, out: Path) -> Path:
    target, fresh = out / path.name, out / f".{path.name}.new"
    try:
        shutil.copyfile(path, fresh)
        return fresh.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()


def main(arguments: list[str]) -> int:
    """Print what was made; the exit status."""
    os.umask(0o022)
    try:
        if len(arguments) > 1:
            raise DistError("too many arguments (usage: dist.py [DIRECTORY])")
        for path in dist(Path(arguments[0] if arguments else "dist")):
            print(path)
    except (DistError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
