# SPDX-License-Identifier: GPL-2.0-or-later
"""`apt install ./clatnm_*.deb` on Debian 12 and 13, and nothing else: there is IPv4 then, and it goes again."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clatnm import __version__
from tests.e2e import clat, flows, streams
from tests.lab import demo, host, trees
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.lab.topology import UPLINKS
from tests.machines import container
from tests.packaging import booted, debs
from tests.packaging.debian_tree import DebianTree, changes
from tests.packaging.joined import SERVICE, Joined, Service, command
from tests.packaging.variants import CONF, MARK, configuration, language, programs, variant

pytestmark = [pytest.mark.root, pytest.mark.lab]

RELEASES = {"bookworm": ("1.42.", "python3.11"), "trixie": ("1.52.", "python3.13")}
"""Each with its NetworkManager and its Python."""
USER = "clatnm-translator"
NEWER, FOREIGN = f"{__version__}+newer", f"{__version__}+foreign"
"""Upstream versions."""
METRIC = 77
SLOW_S, PART = 0.02, 1 << 18
"""Of a download that goes on during all of it."""
WANTED = "/etc/systemd/system/multi-user.target.wants/clatnm.service"
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
        return self.tree.path(name)


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
    """Another version, with changes in configuration, in how translators are started, and in the eBPF programs."""
    made = tmp_path_factory.mktemp("newer") / "clatnm_newer.deb"
    return variant(debs.package(packages), made, NEWER, configuration, programs)


@pytest.fixture(scope="session")
def foreign(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that cannot adopt translators of any other."""
    made = tmp_path_factory.mktemp("foreign") / "clatnm_foreign.deb"
    return variant(debs.package(packages), made, FOREIGN, language)


@pytest.fixture
def system(installed: Installed) -> Iterator[booted.Booted]:
    """With that release's systemd as process 1; the package was installed before it booted."""
    reason = container.why_not()
    if reason:
        pytest.skip(reason)
    with booted.Booted(installed.tree.root) as system:
        eventually(lambda: Service(system).state() == "active", message="it starts at boot")
        yield system


def test_service_starts_when_installed_and_in_an_upgrade_only_if_it_ran(
    installed: Installed, newer: Path, system: booted.Booted
) -> None:
    service = Service(system)
    older_name, newer_name = system.give(installed.deb, newer)
    system.run("systemctl", "stop", SERVICE)
    system.dpkg("--install", newer_name)
    assert (system.version("clatnm"), service.state()) == (f"{NEWER}-1", "inactive")
    system.run("systemctl", "mask", SERVICE)
    system.dpkg("--install", older_name)
    assert service.state() == "inactive"
    assert system.ask("systemctl", "is-enabled", SERVICE) == "masked", "the administrator has said so"
    system.run("systemctl", "unmask", SERVICE)
    system.run("systemctl", "start", SERVICE)
    system.dpkg("--remove", "clatnm")
    assert service.state() == "inactive"
    system.dpkg("--install", newer_name)
    assert service.state() == "active", "installed again, it is wanted again"


def test_connections_outlive_upgrades(installed: Installed, newer: Path, foreign: Path, system: booted.Booted) -> None:
    older_name, newer_name, foreign_name = system.give(installed.deb, newer, foreign)
    with Joined(system) as joined:
        host, service = joined.host, joined.service
        translator = clat.translator(host)
        with flows.download(host, clat.INET, pause_s=SLOW_S) as flow:
            with streams.stream(host, clat.INET) as datagrams:
                _upgrade(joined, lambda: system.apt("install", newer_name), NEWER)
                flow.further(PART)
                assert clat.translator(host) == translator, "the older one goes on"
                # Another plan: the newer programs in the older translator's hands.
                system.path(CONF).write_text(f"[clatnm]\nmetric = {METRIC}\n")
                system.run("systemctl", "reload", SERVICE)
                eventually(lambda: _translator(service)["metric"] == METRIC, message="another plan")
                flow.further(PART)
                _upgrade(joined, lambda: system.dpkg("--install", older_name), __version__)
                flow.further(PART)
                datagrams.further()
                assert (datagrams.lost(), datagrams.refused) == (set(), 0)
            assert clat.translator(host) == translator
            print(f"longest time without data: {flow.longest_s:.3f} s")
            _upgrade(joined, lambda: system.dpkg("--install", foreign_name), FOREIGN)
            flow.further(PART, timeout_s=20)
            assert clat.translator(host) != translator, "nobody understands it"
            print(f"with another translator: {flow.longest_s:.3f} s")
            flow.end()
        _upgrade(joined, lambda: system.dpkg("--install", newer_name), NEWER)
        assert MARK in command(clat.translator(host)), "the newer version's own"
        assert "Traceback" not in service.log()
        system.dpkg("--purge", "clatnm")
        assert service.state() == "inactive"
        assert f"clat-{UPLINKS[0]}" not in clat.devices(host)
    _nothing_is_left(system)


def _upgrade(joined: Joined, change: Callable[[], object], version: str) -> None:
    joined.upgrade(change)
    assert joined.service.status()["version"] == version


def _translator(service: Service) -> Mapping[str, Any]:
    told: Mapping[str, Any] = clat.connection(service)["translator"]
    return told


def _nothing_is_left(system: booted.Booted) -> None:
    for what in ("list-units", "list-unit-files"):
        told = system.ask("systemctl", what, "--all", "--no-legend", "clat*")
        assert not [line for line in told.splitlines() if "not-found" not in line], told
    assert system.ask("find", "/sys/fs/cgroup", "-name", "*clat*") == ""
    assert system.ask("find", "/", "-xdev", "-name", "*clatnm*", "!", "-path", "/var/lib/dpkg/*") == ""
    assert system.ask("find", "/run", "-path", "/run/systemd", "-prune", "-o", "-name", "*clatnm*", "-print") == ""
    assert system.ask("getent", "passwd", USER) == ""


def test_upgrade_keeps_what_the_administrator_did(installed: Installed, newer: Path) -> None:
    conf, own = installed.path(CONF), installed.path("/etc/clatnm/static.d/own.conf")
    conf.write_text("[clatnm]\nmode = force\n")
    own.write_text("# mine\n")
    installed.tree.run("systemctl", "disable", SERVICE)
    installed.tree.apt("install", *installed.tree.give(newer))
    assert installed.tree.version("clatnm") == f"{NEWER}-1"
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
