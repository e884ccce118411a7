# SPDX-License-Identifier: GPL-2.0-or-later
"""The rpms, built by rpmbuild and installed by rpm: into a Debian tree, for there is no Fedora here."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from clatnm import __version__
from tests.lab import trees
from tests.lab.requirements import missing
from tests.packaging.scratch_root import ScratchRoot
from tests.unit.programs import PATH, need

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "tools/build-rpm.sh"
SPEC = REPOSITORY / "packaging/rpm/clatnm.spec"
RPMLINTRC = REPOSITORY / "packaging/rpm/clatnm.rpmlintrc"
# `make rpms` runs every unit test that needs neither root nor a network. These show that it would.
FEW = ("--define", "clatnm_tests tests/unit/test_model.py tests/unit/templates tests/unit/bpf/test_bpf_config.py")
NAMES = ("clatnm", "clatnm-networkd")
POLICY = Path("/usr/share/selinux/devel/Makefile")
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"/usr/lib/{PYTHON}/site-packages"


def build(out: Path, sources: Path, *options: str, **more: str) -> Mapping[str, Path]:
    """The packages by name; the source package is `src`."""
    done = subprocess.run(
        [str(BUILD), str(out), *options],
        env={"PATH": PATH, "HOME": str(out), "SOURCES": str(sources), **more},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [Path(line) for line in done.stdout.splitlines()]
    return {("src" if path.match("*.src.rpm") else re.split(r"-\d", path.name)[0]): path for path in made}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("rpmbuild", "rpm")
    need("clang", "clang")
    place = tmp_path_factory.mktemp("sources")
    subprocess.run([sys.executable, str(REPOSITORY / "tools/dist.py"), str(place)], check=True, timeout=120)
    return place


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory, sources: Path) -> Mapping[str, Path]:
    return build(tmp_path_factory.mktemp("rpms"), sources, *FEW)


def ask(package: Path, *argv: str) -> list[str]:
    """The lines of `rpm -qp`."""
    done = subprocess.run(["rpm", "-qp", *argv, str(package)], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.splitlines()


def files_of(package: Path) -> Mapping[str, Sequence[str]]:
    """Each path with mode, owner, and what rpm takes it for (c: configuration, n: not replaced, g: ghost)."""
    form = "[%{FILENAMES}\t%{FILEMODES:octal}\t%{FILEUSERNAME}:%{FILEGROUPNAME}\t%{FILEFLAGS:fflags}\n]"
    rows = (line.split("\t") for line in ask(package, "--qf", form))
    return {name: rest for name, *rest in rows}


# What is built


def test_packages_are_for_every_machine(rpms: Mapping[str, Path]) -> None:
    assert rpms.keys() == {*NAMES, *(("clatnm-selinux",) if POLICY.exists() else ()), "src"}
    for name in NAMES:
        assert ask(rpms[name], "--qf", "%{NAME} %{VERSION} %{ARCH}") == [f"{name} {__version__} noarch"]


def test_same_source_gives_the_same_packages(tmp_path: Path, rpms: Mapping[str, Path], sources: Path) -> None:
    """In another directory, at another time (of another day there), by somebody with other habits."""
    again = build(tmp_path, sources, *FEW, TZ="Pacific/Kiritimati", LC_ALL="C")
    assert again.keys() == rpms.keys()
    assert [name for name, path in again.items() if path.read_bytes() != rpms[name].read_bytes()] == []


def test_build_leaves_nothing_where_it_worked(rpms: Mapping[str, Path]) -> None:
    around = os.open("/tmp", os.O_RDONLY)
    try:
        fcntl.flock(around, fcntl.LOCK_EX)  # another build may be there now
        assert rpms
        assert not Path("/tmp/clatnm-rpm").exists()
    finally:
        os.close(around)


def test_policy_comes_with_its_own_package(rpms: Mapping[str, Path]) -> None:
    """Compiled here for Debian's policy: see packaging/rpm/macros.clatnm-build."""
    if not POLICY.exists():
        pytest.skip(f"needs {POLICY} (package selinux-policy-dev)")
    files = {path: rest for path, rest in files_of(rpms["clatnm-selinux"]).items() if "licenses" not in path}
    assert {path for path, (*_, flags) in files.items() if "g" not in flags} == {
        "/usr/share/selinux/packages/default/clatnm.pp.bz2",
        "/usr/share/selinux/devel/include/distributed/clatnm.if",
    }
    assert {path for path, (*_, flags) in files.items() if "g" in flags} == {
        "/var/lib/selinux/default/active/modules/200/clatnm"
    }
    told = "\n".join(ask(rpms["clatnm-selinux"], "--scripts"))
    assert "-i /usr/share/selinux/packages/default/clatnm.pp.bz2" in told
    assert "-r clatnm" in told
    wanted = f"(clatnm-selinux = {__version__}-1 if selinux-policy-default)"
    assert wanted in ask(rpms["clatnm"], "--requires")


def test_rpmlint_has_nothing_to_say(rpms: Mapping[str, Path]) -> None:
    done = subprocess.run(
        [need("rpmlint", "rpmlint"), "-r", str(RPMLINTRC), *map(str, rpms.values()), str(SPEC)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert " 0 errors, 0 warnings," in done.stdout, done.stdout
    assert done.returncode == 0


def test_libraries_are_asked_for_as_pyproject_does(rpms: Mapping[str, Path]) -> None:
    asked = {line.split()[0] for line in ask(rpms["clatnm"], "--requires")}
    libraries = {re.sub(r".*dist\((.+)\)", r"\1", name) for name in asked if "dist(" in name}
    assert libraries in ({library, "pyroute2", "dnspython", "jinja2"} for library in ("dbus-next", "dbus-fast"))
    assert "python(abi)" in asked
    assert f"clatnm = {__version__}-1" in ask(rpms["clatnm-networkd"], "--requires")


def test_scriptlets_are_for_the_service_alone(rpms: Mapping[str, Path]) -> None:
    told = "\n".join(ask(rpms["clatnm"], "--scripts"))
    kinds = re.findall(r"^(\w+) scriptlet", told, re.MULTILINE)
    assert kinds == ["postinstall", "preuninstall", "postuninstall"]
    assert "%" not in told  # a macro that nobody defined
    assert "preset clatnm.service" in told
    assert "try-restart clatnm.service" in told
    # It is off until a user enables it.
    assert "preset --global" not in told
    assert ask(rpms["clatnm-networkd"], "--scripts") == []


# What is in them


def installed_by_make(root: Path) -> set[str]:
    subprocess.run(
        [str(REPOSITORY / "tools/install.sh"), "files"],
        env={"PATH": PATH, "DESTDIR": str(root), "PREFIX": "/usr"},
        check=True,
        timeout=60,
    )
    found = {f"/{path.relative_to(root)}" for path in root.rglob("*") if not path.is_dir()}
    # Where rpm is at home there is SELinux.
    return {path for path in found if "/apparmor" not in path}


def test_they_have_what_make_installs_and_no_more(tmp_path: Path, rpms: Mapping[str, Path]) -> None:
    by_make = {f"{file}.gz" if "/man/" in file else file for file in installed_by_make(tmp_path)}
    packed: dict[str, str] = {}
    for name in NAMES:
        for path, (mode, _, flags) in files_of(rpms[name]).items():
            if not stat.S_ISDIR(int(mode, 8)) and "g" not in flags:
                packed[path] = name
    around = {path for path in packed if not path.startswith((SITE, "/usr/share/doc/"))}
    assert around == by_make | {"/usr/bin/clatnm"}
    assert {path for path in around if packed[path] == "clatnm-networkd"} == {
        "/usr/lib/systemd/network/10-clatnm.network",
        "/usr/share/clatnm/networkd-dispatcher-clatnm",
        "/usr/share/clatnm/networkd-mode.conf",
        "/usr/share/clatnm/networkd-prefix.conf",
    }
    assert f"{SITE}/clatnm/bpf/clat.json" in packed


def test_everything_is_roots_and_nobody_else_writes_it(rpms: Mapping[str, Path]) -> None:
    for name in NAMES:
        for path, (mode, owner, _) in files_of(rpms[name]).items():
            assert (path, owner) == (path, "root:root")
            assert (path, int(mode, 8) & 0o7022) == (path, 0)
    files = files_of(rpms["clatnm"])
    assert {path for path, (mode, *_) in files.items() if int(mode, 8) & 0o111 and stat.S_ISREG(int(mode, 8))} == {
        "/usr/bin/clatnm",
        "/usr/lib/NetworkManager/dispatcher.d/90-clatnm",
    }


def test_configuration_is_kept_and_state_belongs_to_the_package(rpms: Mapping[str, Path]) -> None:
    files = files_of(rpms["clatnm"])
    assert {path for path, (*_, flags) in files.items() if "c" in flags} == {"/etc/clatnm/clatnm.conf"}
    assert "n" in files["/etc/clatnm/clatnm.conf"][2]
    assert {path for path, (*_, flags) in files.items() if "g" in flags} == {
        "/run/clatnm",
        "/var/lib/clatnm",
        "/var/lib/clatnm/secret",
    }


# What becomes of a machine

# What other packages of a Fedora have there: it stays when clatnm goes.
OF_OTHERS = (
    f"{SITE}/README.txt",
    *("/usr/lib/NetworkManager/conf.d/10-other.conf", "/usr/lib/NetworkManager/dispatcher.d/10-other"),
    *("/usr/lib/systemd/catalog/other.catalog", "/usr/lib/systemd/network/10-other.network"),
    *("/usr/lib/systemd/system-preset/10-other.preset", "/usr/lib/systemd/user/other.service"),
    *("/usr/lib/sysusers.d/other.conf", "/usr/lib/tmpfiles.d/other.conf", "/usr/lib/udev/rules.d/10-other.rules"),
    *("/usr/share/bash-completion/completions/other", "/usr/share/fish/vendor_completions.d/other.fish"),
    *("/usr/share/zsh/site-functions/_other", "/usr/share/dbus-1/system.d/other.conf"),
    *("/usr/share/polkit-1/actions/other.policy", "/usr/share/doc/other/README"),
    *("/usr/share/man/man5/other.5.gz", "/usr/share/man/man8/other.8.gz"),
    *("/etc/systemd/system/multi-user.target.wants/other.service", "/var/lib/rpm/other"),
)
AS_THE_SERVICE_LEAVES_IT = """
cd "$1" && install -d -m 700 var/lib/clatnm && install -d run/clatnm && umask 077 && echo secret >var/lib/clatnm/secret
"""
ENABLED = "etc/systemd/system/multi-user.target.wants/clatnm.service"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[ScratchRoot]:
    reason = missing({"rpm": "rpm", "unshare": "util-linux"}) or trees.why_not("trixie")
    if reason:
        pytest.skip(reason)
    scratch = ScratchRoot(trees.tree("trixie"), tmp_path / "scratch")
    script = 'cd "$1" && shift && for file; do mkdir -p ".${file%/*}" && echo other >".$file"; done'
    scratch.run("sh", "-c", script, "sh", str(scratch.path), *OF_OTHERS)
    return scratch


def rpm(root: ScratchRoot, *argv: str | Path, check: bool = True) -> str:
    # Debian's rpm would rather not.
    reluctant = ("--force-debian",) if Path("/etc/debian_version").exists() else ()
    # Nothing in a Debian tree is known to rpm, so nothing that the packages ask for seems to be there.
    alone = ("--root", str(root.path), "--dbpath", "/var/lib/rpm", *(() if "--query" in argv else ("--nodeps",)))
    return root.run("rpm", *reluctant, *alone, *map(str, argv), check=check)


def test_installed_and_erased_it_leaves_nothing(root: ScratchRoot, rpms: Mapping[str, Path]) -> None:
    before = root.entries(without="var/lib/rpm")
    rpm(root, "--install", *(rpms[name] for name in NAMES))
    installed = root.entries(without="var/lib/rpm")
    # The preset of the package has the service enabled; the user's one waits for a user.
    assert ENABLED in installed
    assert [path for path in installed if path.endswith("wants/clatnm-notify.service")] == []
    assert {path: told for path, told in before.items() if installed.get(path) != told} == {}
    root.run("sh", "-c", AS_THE_SERVICE_LEAVES_IT, "sh", str(root.path))
    assert rpm(root, "--verify", *NAMES) == ""
    rpm(root, "--erase", *NAMES)
    after = root.entries(without="var/lib/rpm")
    assert {path: after[path] for path in after.keys() - before.keys()} == {}
    assert {path: told for path, told in before.items() if after.get(path) != told} == {}


def test_installed_program_runs(root: ScratchRoot, rpms: Mapping[str, Path]) -> None:
    """From its own files, with the libraries of these tests; it writes no byte code, for that came along."""
    rpm(root, "--install", rpms["clatnm"])
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    program = f"{root.path}/usr/bin/clatnm"
    assert root.run("head", "-n", "1", program).startswith("#!/usr/bin/python3 ")
    paths = f"PYTHONPATH={root.path}{SITE}:{libraries}"
    before = root.entries(without="var/lib/rpm")
    assert root.run("env", paths, sys.executable, program, "--version") == f"clatnm {__version__}\n"
    where = "import clatnm.bpf; t = clatnm.bpf.table(); print(clatnm.__file__, len(t.programs))"
    told = root.run("env", paths, sys.executable, "-P", "-c", where)
    assert told == f"{root.path}{SITE}/clatnm/__init__.py 4\n"
    assert root.entries(without="var/lib/rpm") == before


def test_packages_know_nothing_of_where_they_were_built(root: ScratchRoot, rpms: Mapping[str, Path]) -> None:
    rpm(root, "--install", *(rpms[name] for name in NAMES))
    places = ["-e", str(REPOSITORY), "-e", "/clatnm-rpm/", "-e", "BUILDROOT"]
    owned = [path for name in NAMES for path in files_of(rpms[name]) if path.startswith(("/usr", "/etc"))]
    # Its own tests and documents may well speak of them.
    found = root.run("grep", "-lsF", "-d", "skip", *places, *(f"{root.path}{path}" for path in owned), check=False)
    assert found == ""


def test_upgrade_keeps_what_the_administrator_did(
    root: ScratchRoot, tmp_path: Path, rpms: Mapping[str, Path], sources: Path
) -> None:
    newer = build(tmp_path / "newer", sources, "--without", "tests", "--without", "selinux", "--define", "dist .2")
    rpm(root, "--install", *(rpms[name] for name in NAMES))
    own = f"{root.path}/etc/clatnm/clatnm.conf"
    root.run("sh", "-c", f"echo mode = no >>{own} && rm {root.path}/{ENABLED}")
    changed = root.run("cat", own)
    rpm(root, "--upgrade", *(newer[name] for name in NAMES))
    assert rpm(root, "--query", "clatnm") == f"clatnm-{__version__}-1.2.noarch\n"
    assert root.run("cat", own) == changed
    assert ENABLED not in root.entries(without="var/lib/rpm")
    rpm(root, "--erase", *NAMES)
    assert root.run("cat", f"{own}.rpmsave") == changed


def test_tests_that_fail_are_the_end_of_the_build(tmp_path: Path, sources: Path) -> None:
    before = set(Path("/var/tmp").iterdir())
    done = subprocess.run(
        [str(BUILD), str(tmp_path / "out"), "--without", "selinux", "--define", "clatnm_tests tests/unit/no_such.py"],
        env={"PATH": PATH, "HOME": str(tmp_path), "SOURCES": str(sources)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "no_such.py" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: rpmbuild failed, as it says above"
    assert not (tmp_path / "out").exists()
    assert [path for path in set(Path("/var/tmp").iterdir()) - before if path.name.startswith("rpm-tmp")] == []


def test_without_a_tarball_the_error_names_the_command(tmp_path: Path) -> None:
    need("rpmbuild", "rpm")
    environment = {"PATH": PATH, "HOME": str(tmp_path), "SOURCES": str(tmp_path)}
    done = subprocess.run([str(BUILD)], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: no clatnm-*.tar.xz in {tmp_path} (make dist)\n"
