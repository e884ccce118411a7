# SPDX-License-Identifier: GPL-2.0-or-later
"""The rpms and their scriptlets where systemd runs: `make test-packages`.

There is no Fedora here. Debian's rpm installs them into a booted Debian that has the libraries, and a Python of that
version that they were built with. What Fedora's file triggers do is done by hand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import clat, flows, streams
from tests.lab import trees
from tests.lab.poll import eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.machines import container
from tests.packaging.booted import Booted
from tests.packaging.debian_tree import DebianTree
from tests.packaging.joined import SERVICE, Joined, Service, command
from tests.packaging.test_rpm import PATH, PYTHON, REPOSITORY, SITE, build
from tests.packaging.variants import MARK, marked

RELEASES = {"python3.11": "bookworm", "python3.13": "trixie"}
LIBRARIES = ("procps", "python3", "python3-dbus-next", "python3-dnspython", "python3-jinja2", "python3-pyroute2")
QUICKLY = ("--without", "tests", "--without", "selinux")
SLOW_S, PART = 0.02, 1 << 18
TRIGGERS = ("systemd-sysusers", "systemd-tmpfiles --create clatnm.conf", "systemctl daemon-reload")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianTree]:
    name = RELEASES.get(PYTHON)
    reason = missing({**LAB_TOOLS, "rpmbuild": "rpm"}) or container.why_not()
    if reason is None:
        reason = trees.why_not(name) if name else f"no release has {PYTHON}"
    if reason or not name:
        pytest.skip(f"{reason}")
    tree = DebianTree(name, tmp_path_factory.mktemp("trees") / name)
    try:
        reason = tree.refresh()
        if reason:
            pytest.skip(reason)
        tree.apt("install", "--no-install-recommends", *LIBRARIES)
        # Where Debian's Python does not look.
        tree.path("/usr/lib/python3/dist-packages/rpm.pth").write_text(f"{SITE}\n")
        yield tree
    finally:
        tree.remove()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what `make dist` makes."""
    place = tmp_path_factory.mktemp("release")
    subprocess.run([sys.executable, str(REPOSITORY / "tools/dist.py"), str(place)], check=True, timeout=120)
    return place


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory, release: Path) -> Path:
    return build(tmp_path_factory.mktemp("older"), release, *QUICKLY)["clatnm"]


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory, release: Path) -> Path:
    """Of a source in which translators are started in another way."""
    place = tmp_path_factory.mktemp("newer")
    (tarball,) = release.glob("clatnm-*.tar.xz")
    shutil.unpack_archive(tarball, place)
    name = tarball.name.removesuffix(".tar.xz")
    marked(place / name / "clatnm")
    shutil.make_archive(str(place / name), "xztar", place, name)
    return build(place / "rpms", place, *QUICKLY, "--define", "dist .2")["clatnm"]


def rpm(system: Booted, *argv: str | Path) -> None:
    """This machine's, on that system's files."""
    alone = ("--force-debian", "--root", str(system.root), "--dbpath", "/var/lib/rpm", "--nodeps")
    done = subprocess.run(
        ["rpm", *alone, *map(str, argv)],
        env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def triggers(system: Booted) -> None:
    for trigger in TRIGGERS:
        system.run(*trigger.split())


def test_connections_outlive_an_upgrade(tree: DebianTree, older: Path, newer: Path) -> None:
    with Booted(tree.root) as system:
        service = Service(system)
        rpm(system, "--install", older)
        triggers(system)
        assert system.ask("systemctl", "is-enabled", SERVICE) == "enabled", "by its preset"
        assert service.state() == "inactive", "which starts nothing"
        rpm(system, "--upgrade", newer)
        assert service.state() == "inactive"
        rpm(system, "--upgrade", "--oldpackage", older)
        system.run("systemctl", "start", SERVICE)
        with Joined(system) as joined:
            translator = clat.translator(joined.host)
            with flows.download(joined.host, clat.INET, pause_s=SLOW_S) as flow:
                with streams.stream(joined.host, clat.INET) as datagrams:
                    joined.upgrade(lambda: rpm(system, "--upgrade", newer))
                    flow.further(PART)
                    datagrams.further()
                    assert (datagrams.lost(), datagrams.refused) == (set(), 0)
                assert clat.translator(joined.host) == translator, "the older one goes on"
                print(f"longest time without data: {flow.longest_s:.3f} s")
                flow.end()
            system.run("systemctl", "stop", SERVICE)
            system.run("systemctl", "start", SERVICE)
            clat.wait_on(service, timeout_s=30.0)
            assert MARK in command(clat.translator(joined.host)), "the newer one's own"
            assert "Traceback" not in service.log()
            rpm(system, "--erase", "clatnm")
            eventually(lambda: service.state() == "inactive", message="erased, it has ended")
            assert "clat-up0" not in clat.devices(joined.host)
        assert system.ask("find", "/", "-xdev", "-name", "*clatnm*", "!", "-path", "/var/lib/rpm/*") == ""
        own = ("find", "/run", "-path", "/run/systemd", "-prune", "-o", "-name", "*clatnm*", "-print")
        assert system.ask(*own) == ""
