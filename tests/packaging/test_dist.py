# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make dist` makes: whole, the same every time, and of one version; and the wheel, where there is no compiler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from clatnm import __version__
from tests.unit.programs import PATH, need

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = f"clatnm-{__version__}"
TARBALL, SDIST, WHEEL = f"{NAME}.tar.xz", f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"
EPOCH = "1700000000"


def dist(tree: Path, out: Path, *, umask: int = 0o022, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(tree / "tools/dist.py"), str(out)],
        env={"PATH": PATH, "HOME": str(out), "SOURCE_DATE_EPOCH": EPOCH, **more},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    need("clang", "clang")
    out = tmp_path_factory.mktemp("release") / "out"
    done = dist(REPOSITORY, out)
    assert (done.returncode, done.stderr) == (0, "")
    made = [Path(line) for line in done.stdout.splitlines()]
    assert sorted(made) == sorted(out.iterdir())
    return {path.name: path for path in made}


def in_archive(path: Path) -> Mapping[str, tarfile.TarInfo]:
    """The files, by their names within the one directory that there is."""
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
    assert {entry.name.split("/")[0] for entry in entries} == {NAME}
    return {entry.name.partition("/")[2]: entry for entry in entries if entry.isfile()}


def test_release_is_a_tarball_a_source_distribution_and_a_wheel(release: Mapping[str, Path]) -> None:
    assert release.keys() == {TARBALL, SDIST, WHEEL}


def test_release_made_of_itself_is_the_same(tmp_path: Path, release: Mapping[str, Path]) -> None:
    """Of what setuptools took along, in another directory, without git, later, and by somebody with other habits."""
    with tarfile.open(release[SDIST]) as archive:
        archive.extractall(tmp_path)
    tree = tmp_path / NAME
    # What a build in it has left there does not count.
    (tree / "clatnm/bpf/clat.json").write_text("old")
    (tree / "clatnm/__pycache__").mkdir()
    (tree / "clatnm/__pycache__/old.pyc").touch()
    done = dist(tree, tmp_path / "out", umask=0o077, TZ="Pacific/Kiritimati", LC_ALL="C", PYTHONHASHSEED="7")
    assert (done.returncode, done.stderr) == (0, "")
    again = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert {name: again.get(name) == path.read_bytes() for name, path in release.items()} == {
        TARBALL: True,
        SDIST: True,
        WHEEL: True,
    }


def test_archives_hold_the_tree_and_nothing_of_its_owner(release: Mapping[str, Path]) -> None:
    tarball, sdist = in_archive(release[TARBALL]), in_archive(release[SDIST])
    made = {name for name in sdist if name in ("PKG-INFO", "setup.cfg") or name.startswith("clatnm.egg-info/")}
    assert sdist.keys() - made == tarball.keys()
    assert {
        "Makefile",
        "clatnm/bpf/clat.bpf.c",
        "tests/vectors/siit.jsonl",
        "packaging/rpm/clatnm.spec",
    } <= tarball.keys()
    assert [name for name in tarball if name.endswith((".pyc", "clat.json"))] == []
    for entries in (tarball, sdist):
        assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries.values()} == {
            (0, 0, "root", "root")
        }
        assert {entry.mtime for entry in entries.values()} == {int(EPOCH)}
        assert {name: entry.mode for name, entry in entries.items() if entry.mode not in (0o644, 0o755)} == {}
        assert {name for name in ("tools/install.sh", "nm-dispatcher/90-clatnm") if entries[name].mode == 0o755} == {
            "tools/install.sh",
            "nm-dispatcher/90-clatnm",
        }


def test_without_a_compiler_no_release_is_made(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(need("git", "git"))
    done = dist(REPOSITORY, tmp_path / "out", PATH=str(programs))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: the wheel has no eBPF programs (install clang)\n"
    assert not (tmp_path / "out").exists()


def test_time_that_is_none_is_refused(tmp_path: Path) -> None:
    done = dist(REPOSITORY, tmp_path / "out", SOURCE_DATE_EPOCH="yesterday")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: SOURCE_DATE_EPOCH=yesterday is no number of seconds\n"


# The wheel


def test_wheel_works_where_there_is_no_compiler(tmp_path: Path, release: Mapping[str, Path]) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    # The libraries are those of these tests: what is tried is the wheel.
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(release[WHEEL])], check=True, timeout=60)
    (site,) = environment.glob("lib/python*/site-packages")
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "libraries.pth").write_text(f"{libraries}\n")
    alone = {"PATH": str(environment / "bin"), "HOME": str(tmp_path)}
    told = subprocess.run(["clatnm", "--version"], env=alone, check=True, capture_output=True, text=True, timeout=30)
    assert told.stdout == f"clatnm {__version__}\n"
    asked = (
        "import clatnm.bpf as b; t = b.table().programs; print(b.__file__, sorted(t), all(p.code for p in t.values()))"
    )
    told = subprocess.run(
        [str(python), "-c", asked], env=alone, check=True, capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    programs = ["device_egress", "device_ingress", "uplink_ingress_ethernet", "uplink_ingress_plain"]
    assert told.stdout == f"{site}/clatnm/bpf/__init__.py {programs} True\n"


def test_wheel_has_every_module_and_what_they_read(release: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(release[WHEEL]) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    there = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "clatnm").rglob("*") if path.is_file()}
    assert names == {name for name in there if "__pycache__" not in name} | {"clatnm/bpf/clat.json"}


# One version


def test_version_is_one_everywhere(release: Mapping[str, Path]) -> None:
    spec = (REPOSITORY / "packaging/rpm/clatnm.spec").read_text()
    assert re.findall(r"^Version: +(\S+)$", spec, re.MULTILINE) == [__version__]
    # The newest entry of each log of changes is about this version.
    assert re.findall(r"^\* .* (\S+)-\d+$", spec, re.MULTILINE)[0] == __version__
    debian = (REPOSITORY / "packaging/debian/changelog").read_text()
    assert re.match(r"clatnm \((.+)-\d+\) ", debian)[1] == __version__  # type: ignore[index]
    with zipfile.ZipFile(release[WHEEL]) as wheel:
        metadata = wheel.read(f"{NAME}.dist-info/METADATA").decode()
    assert re.findall(r"^Version: (\S+)$", metadata, re.MULTILINE) == [__version__]


def test_changelog_ends_with_nothing_or_with_this_version() -> None:
    """A release's own section is made when it is released: until then, all is unreleased."""
    released = re.findall(r"^## \[(\d\S*)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:1] in ([], [__version__])


@pytest.mark.parametrize("command", ["dist", "packages", "purge"])
def test_make_knows_how(command: str) -> None:
    done = subprocess.run(
        [need("make", "make"), "-n", command],
        cwd=REPOSITORY,
        env={"PATH": PATH, "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    for script in re.findall(r"\btools/[\w.-]+", done.stdout):
        assert (REPOSITORY / script).is_file(), script
