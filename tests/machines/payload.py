# SPDX-License-Identifier: GPL-2.0-or-later
"""What every guest gets: clatnm, installed as a distribution's package installs it, and the tests.

The package goes through a wheel, which is kept until a source file changes: making one may need the network.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from clatnm.bpf import build
from tests.bpf import programs
from tests.lab.namespace import SYSTEM_PATH
from tests.lab.system import REPOSITORY
from tests.machines.needs import CACHE, MachineError

REPO = "/srv/clatnm"
"""Where a guest has the tests; its clatnm is in the usual places."""
COMPILED = f"{REPO}/compiled"

_SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "clatnm")
_TESTS = ("tests", "packaging", "nm-dispatcher", "networkd", "pyproject.toml")
LIBRARY = "/usr/lib/python3/dist-packages"
_COMMAND = "#!/usr/bin/python3\nfrom clatnm.cli.main import entry\n\nentry()\n"
_WHEELS_KEPT = 20


def payload() -> bytes:
    """An archive to be unpacked at a guest's /. MachineError where clatnm cannot be built."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="clatnm-payload-") as name, tarfile.open(fileobj=out, mode="w") as archive:
        root = Path(name)
        _run([str(REPOSITORY / "tools/install.sh"), "files"], PREFIX="/usr", DESTDIR=name)
        with zipfile.ZipFile(wheel()) as packed:
            packed.extractall(root / LIBRARY.lstrip("/"))
        command = root / "usr/bin/clatnm"
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(_COMMAND)
        command.chmod(0o755)
        repo = root / REPO.lstrip("/")
        for entry in _TESTS:
            _copy(REPOSITORY / entry, repo / entry)
        _compile(root / COMPILED.lstrip("/"))
        for path in sorted(root.rglob("*")):
            archive.add(path, str(path.relative_to(root)), recursive=False, filter=_belongs_to_root)
    return out.getvalue()


def _belongs_to_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
    return entry


def _compile(place: Path) -> None:
    """What tests/bpf has from clang; a guest has none. See precompiled.py."""
    place.mkdir(parents=True)
    try:
        (place / "clat.bpf.o").write_bytes(build.compile_source())
    except build.BuildError as error:
        raise MachineError(str(error)) from error
    (place / "config.json").write_text(json.dumps(programs.config_layout()))


@functools.lru_cache(maxsize=1)
def wheel() -> Path:
    """The project's wheel with the programs in it, of the sources as they are now."""
    place = CACHE / "wheels" / _digest()
    if found := sorted(place.glob("*.whl")):
        os.utime(place)
        return found[0]
    place.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-_WHEELS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="clatnm-wheel-") as name:
        source, made = Path(name, "source"), Path(name, "made")
        for entry in _SOURCES:
            _copy(REPOSITORY / entry, source / entry)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--wheel-dir", str(made), str(source)])
        (result,) = made.glob("*.whl")
        if not any(entry.endswith("bpf/clat.json") for entry in zipfile.ZipFile(result).namelist()):
            raise MachineError("the wheel was built without the eBPF programs")
        fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
        shutil.copy(result, fresh)
        try:
            fresh.rename(place)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return place / result.name


def _digest() -> str:
    digest = hashlib.sha256()
    for entry in _SOURCES:
        for path in _files(REPOSITORY / entry):
            digest.update(f"{path.relative_to(REPOSITORY)}\0{path.stat().st_mode:o}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(place: Path) -> Iterator[Path]:
    """Without what is made of others: byte code, and the programs, which the build compiles anew."""
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.name != build.OUTPUT.name:
            yield path


def _copy(source: Path, target: Path) -> None:
    for path in _files(source):
        copy = target / path.relative_to(source) if path != source else target
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def _run(argv: list[str], **environment: str) -> None:
    # The machine's own programs first: install.sh and clang are to be found, whoever calls.
    path = f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    result = subprocess.run(
        argv,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": path, **environment},
    )
    if result.returncode != 0:
        raise MachineError(f"{' '.join(argv[:4])}: {result.stdout.strip()[-500:]}")
