# SPDX-License-Identifier: GPL-2.0-or-later
"""AppArmor's profile: the parser takes it, and it says what the unit says. `make test-machines` has it enforced."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import pytest

from clatnm.dbus import names
from clatnm.firewall import firewalld
from clatnm.kernel import tun
from clatnm.uplinks import networkd_objects, nm_objects
from tests.packaging import unit_file
from tests.unit.programs import need

PROFILE = unit_file.REPOSITORY / "packaging/apparmor/clatnm"
PARSER = ("apparmor_parser", "apparmor")
FEATURES = Path("/etc/apparmor.d/abi")

# What a kernel without patches does not look into, by the files that the parser brings for it.
_NOT_ENFORCED = re.compile(r"(dbus|ptrace|signal|extended network unix socket|network) rules not enforced$")

READ = (
    "/etc/clatnm/clatnm.conf",
    "/etc/clatnm/connections.d/eth0.conf",
    "/etc/resolv.conf",
    "/etc/systemd/network/10-lan.network.d/clatnm.conf",
    "/proc/1234/fd/",
    "/proc/1234/task/1234/net/tcp6",
    "/proc/sys/net/ipv4/ip_forward",
    "/run/systemd/resolve/resolv.conf",
    "/usr/bin/clatnm",
    "/usr/lib/python3/dist-packages/clatnm/bpf/clat.json",
    "/usr/lib/python3/dist-packages/clatnm/templates/tayga.conf.j2",
    # as `make install` has it
    "/usr/local/lib/clatnm/bin/clatnm",
    "/usr/local/lib/clatnm/lib/python3.12/site-packages/clatnm/bpf/clat.json",
    "/usr/local/lib/clatnm/pyvenv.cfg",
)
WRITTEN = ("/dev/net/tun", "/run/clatnm/metrics.sock", "/run/systemd/notify", "/var/lib/clatnm/secret")
UNREADABLE = (
    "/dev/mem",
    "/dev/sda",
    "/etc/shadow",
    "/home/somebody/x",
    "/root/.ssh/id_rsa",
    "/var/lib/NetworkManager/x",
)
UNWRITABLE = (
    *("/etc/clatnm/clatnm.conf", "/etc/resolv.conf", "/etc/systemd/system/x.service", "/etc/systemd/network/x.network"),
    *("/proc/sys/net/ipv4/ip_forward", "/sys/class/net/eth0/mtu", "/usr/bin/clatnm", "/usr/lib/python3/x.py"),
    *("/var/lib/clatnmx", "/run/clatnmx"),
)


def _parsed(*options: str, profile: Path = PROFILE) -> subprocess.CompletedProcess[str]:
    """The parser as it is where AppArmor is not in the kernel: everything but loading."""
    argv = [need(*PARSER), "--skip-kernel-load", "--skip-cache", *options, str(profile)]
    return subprocess.run(argv, check=False, text=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("features", ["3.0", "kernel-5.4-outoftree-network"])
def test_parser_takes_it_without_a_warning(features: str) -> None:
    need(*PARSER)
    known = str(FEATURES / features)
    told = _parsed("--warn=all", "--Werror", "--kernel-features", known, "--policy-features", known)
    # The other line is about this machine's kernel.
    warnings = [line for line in told.stderr.splitlines() if not line.startswith("Cache read/write disabled")]
    assert (told.returncode, warnings) == (0, []), told


def test_kernel_without_patches_takes_it_and_enforces_files_and_capabilities() -> None:
    need(*PARSER)
    known = str(FEATURES / "kernel-5.4-vanilla")
    told = _parsed("--warn=all", "--kernel-features", known, "--policy-features", known)
    warnings = [line for line in told.stderr.splitlines() if line.startswith("Warning")]
    assert told.returncode == 0 and warnings, told
    assert all(_NOT_ENFORCED.search(line) for line in warnings), warnings


def test_mistake_is_no_profile(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(PROFILE.read_text().replace("capability kill,", "capability killing,"))
    assert _parsed("--quiet", profile=wrong).returncode != 0


def test_unit_names_it_and_no_file_leads_into_it() -> None:
    """What users call is bounded by nothing but themselves."""
    assert unit_file.settings("AppArmorProfile") == ["-clatnm"]
    assert _parsed("--names").stdout.split() == ["clatnm"]
    (head,) = re.findall(r"^profile .*\{$", PROFILE.read_text(), re.MULTILINE)
    assert "/" not in head, head


def test_capabilities_are_those_of_the_unit() -> None:
    assert set(re.findall(r"^  capability (\w+),$", PROFILE.read_text(), re.MULTILINE)) == unit_file.capabilities()


def test_address_families_are_those_of_the_unit() -> None:
    assert set(re.findall(r"^  network (\w+)\b.*,$", PROFILE.read_text(), re.MULTILINE)) == unit_file.families()


def test_what_is_written_is_what_the_unit_lets_it_write() -> None:
    """Our own rules; a bus, a journal and a service manager are spoken to."""
    ours = re.findall(r"^  (@?[/{]\S*) (?:[a-z]*w[a-z]*),$", PROFILE.read_text(), re.MULTILINE)
    directories = {path.removesuffix("/{,**}").replace("@{run}", "/run") for path in ours if path.endswith("/{,**}")}
    temporary = "/{,var/}tmp"
    assert directories == unit_file.writable() | {temporary}
    assert unit_file.temporary() == {temporary.replace("{,var/}", part) for part in ("", "var/")}
    others = {tun.DEVICE, "@{run}/systemd/notify", "@{run}/xtables.lock"}
    assert {path for path in ours if not path.endswith("/{,**}")} == others


def test_objects_on_the_bus_are_those_that_are_used() -> None:
    rules = re.findall(r"^  dbus \(send, receive\) bus=system path=(/\w+(?:/\w+)*)", PROFILE.read_text(), re.MULTILINE)
    used = {names.OBJECT_PATH, names.DBUS_PATH, names.POLKIT_PATH, names.LOGIN1_PATH, firewalld.PATH}
    assert set(rules) == used | {nm_objects.NM_PATH, nm_objects.ROOT_PATH, networkd_objects.NETWORKD_PATH}


def test_systemd_is_not_asked_to_start_anything() -> None:
    """Not even a scope: who may ask for that may ask for everything."""
    assert f"  deny dbus send bus=system path={names.SYSTEMD1_PATH},\n" in PROFILE.read_text()


@pytest.mark.parametrize("path", READ)
def test_may_read(path: str) -> None:
    assert "r" in _permissions(path)


@pytest.mark.parametrize("path", WRITTEN)
def test_may_write(path: str) -> None:
    assert "w" in _permissions(path)


@pytest.mark.parametrize("path", UNREADABLE)
def test_may_not_read(path: str) -> None:
    assert "r" not in _permissions(path)


@pytest.mark.parametrize("path", UNWRITABLE)
def test_may_not_write(path: str) -> None:
    assert not {"w", "a"} & _permissions(path)


def test_programs_keep_its_rights() -> None:
    """`i`: nothing is run with other rights than these, and nothing but what the system brings and its own scripts."""
    kinds = {(allowed, deny) for deny, _, allowed in _rules() if "x" in allowed}
    assert kinds and all("ix" in allowed and not {"u", "p", "c", "U", "P", "C"} & set(allowed) for allowed, _ in kinds)
    for path in ("/usr/bin/python3.11", "/usr/sbin/tayga", "/etc/clatnm/up", "/usr/local/sbin/up", "/bin/sh"):
        assert "x" in _permissions(path), path
    for path in ("/tmp/up", "/home/somebody/up", "/var/lib/clatnm/up", "/run/clatnm/up", "/srv/up"):
        assert "x" not in _permissions(path), path


def _permissions(path: str) -> set[str]:
    """The letters of all rules that match a path, those of `deny` taken away."""
    found = {"": set[str](), "deny ": set[str]()}
    for deny, pattern, allowed in _rules():
        if re.fullmatch(pattern, path):
            found[deny] |= set(allowed)
    return found[""] - found["deny "]


@functools.lru_cache(maxsize=1)
def _rules() -> list[tuple[str, str, str]]:
    """(`deny ` or nothing, regular expression, permissions) of each rule about files, abstractions included."""
    told = _parsed("--preprocess")
    assert told.returncode == 0, told.stderr
    rule = re.compile(r"^\s*(?:owner\s+)?(deny |)\s*((?:/|@\{)\S*|\{\S*)\s+([rwamlkixupcUPC]+),", re.MULTILINE)
    found = [(deny, _expression(glob), allowed) for deny, glob, allowed in rule.findall(told.stdout)]
    assert len(found) > 50, "the rules were not read"
    return found


def _expression(glob: str) -> str:
    """A pattern of apparmor.d(5) as a regular expression. Variables stand for what they have on a plain system."""
    known = {"run": "/run", "PROC": "/proc", "sys": "/sys", "etc_ro": "/{usr/,}etc", "pid": "[0-9]*", "tid": "[0-9]*"}
    for _ in range(3):
        glob = re.sub(r"@\{(\w+)\}", lambda found: known.get(found[1], "*"), glob)
    parts = re.findall(r"\*\*|\*|\?|\[[^]]*\]|\{|\}|,|\\?.", glob)
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    return "".join(words.get(part, part if part.startswith("[") else re.escape(part.lstrip("\\"))) for part in parts)
