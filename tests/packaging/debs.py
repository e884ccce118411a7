# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm's Debian packages of the tree as it is: built once for a run of the tests, however many processes it has."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.namespace import SYSTEM_PATH
from tests.lab.poll import CommandError
from tests.lab.system import REPOSITORY
from tests.unit.programs import need

SCRIPT = REPOSITORY / "tools/build-deb.sh"
DEBIAN = REPOSITORY / "packaging/debian"
TOOLS = {
    "dpkg-buildpackage": "dpkg-dev",
    "dh": "debhelper",
    "dh_python3": "dh-python",
    "dh_apparmor": "dh-apparmor",
    "clang": "clang",
}
BUILD_TIMEOUT_S = 300


def built(factory: pytest.TempPathFactory) -> Path:
    """The directory with the packages. AssertionError with the end of the story where they cannot be built."""
    for program, package in TOOLS.items():
        need(program, package)
    shared = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent  # its processes have one each, in one of the run
    place = shared / "debs"
    with (shared / "debs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            build(place)
            (place / "complete").touch()
    return place


def build(place: Path, **environment: str) -> None:
    """Run tools/build-deb.sh as somebody does who has nothing special set."""
    done = subprocess.run(
        [str(SCRIPT), str(place)],
        env={"PATH": SYSTEM_PATH, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout


def package(place: Path, name: str = "clatnm") -> Path:
    """One of the packages in that directory."""
    (found,) = place.glob(f"{name}_*.deb")
    return found


def field(deb: Path, name: str) -> str:
    """A field of its control file."""
    return run("dpkg-deb", "-f", str(deb), name).strip()


def run(*argv: str) -> str:
    """What a program of the system prints. CommandError if it fails."""
    done = subprocess.run(
        argv, env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode != 0:
        raise CommandError(done)
    return done.stdout
