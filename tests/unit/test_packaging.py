# SPDX-License-Identifier: GPL-2.0-or-later
"""The files around the code, tried with the programs that read them."""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from clatnm.dbus import names
from clatnm.model import DEVICE_PREFIX
from clatnm.uplinks.networkd_objects import settings_from
from tests.lab.requirements import LAB_TOOLS
from tests.unit.programs import PATH, need

REPOSITORY = Path(__file__).resolve().parents[2]
NM_CONF = REPOSITORY / "nm-dispatcher/90-clatnm.conf"
UNIT = REPOSITORY / "packaging/systemd/clatnm.service"
SPEC = REPOSITORY / "packaging/rpm/clatnm.spec"
CONTROL = REPOSITORY / "packaging/debian/control"
INSTALL = REPOSITORY / "tools/install.sh"
NOBODY = 65534

ALL_DEVICES = f"{DEVICE_PREFIX}*"


# The hooks


@dataclass(frozen=True)
class Hook:
    """One of ours, and how whoever runs it tells it of an interface."""

    path: Path
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    def told(self, interface: str, what: str) -> tuple[list[str], dict[str, str]]:
        words = {"interface": interface, "what": what}
        return [word.format(**words) for word in self.arguments], {
            name: word.format(**words) for name, word in self.environment
        }


NM_HOOK = Hook(REPOSITORY / "nm-dispatcher/90-clatnm", arguments=("{interface}", "{what}"))
NETWORKD_HOOK = Hook(
    REPOSITORY / "networkd/networkd-dispatcher-clatnm", environment=(("IFACE", "{interface}"), ("STATE", "{what}"))
)
each_hook = pytest.mark.parametrize("hook", [NM_HOOK, NETWORKD_HOOK], ids=["NetworkManager", "networkd"])


def run_hook(
    directory: Path, hook: Hook, interface: str, what: str, *, programs: dict[str, str], **more: str
) -> list[str]:
    """Run the hook with only these `programs` to call; what they were called with, once all have ended."""
    arguments, environment = hook.told(interface, what)
    bin_directory, told = directory / "bin", directory / "told"
    bin_directory.mkdir()
    for name in ("timeout", "sleep"):
        (bin_directory / name).symlink_to(need(name, "coreutils"))
    for name, script in programs.items():
        (bin_directory / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "${{0##*/}}" "$@" >{told}\n{script}\n')
        (bin_directory / name).chmod(0o755)
    # Whatever the hook leaves behind in the background still has this pipe: its end is theirs.
    alive, inherited = os.pipe()
    with os.fdopen(alive, "rb") as end:
        done = subprocess.run(
            [str(hook.path), *arguments],
            env={"PATH": str(bin_directory), **environment, **more},
            pass_fds=(inherited,),
            capture_output=True,
            timeout=1.5,
            check=False,
        )
        os.close(inherited)
        end.read()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    return told.read_text().splitlines() if told.exists() else []


@each_hook
def test_hook_pokes_through_busctl(tmp_path: Path, hook: Hook) -> None:
    told = run_hook(tmp_path, hook, "wlan0", "up", programs={"busctl": "exit 0", "dbus-send": "exit 1"})
    assert told[0] == "busctl"
    call = told.index("call")
    assert told[call + 1 :] == [names.BUS_NAME, names.OBJECT_PATH, names.MANAGER_INTERFACE, "Poke", "s", "wlan0 up"]
    assert {"--timeout=2", "--auto-start=no"} <= set(told[:call])


@each_hook
def test_hook_pokes_through_dbus_send_where_busctl_is_missing(tmp_path: Path, hook: Hook) -> None:
    told = run_hook(tmp_path, hook, "wlan0", "up", programs={"dbus-send": "exit 0"})
    assert told[0] == "dbus-send"
    assert told[-3:] == [names.OBJECT_PATH, f"{names.MANAGER_INTERFACE}.Poke", "string:wlan0 up"]


@each_hook
def test_hook_is_silent_about_our_own_devices(tmp_path: Path, hook: Hook) -> None:
    assert run_hook(tmp_path, hook, f"{DEVICE_PREFIX}wlan0", "up", programs={"busctl": "exit 0"}) == []


def test_hook_is_silent_about_what_others_configured(tmp_path: Path) -> None:
    told = run_hook(tmp_path, NM_HOOK, "docker0", "up", programs={"busctl": "exit 0"}, CONNECTION_EXTERNAL="1")
    assert told == []


@pytest.mark.parametrize(
    "programs",
    [{"busctl": "exit 1"}, {}, {"busctl": "exec sleep 60"}],
    ids=["no-daemon", "nothing-to-call", "bus-hangs"],
)
@each_hook
def test_hook_never_fails_and_never_waits(tmp_path: Path, hook: Hook, programs: dict[str, str]) -> None:
    run_hook(tmp_path, hook, "wlan0", "up", programs=programs)


@each_hook
def test_hook_is_a_poke_and_no_more(hook: Hook) -> None:
    lines = [line for line in hook.path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 15
    assert os.access(hook.path, os.X_OK)


# Examples for networkd


@pytest.mark.parametrize("name", ["networkd-mode.conf", "networkd-prefix.conf"])
def test_example_for_networkd_is_read_without_complaint(name: str) -> None:
    text = (REPOSITORY / "networkd" / name).read_text()
    active = re.sub(r"^#(\w+=)", r"\1", text, flags=re.MULTILINE)
    assert active != text or "mode" in name
    for variant in (text, active):
        found = settings_from([(name, variant)])
        assert found.problems == ()
        assert found.mode or found.own


# Whose devices they are


def test_networkmanager_leaves_our_devices_alone(tmp_path: Path) -> None:
    program = need("NetworkManager", "network-manager")
    (tmp_path / "main.conf").write_text("[main]\nplugins=keyfile\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/10-other.conf").write_text("[keyfile]\nunmanaged-devices=interface-name:other0\n")
    shutil.copy(NM_CONF, tmp_path / "conf.d")
    told = subprocess.run(
        [program, f"--config={tmp_path}/main.conf", f"--config-dir={tmp_path}/conf.d", "--print-config"],
        capture_output=True,
        text=True,
        check=True,
    )
    merged = configparser.ConfigParser()
    merged.read_string(told.stdout)
    assert merged["keyfile"]["unmanaged-devices"] == f"interface-name:other0,interface-name:{ALL_DEVICES}"
    assert dict(merged["device-clatnm"]) == {"match-device": f"interface-name:{ALL_DEVICES}", "managed": "0"}


def test_networkd_leaves_our_devices_alone() -> None:
    network = configparser.ConfigParser()
    network.read(REPOSITORY / "networkd/10-clatnm.network")
    assert network["Match"]["Name"] == ALL_DEVICES
    assert network["Link"].getboolean("Unmanaged")


def test_udev_rule_names_our_devices() -> None:
    (rule,) = re.findall(r"^[^#\n].*", (REPOSITORY / "packaging/udev/81-clatnm.rules").read_text(), re.MULTILINE)
    assert {f'KERNEL=="{ALL_DEVICES}"', 'ENV{NM_UNMANAGED}="1"', 'ENV{ID_NET_MANAGED_BY}="org.clatnm1"'} <= set(
        rule.split(", ")
    )


# The service


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on every machine."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/clatnm daemon", "/bin/sh"))
    return copy


def test_service_is_understood_by_systemd(unit: Path) -> None:
    done = subprocess.run(
        [need("systemd-analyze", "systemd"), "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []


def test_service_stays_confined(unit: Path) -> None:
    program = need("systemd-analyze", "systemd")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if int(re.match(r"\d+", version)[0]) < 250:  # type: ignore[index]
        pytest.skip(f"systemd {version} cannot judge a unit offline")
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=30", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "directive", ["CapabilityBoundingSet", "RestrictAddressFamilies", "DevicePolicy", "SystemCallFilter"]
)
def test_service_explains_what_it_keeps(directive: str) -> None:
    lines = UNIT.read_text().splitlines()
    index = next(index for index, line in enumerate(lines) if line.startswith(f"{directive}="))
    assert lines[index - 1].startswith("# ")


# Installing


def install(verb: str, root: Path, prefix: str) -> set[str]:
    """Run tools/install.sh; the files that are there afterwards, as the running system would call them."""
    subprocess.run(
        [str(INSTALL), verb], env={"PATH": PATH, "DESTDIR": str(root), "PREFIX": prefix}, check=True, timeout=60
    )
    return {f"/{path.relative_to(root)}" for path in root.rglob("*") if not path.is_dir()}


def test_installed_files_are_those_in_the_readme(tmp_path: Path) -> None:
    files = {file for file in install("files", tmp_path, "/usr/local") if "/man/" not in file}
    table = re.findall(r"^\| `(/\S+)` \|", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    made_otherwise = {"/usr/local/bin/clatnm", "/var/lib/clatnm/secret"}
    assert files == set(table) - made_otherwise


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local", "/opt/clatnm"])
def test_installed_service_starts_the_installed_program(tmp_path: Path, prefix: str) -> None:
    install("files", tmp_path, prefix)
    (installed,) = tmp_path.rglob("clatnm.service")
    assert f"ExecStart={prefix}/bin/clatnm daemon\n" in installed.read_text()


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_uninstall_leaves_only_the_configuration(tmp_path: Path, prefix: str) -> None:
    assert len(install("files", tmp_path, prefix)) > 1
    assert install("uninstall", tmp_path, prefix) == {"/etc/clatnm/clatnm.conf"}


@pytest.mark.parametrize("destination", ["{place}/", "{relative}"])
def test_slashes_at_the_end_and_relative_directories_are_all_the_same(tmp_path: Path, destination: str) -> None:
    plain, other = tmp_path / "plain", tmp_path / "other"
    wanted = install("files", plain, "/usr")
    named = destination.format(place=other, relative=os.path.relpath(other, REPOSITORY))
    subprocess.run(
        [str(INSTALL), "files"], env={"PATH": PATH, "DESTDIR": named, "PREFIX": "/usr/"}, check=True, timeout=60
    )
    made = [path for path in other.rglob("*") if not path.is_dir()]
    assert {f"/{path.relative_to(other)}" for path in made} == wanted
    assert "ExecStart=/usr/bin/clatnm daemon" in (other / "usr/lib/systemd/system/clatnm.service").read_text()


def test_install_keeps_a_changed_configuration(tmp_path: Path) -> None:
    install("files", tmp_path, "/usr")
    own = tmp_path / "etc/clatnm/clatnm.conf"
    own.write_text("[clatnm]\nmode = no\n")
    install("files", tmp_path, "/usr")
    assert own.read_text() == "[clatnm]\nmode = no\n"


def test_installed_hook_is_what_networkmanager_runs(tmp_path: Path) -> None:
    """It refuses scripts that are not executable or that others may write to."""
    install("files", tmp_path, "/usr")
    mode = (tmp_path / "usr/lib/NetworkManager/dispatcher.d/90-clatnm").stat().st_mode
    assert mode & 0o777 == 0o755


def test_spec_file_lists_what_is_installed(tmp_path: Path) -> None:
    # Where there are rpms, there is SELinux and no AppArmor; its package has nothing of these files.
    files = {file for file in install("files", tmp_path, "/usr") if "/apparmor" not in file} | {"/usr/bin/clatnm"}
    macros = {
        "_bindir": "/usr/bin",
        "_datadir": "/usr/share",
        "_journalcatalogdir": "/usr/lib/systemd/catalog",
        "_mandir": "/usr/share/man",
        "_presetdir": "/usr/lib/systemd/system-preset",
        "_sysconfdir": "/etc",
        "_sysusersdir": "/usr/lib/sysusers.d",
        "_tmpfilesdir": "/usr/lib/tmpfiles.d",
        "_udevrulesdir": "/usr/lib/udev/rules.d",
        "_unitdir": "/usr/lib/systemd/system",
        "_userunitdir": "/usr/lib/systemd/user",
        "_prefix": "/usr",
        "nmlibdir": "/usr/lib/NetworkManager",
    }
    listed = SPEC.read_text().partition("%files")[2].partition("%files selinux")[0]
    patterns = re.findall(r"^(?:%config\(noreplace\) )?(%\{_?\w+\}/\S+)$", listed, re.MULTILINE)
    paths = [re.sub(r"%\{(\w+)\}", lambda macro: macros[macro[1]], pattern) for pattern in patterns]
    assert {file for file in files if not any(fnmatch.fnmatch(file, path) for path in paths)} == set()
    assert [path for path in paths if not fnmatch.filter(files, path)] == []


# The tools


def packages_for(*scopes: str) -> set[str]:
    """Debian's names of what tools/packages.sh installs for these."""
    table = (REPOSITORY / "tools/packages.sh").read_text().partition("table='")[2].partition("'")[0]
    return {row[1] for row in map(str.split, table.splitlines()) if row and row[3] in scopes}


def test_packages_of_the_lab_are_installed_for_the_lab() -> None:
    assert set(LAB_TOOLS.values()) <= packages_for("install", "lab")


def test_who_builds_packages_gets_what_they_are_built_with_and_no_firewalls_and_machines() -> None:
    asked = CONTROL.read_text().partition("Build-Depends:")[2].partition("\nRules-")[0].split(",")
    wanted = {entry.split()[0] for entry in asked if entry.strip() and "<!nocheck>" not in entry}
    part_of = {
        "debhelper-compat": "debhelper",
        "dh-sequence-installsysusers": "debhelper",
        "dh-sequence-python3": "dh-python",
        "linux-libc-dev": "build-essential",
    }
    assert {part_of.get(name, name) for name in wanted} <= packages_for("install", "deb")
    assert {"rpm", "selinux-policy-dev"} <= packages_for("rpm")
    others = packages_for("lab", "test")
    assert {"network-manager", "firewalld", "ufw", "qemu-system-x86", "selinux-policy-default"} <= others
    assert others & packages_for("install", "deb", "rpm") == set()
    for target, scope in {"debs": "deb", "rpms": "rpm"}.items():
        steps = (REPOSITORY / "Makefile").read_text().partition(f"\n{target}:")[2].partition("\n\n")[0]
        assert f"@tools/packages.sh {scope}\n" in steps


@pytest.mark.parametrize("script", sorted((REPOSITORY / "tools").glob("*.sh")), ids=lambda path: path.name)
def test_tool_is_executable_and_names_its_license(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[1] == "# SPDX-License-Identifier: GPL-2.0-or-later"
