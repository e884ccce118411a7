# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's own kernels, unpacked beside each other and cached: `kernel("6.1")`. Any of them boots any root."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import trees
from tests.machines.needs import CACHE, MachineError

SUITES: Mapping[str, str] = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "newest": "forky"}
"""By the name that a test has for it: the suite it comes from."""

_METAPACKAGE = "linux-image-amd64"
# One package up to 6.x; image, binary, modules and base since 7.x.
_PART = re.compile(r"linux-(image|binary|modules|base)-\d")
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """`tree` has `lib/modules/RELEASE`; `image` is what a boot loader loads."""

    release: str
    image: Path
    tree: Path

    @property
    def modules(self) -> Path:
        """What belongs at a root's /usr/lib/modules."""
        return self.tree / "lib/modules"


def kernel(name: str) -> Kernel:
    """One of SUITES, fetched now if it has to be: ten seconds. MachineError where it cannot be."""
    recipe = trees.Recipe(suite=SUITES[name], packages=(_METAPACKAGE,), dropped=())
    try:
        return found(trees.cached(recipe, CACHE / "kernels", _fetch))
    except trees.TreeError as error:
        raise MachineError(str(error).replace(" tree", " kernel")) from error


def found(tree: Path) -> Kernel:
    """The only kernel of a tree. MachineError without one."""
    releases = sorted(path.name for path in (tree / "lib/modules").glob("*"))
    if len(releases) == 1:
        (release,) = releases
        for image in (tree / f"boot/vmlinuz-{release}", tree / f"lib/modules/{release}/vmlinuz"):
            if image.exists():
                return Kernel(release=release, image=image, tree=tree)
    raise MachineError(f"{tree} does not have one kernel, but {releases or 'none'}")


def parts(depends: str) -> list[str]:
    """The packages of a kernel in what `apt-cache depends --recurse` prints."""
    names = {line.strip() for line in depends.splitlines() if _PART.match(line)}
    return sorted(name for name in names if not name.endswith("-unsigned"))


def _fetch(recipe: trees.Recipe, place: Path) -> None:
    mirror = trees.mirror()
    if mirror is None:
        raise MachineError(f"no {recipe.suite} kernel: apt names no Debian mirror")
    with tempfile.TemporaryDirectory(prefix="clatnm-apt-") as name:
        apt = _Apt(Path(name), mirror, recipe.suite)
        apt.get("update")
        packages = parts(apt.depends(*recipe.packages))
        apt.get("download", *packages)
        for package in sorted(Path(name).glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(place)])
    if not (place / "lib/modules").is_dir():
        (place / "lib").mkdir(exist_ok=True)
        (place / "usr/lib/modules").rename(place / "lib/modules")
    _run(["depmod", "-b", str(place), found(place).release])
    shutil.rmtree(place / "usr/share", ignore_errors=True)


class _Apt:
    """apt with a state of its own: this machine's stays as it is. Its proxies and certificates hold all the same."""

    def __init__(self, home: Path, mirror: str, suite: str) -> None:
        self._home = home
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (home / name).mkdir(parents=True)
        (home / "status").touch()
        (home / "sources.list").write_text(f"deb [signed-by={trees.KEYRING}] {mirror} {suite} main\n")
        options = {
            "Dir::Etc::SourceList": home / "sources.list",
            "Dir::Etc::SourceParts": home / "parts",
            "Dir::State::Lists": home / "lists",
            "Dir::State::Status": home / "status",
            "Dir::Cache": home / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        self._options = [f"-o{key}={value}" for key, value in options.items()]

    def get(self, *argv: str) -> None:
        _run(["apt-get", *self._options, "-qq", *argv], cwd=self._home)

    def depends(self, package: str) -> str:
        kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        without = [f"--no-{kind}" for kind in kinds]
        return _run(["apt-cache", *self._options, "depends", "--recurse", *without, package])


def _run(argv: list[str], *, cwd: Path | None = None) -> str:
    try:
        result = subprocess.run(
            argv, cwd=cwd, check=True, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"{argv[0]}: {error}") from error
    except subprocess.CalledProcessError as error:
        raise MachineError(f"{argv[0]}: {error.stderr.strip() or error.returncode}") from error
    return result.stdout
