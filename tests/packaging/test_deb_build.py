# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages as dpkg-buildpackage makes them: lintian, what is in them, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from clatnm import __version__
from tests.lab.system import REPOSITORY
from tests.packaging import debs
from tests.unit.programs import PATH, need

OTHER_HABITS = {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "USER": "other", "HOME": "/nonexistent"}
DIST_PACKAGES = "usr/lib/python3/dist-packages"
# What `make install-files` puts elsewhere than the package: where Debian 12 has units, and where Debian's zsh looks.
_ELSEWHERE = {
    "/lib/systemd/system": "/usr/lib/systemd/system",
    "/usr/share/zsh/vendor-completions": "/usr/share/zsh/site-functions",
}


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debs.built(tmp_path_factory)


@pytest.fixture(scope="module")
def inside(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packages unpacked, in a directory each."""
    place = tmp_path_factory.mktemp("inside")
    for name in ("clatnm", "clatnm-networkd"):
        debs.run("dpkg-deb", "-R", str(debs.package(packages, name)), str(place / name))
    return place


def files_of(directory: Path) -> dict[str, int]:
    """What a package installs, with its modes."""
    return {
        f"/{path.relative_to(directory)}": path.stat().st_mode & 0o7777
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] != "DEBIAN"
    }


def test_lintian_has_nothing_to_say(packages: Path) -> None:
    # What one of its own screens masks would count as failed.
    options = ("--no-cfg", "--allow-root", "-EI", "--pedantic", "--fail-on", "none")
    deb_files = [str(path) for path in sorted(packages.glob("*.deb"))]
    assert len(deb_files) == 2
    done = subprocess.run(
        [need("lintian", "lintian"), *options, *deb_files],
        env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    hints = [line for line in done.stdout.splitlines() if not line.startswith("N:")]
    assert (done.returncode, hints) == (0, []), done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", ["clatnm.lintian-overrides", "clatnm-networkd.lintian-overrides", "source/lintian-overrides"]
)
def test_each_override_says_why(name: str) -> None:
    lines = (debs.DEBIAN / name).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert all(re.match(r"# |[a-z0-9.-]+ \*$", line) for line in lines)


def test_build_is_the_same_for_others(packages: Path, tmp_path: Path) -> None:
    """For whoever unpacks a release and runs dpkg-buildpackage, with other habits than tools/build-deb.sh has."""
    with tarfile.open(_release(tmp_path)) as archive:
        archive.extractall(tmp_path)
    (source,) = tmp_path.glob("clatnm-*/")
    for path in source.rglob("*"):  # as a umask of 077 has them
        path.chmod(path.stat().st_mode & 0o700)
    (source / "packaging/debian").rename(source / "debian")
    made = subprocess.run(
        ["dpkg-buildpackage", "-us", "-uc", "-b"],
        cwd=source,
        env={"PATH": PATH, **OTHER_HABITS, "DEB_BUILD_OPTIONS": "nocheck", "DEB_BUILD_PROFILES": "nocheck"},
        umask=0o077,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=debs.BUILD_TIMEOUT_S,
    )
    assert made.returncode == 0, made.stdout
    ours, theirs = ({path.name: _hash(path) for path in place.glob("*.deb")} for place in (packages, tmp_path))
    assert len(ours) == 2
    assert theirs == ours


def _release(place: Path) -> Path:
    """The tarball of the tree as it is."""
    argv = [sys.executable, str(REPOSITORY / "tools/dist.py"), str(place / "release")]
    subprocess.run(argv, check=True, timeout=120, capture_output=True)
    (tarball,) = (place / "release").glob("*.tar.xz")
    return tarball


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_version_is_the_program_s(packages: Path) -> None:
    assert debs.field(debs.package(packages), "Version").rpartition("-")[0] == __version__


def test_packages_bring_the_programs_for_the_kernel(inside: Path) -> None:
    table = json.loads((inside / "clatnm" / DIST_PACKAGES / "clatnm/bpf/clat.json").read_text())
    assert set(table) == {"big", "little"}, "the package is for every machine"
    assert all(programs["programs"] and programs["maps"] for programs in table.values())


def test_packages_together_are_what_make_install_installs(inside: Path, tmp_path: Path) -> None:
    subprocess.run(
        [str(REPOSITORY / "tools/install.sh"), "files"],
        env={"PATH": PATH, "DESTDIR": str(tmp_path), "PREFIX": "/usr"},
        check=True,
        timeout=60,
    )
    wanted = {_compressed(name): mode for name, mode in files_of(tmp_path).items()}
    packed = files_of(inside / "clatnm") | files_of(inside / "clatnm-networkd")
    own = {
        _moved(name): mode
        for name, mode in packed.items()
        if not name.startswith((f"/{DIST_PACKAGES}/", "/usr/share/doc/", "/usr/share/lintian/"))
        and name != "/usr/bin/clatnm"
    }
    assert own == wanted
    assert packed["/usr/bin/clatnm"] == 0o755


def _compressed(name: str) -> str:
    return f"{name}.gz" if "/man/man" in name else name


def _moved(name: str) -> str:
    directory, _, file = name.rpartition("/")
    return f"{_ELSEWHERE.get(directory, directory)}/{file}"


def test_zsh_of_this_release_looks_where_the_completion_is(inside: Path) -> None:
    zsh = need("zsh", "zsh")
    told = subprocess.run(
        [zsh, "-fc", "print -l $fpath"], env={"PATH": PATH}, check=True, capture_output=True, text=True
    )
    (file,) = (name for name in files_of(inside / "clatnm") if name.endswith("/_clatnm"))
    assert file.rpartition("/")[0] in told.stdout.splitlines()


def test_every_file_is_in_one_package(inside: Path) -> None:
    assert not files_of(inside / "clatnm").keys() & files_of(inside / "clatnm-networkd").keys()


def test_configuration_is_the_administrator_s(inside: Path) -> None:
    names = {name for name in files_of(inside / "clatnm") if name.startswith("/etc/")}
    assert set((inside / "clatnm/DEBIAN/conffiles").read_text().split()) == names
    assert "/etc/clatnm/clatnm.conf" in names


def test_depends_on_what_pyproject_asks_for(packages: Path) -> None:
    """Names and oldest versions; which of two D-Bus libraries is for which Python, both say in their own way."""
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", (REPOSITORY / "pyproject.toml").read_text(), re.M | re.S)
    asked = set(re.findall(r'"([a-z0-9-]+)>=([0-9.]+)', listed))
    depends = debs.field(debs.package(packages), "Depends")
    told = set(re.findall(r"python3-([a-z0-9-]+) \(>= ([0-9.]+)\)", depends))
    assert told == asked
    assert "${" not in depends and "python3 (>= 3.10)" in depends.replace(":any", "")


def test_package_is_for_every_machine(packages: Path) -> None:
    assert debs.field(debs.package(packages), "Architecture") == "all"


def test_autopkgtests_are_there_and_listed() -> None:
    listed = set(re.findall(r"^Tests: (\S+)$", (debs.DEBIAN / "tests/control").read_text(), re.M))
    assert listed == {path.name for path in (debs.DEBIAN / "tests").iterdir()} - {"control"}
    assert all(os.access(debs.DEBIAN / "tests" / name, os.X_OK) for name in listed)
