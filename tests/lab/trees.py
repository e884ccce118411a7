# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian trees to run other versions of NetworkManager and systemd-networkd from: `Lab(root=tree("forky"))`.

`python -m tests.lab.trees [NAME...]` makes them ahead of time and tells where they are. They are cached: a tree's
directory is named after all that went into it and appears in one step, when it is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespace import SYSTEM_PATH
from tests.lab.session import LabError

CACHE = Path(os.environ.get("CLATNM_TREES") or "/var/cache/clatnm-tests/trees")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
BUILD_TIMEOUT_S = 1200
UNUSED_S = 30 * 86400
_LOG_LINES = 5
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")
# A tree that a loss of power cuts short is made again: nothing need be on the disk before the end.
_HURRIED = {"DEBIAN_FRONTEND": "noninteractive", "DPKG_FORCE": "unsafe-io"}


class TreeError(LabError):
    """A tree could not be made; the text says why, on one line if possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a tree depends on. `network-manager` brings nmcli and nm-dispatcher, `systemd` brings networkd."""

    suite: str
    packages: tuple[str, ...] = ("dbus", "iproute2", "network-manager", "systemd")
    dropped: tuple[str, ...] = (
        *("var/cache/apt", "var/lib/apt/lists"),
        *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
    )
    """What no daemon reads: half of the size."""

    @property
    def directory(self) -> str:
        """`forky-0123456789ab`: another recipe has another name."""
        return f"{self.suite}-{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}"


_PLAIN = {suite: Recipe(suite=suite) for suite in ("bookworm", "trixie", "forky")}
RECIPES: Mapping[str, Recipe] = {
    **_PLAIN,
    "qemu": Recipe(suite="trixie", packages=("qemu-system-x86",)),
    "clatd": Recipe(suite="trixie", packages=(*_PLAIN["trixie"].packages, "clatd", "nftables", "procps")),
}
"""NetworkManager 1.42, 1.52 and at least 1.58; systemd 252, 257 and at least 262. A qemu. And clatd 2.1."""

Bootstrap = Callable[[Recipe, Path], None]
"""Fills a directory by the recipe, or raises TreeError."""


def tree(name: str) -> Path:
    """The tree of one of RECIPES, made now if it has to be: that takes half a minute. TreeError where it cannot be."""
    if name not in _failures:
        try:
            return cached(RECIPES[name], CACHE, mmdebstrap)
        except TreeError as error:
            _failures[name] = str(error)
    raise TreeError(_failures[name])


# Tried once a process: what keeps a tree from being made does not go away between two tests.
_failures: dict[str, str] = {}


def is_made(name: str) -> bool:
    """Whether the tree is there already."""
    return (CACHE / RECIPES[name].directory).is_dir()


def why_not(name: str) -> str | None:
    """Why `tree(name)` is not to be had, in words for a skipped test; None when it is there, made now if necessary."""
    try:
        tree(name)
    except TreeError as error:
        return str(error)
    return None


def cached(recipe: Recipe, cache: Path, bootstrap: Bootstrap) -> Path:
    """The recipe's tree in `cache`, by `bootstrap` if it is not there. Others that want it meanwhile wait."""
    place = cache / recipe.directory
    if not place.is_dir():
        try:
            cache.mkdir(mode=0o755, parents=True, exist_ok=True)
            with _locked(cache / f".{recipe.suite}.lock"):
                if not place.is_dir():
                    _make(recipe, place, bootstrap)
        except OSError as error:
            raise TreeError(f"no {recipe.suite} tree in {cache}: {error.strerror or error}") from error
    with contextlib.suppress(OSError):
        os.utime(place)  # the time of its last use
    return place


def _make(recipe: Recipe, place: Path, bootstrap: Bootstrap) -> None:
    cache = place.parent
    # Left by a builder that was killed; nobody else builds this suite while we have the lock.
    for leftover in cache.glob(f".{recipe.suite}.build-*"):
        _remove(leftover)
    _prune(cache)
    scratch = Path(tempfile.mkdtemp(prefix=f".{recipe.suite}.build-", dir=cache))
    try:
        scratch.chmod(0o755)
        bootstrap(recipe, scratch)
        for name in recipe.dropped:
            _remove(scratch / name)
        scratch.rename(place)
    finally:
        _remove(scratch)


def _prune(cache: Path) -> None:
    """Remove trees, of other recipes most likely, that nothing has used for a month."""
    for place in cache.glob("[a-z]*-*"):
        if time.time() - place.stat().st_mtime > UNUSED_S:
            _remove(place)


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def mmdebstrap(recipe: Recipe, target: Path) -> None:
    """Fill `target` with packages whose signatures are checked, from the mirror that this machine's apt uses."""
    reason = _missing()
    if reason:
        raise TreeError(f"no {recipe.suite} tree: {reason}")
    site = mirror()
    # In namespaces of its own: a build that is killed leaves no mount of /proc and no process behind.
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    options = (f"--include={','.join(recipe.packages)}", "--variant=minbase", f"--keyring={KEYRING}", "--mode=root")
    with tempfile.NamedTemporaryFile("w", prefix="clatnm-apt-", suffix=".conf") as fetching:
        # As this machine's apt does: by which proxy, with which certificates, and how old a list may be.
        fetching.write(_ask("apt-config", "dump", "Acquire"))
        fetching.flush()
        argv = [*alone, "mmdebstrap", *options, f"--aptopt={fetching.name}", "--format=directory"]
        argv += [recipe.suite, str(target), *([] if site is None else [site])]
        try:
            result = subprocess.run(
                argv,
                check=False,
                timeout=BUILD_TIMEOUT_S,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **_HURRIED, **proxies()},
            )
        except subprocess.TimeoutExpired as error:
            raise TreeError(f"no {recipe.suite} tree: mmdebstrap took more than {BUILD_TIMEOUT_S} s") from error
    if result.returncode != 0:
        said = result.stdout.splitlines()
        errors = [line for line in said if line.startswith("E:")] or said[-_LOG_LINES:]
        raise TreeError(f"no {recipe.suite} tree: mmdebstrap: {'; '.join(errors)}")
    _furnish(target)


def _furnish(target: Path) -> None:
    """What mmdebstrap leaves behind of this machine's settings, and what it leaves to the first boot."""
    (target / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    identity = target / "etc/machine-id"
    if identity.exists() and not identity.read_text().strip():
        identity.chmod(0o644)
        identity.write_text(f"{uuid.uuid4().hex}\n")


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root (chroot)"
    for tool, package in TOOLS.items():
        if not shutil.which(tool, path=SYSTEM_PATH):
            return f"needs {tool} (package {package})"
    if not KEYRING.exists():
        return f"needs {KEYRING} (package debian-archive-keyring)"
    return None


def mirror() -> str | None:
    """Where this machine gets Debian from; None (not a Debian): debootstrap has a mirror of its own."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
    said = _ask("apt-get", "indextargets", "--format", "$(SITE)", *wanted)
    return next((line for line in said.splitlines() if line.startswith(("http:", "https:", "file:"))), None)


def proxies() -> dict[str, str]:
    """What the environment says, or else apt's configuration, in the variables that wget reads."""
    found = {}
    for scheme in ("http", "https"):
        said = _ask("apt-config", "dump", "--format", "%v", f"Acquire::{scheme}::Proxy").strip()
        if said and said != "DIRECT":
            found[f"{scheme}_proxy"] = said
    return found | {key: value for key, value in os.environ.items() if key.lower() in _PROXY_VARIABLES}


def _ask(*argv: str) -> str:
    try:
        return subprocess.run(argv, check=False, text=True, capture_output=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):  # no apt here
        return ""


def main(names: list[str]) -> int:
    """Make the trees and print where each is; the exit status."""
    unknown = set(names) - RECIPES.keys()
    if unknown:
        print(f"error: no such tree: {', '.join(sorted(unknown))} (there are {', '.join(RECIPES)})", file=sys.stderr)
        return 2
    failed = False
    for name in names or ["trixie", "forky"]:
        began = time.monotonic()
        try:
            print(f"{name}: {tree(name)} ({time.monotonic() - began:.1f} s)", flush=True)
        except TreeError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
