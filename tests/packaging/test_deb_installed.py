# SPDX-License-Identifier: GPL-2.0-or-later
"""`apt install ./clatnm_*.deb` on Debian 12 and 13, and nothing else: there is IPv4 then, and it goes again."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clatnm import __version__
from tests.lab import demo, host, trees
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.packaging import booted, debs
from tests.packaging.debian_tree import DebianTree, changes

pytestmark = [pytest.mark.root, pytest.mark.lab]

RELEASES = {"bookworm": ("1.42.", "python3.11"), "trixie": ("1.52.", "python3.13")}
"""Each with its NetworkManager and its Python."""
SERVICE = "clatnm.service"
USER = "clatnm-translator"
NEWER = f"{__version__}-2"
WANTED = "/etc/systemd/system/multi-user.target.wants/clatnm.service"
CONF = "/etc/clatnm/clatnm.conf"
LEFT_BY_OTHERS = ("+ /etc/hosts", "+ /etc/networks")
"""netbase, which Python depends on, writes them where they are not, and lets them be when it goes."""
# A program of the tree, started where the lab starts the repository's. By exec, so that the daemon has this pid.
_WRAPPER = """#!/bin/sh
exec env -u DBUS_SYSTEM_BUS_ADDRESS PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot {root} /usr/bin/clatnm "$@"
"""


@dataclass
class Installed:
    """The tree with the package, and what it was before."""

    release: str
    tree: DebianTree
    deb: Path
    before: dict[str, str]
    packages_before: frozenset[str]
    others: frozenset[str] = field(default_factory=frozenset)
    """What apt installed beside it."""

    def path(self, name: str) -> Path:
        return self.tree.root / name.lstrip("/")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debs.built(tmp_path_factory)


@pytest.fixture(scope="module", params=list(RELEASES))
def installed(
    request: pytest.FixtureRequest, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    reason = missing(LAB_TOOLS) or trees.why_not(request.param)
    if reason:
        pytest.skip(reason)
    tree = DebianTree(request.param, tmp_path_factory.mktemp("trees") / request.param)
    try:
        reason = tree.refresh()
        if reason:
            pytest.skip(reason)
        deb = debs.package(packages)
        told = Installed(request.param, tree, deb, tree.state(), tree.packages())
        # Nor what is recommended: it has to do without.
        tree.apt("install", "--no-install-recommends", *tree.give(deb))
        told.others = tree.packages() - told.packages_before - {"clatnm"}
        yield told
    finally:
        tree.remove()


def test_it_is_installed_with_packages_of_the_distribution_alone(installed: Installed) -> None:
    told = installed.tree.run("apt-cache", "policy", *sorted(installed.others)).stdout
    tables = told.split("Version table:")[1:]
    assert len(tables) == len(installed.others)
    assert [table for table in tables if " http" not in table and " file:" not in table] == []
    assert {"python3-pyroute2", "python3-dnspython", "python3-jinja2"} <= installed.others
    assert not {"python3-pip", "gcc", "clang", "network-manager"} & installed.others
    assert installed.tree.run("apt-get", "check").returncode == 0


def test_service_is_enabled_and_understood(installed: Installed) -> None:
    assert installed.path(WANTED).is_symlink()
    assert f"{USER}:" in installed.path("/etc/passwd").read_text()
    done = installed.tree.run("systemd-analyze", "verify", "--man=no", SERVICE, check=False)
    assert [line for line in done.stderr.splitlines() if "clatnm" in line] == []


def test_networkmanager_of_that_release_leaves_our_devices_alone(installed: Installed) -> None:
    # It leaves a file there, which is not to stay.
    script = "mount -t tmpfs tmpfs /var/lib/NetworkManager && exec NetworkManager --print-config"
    told = installed.tree.run("sh", "-euc", script).stdout
    assert "unmanaged-devices=interface-name:clat-*" in told


def test_autopkgtest_smoke_passes(installed: Installed) -> None:
    source = installed.path("/tmp/source")
    for name in ("tests/vectors/captures", "packaging/debian/tests"):
        shutil.copytree(debs.REPOSITORY / name, source / name)
    script = "cd /tmp/source && AUTOPKGTEST_TMP=$(mktemp -d) && export AUTOPKGTEST_TMP && packaging/debian/tests/smoke"
    installed.tree.run("sh", "-euc", script)


def test_networkmanager_joins_an_ipv6_only_network_and_gets_ipv4(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, python = RELEASES[installed.release]
    with Lab(root=installed.tree.root) as lab:
        root = lab.directory / "root"
        wrapper = tmp_path / "clatnm"
        wrapper.write_text(_WRAPPER.format(root=shlex.quote(str(root))))
        wrapper.chmod(0o755)
        monkeypatch.setattr(host, "VENV_BIN", tmp_path)
        assert lab.host.nmcli("-g", "VERSION", "general").stdout.startswith(manager)
        assert lab.host.clatnm("--version").stdout == f"clatnm {__version__}\n"
        daemon = lab.host.daemon()
        program = Path(f"/proc/{daemon.pid}/exe")
        eventually(lambda: program.readlink().name == python, message="it runs with that release's Python")
        eventually(daemon.status, message="the daemon answers")
        lab.host.clatnm("set", "--default", "force")
        daemon.stop()
        # What it has written of its own stays for the purge to find.
        for name in ("var/lib/clatnm", "etc/clatnm"):
            shutil.copytree(lab.host.system_path(f"/{name}"), installed.path(name), dirs_exist_ok=True)
        lab.host.clatnm("set", "--default", "auto")
        demo._show(lab)
    assert list(installed.path("/var/lib/clatnm").iterdir())


@pytest.fixture(scope="session")
def newer(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package again as another version, with changes in the program and in its configuration."""
    place = tmp_path_factory.mktemp("newer")
    deb, made = debs.package(packages), place / f"clatnm_{NEWER}_all.deb"
    inside = place / "inside"
    debs.run("dpkg-deb", "-R", str(deb), str(inside))
    control = inside / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {debs.field(deb, 'Version')}\n", f"Version: {NEWER}\n"))
    for name in (CONF, "usr/lib/python3/dist-packages/clatnm/__init__.py"):
        with (inside / name.lstrip("/")).open("a") as file:
            file.write("# newer\n")
    debs.run("dpkg-deb", "--root-owner-group", "-b", str(inside), str(made))
    return made


def test_service_starts_is_restarted_by_an_upgrade_and_ends(installed: Installed, newer: Path) -> None:
    """With that release's systemd as process 1."""
    reason = booted.why_not()
    if reason:
        pytest.skip(reason)
    with booted.Booted(installed.tree.root) as system:
        eventually(lambda: system.run("systemctl", "is-active", SERVICE) == "active", message="it starts at boot")
        first = system.run("systemctl", "show", "-P", "MainPID", SERVICE)
        dpkg = ("dpkg", "--force-unsafe-io", "--force-confold")
        system.run(*dpkg, "--install", system.give(newer))
        assert system.run("systemctl", "is-active", SERVICE) == "active"
        assert system.run("systemctl", "show", "-P", "MainPID", SERVICE) not in (first, "0")
        assert system.run("getent", "passwd", USER)
        system.run(*dpkg, "--purge", "clatnm")
        assert system.run("systemctl", "is-active", SERVICE, check=False) == "inactive"
        for what in ("list-units", "list-unit-files"):
            told = system.run("systemctl", what, "--all", "--no-legend", "clatnm*", check=False)
            assert not [line for line in told.splitlines() if "not-found" not in line], told
        assert system.run("find", "/sys/fs/cgroup", "-name", "*clatnm*") == ""
        assert system.run("find", "/", "-xdev", "-name", "*clatnm*", "!", "-path", "/var/lib/dpkg/*") == ""
        own = ("find", "/run", "-path", "/run/systemd", "-prune", "-o", "-name", "*clatnm*", "-print")
        assert system.run(*own) == ""
        assert system.run("getent", "passwd", USER, check=False) == ""


def test_upgrade_keeps_what_the_administrator_did(installed: Installed, newer: Path) -> None:
    conf, own = installed.path(CONF), installed.path("/etc/clatnm/static.d/own.conf")
    conf.write_text("[clatnm]\nmode = force\n")
    own.write_text("# mine\n")
    installed.tree.run("systemctl", "disable", SERVICE)
    installed.tree.apt("install", *installed.tree.give(newer))
    assert installed.tree.run("dpkg-query", "-W", "-f", "${Version}", "clatnm").stdout == NEWER
    assert conf.read_text() == "[clatnm]\nmode = force\n"
    assert own.read_text() == "# mine\n"
    assert not installed.path(WANTED).exists()
    installed.tree.run("systemctl", "enable", SERVICE)


def test_purge_leaves_nothing(installed: Installed) -> None:
    """Last in this file. What apt brought along goes apart, so that nothing of theirs hides anything of ours."""
    tree = installed.tree
    tree.apt("remove", "clatnm")
    assert installed.path(CONF).exists()
    assert not installed.path("/usr/bin/clatnm").exists()
    tree.apt("purge", "clatnm")
    assert [name for name in tree.state() if "clatnm" in name] == []
    for name in ("passwd", "group", "shadow", "gshadow"):
        assert USER not in installed.path(f"/etc/{name}").read_text()
    # Also what others would like to have, or suggest, as iproute2 does Python.
    tree.apt(
        "autoremove", "--purge", *(f"-oAPT::AutoRemove::{what}Important=false" for what in ("Recommends", "Suggests"))
    )
    assert tree.packages() == installed.packages_before
    assert [line for line in changes(installed.before, tree.state()) if line not in LEFT_BY_OTHERS] == []
