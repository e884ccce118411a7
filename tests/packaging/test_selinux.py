# SPDX-License-Identifier: GPL-2.0-or-later
"""SELinux's module: it compiles, breaks nothing that the policy around it forbids, and says what the unit says.

The policy around it is Debian's, the reference policy, whose domains and labels have the names of Fedora's. Nothing is
loaded into a kernel here.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.packaging import selinux_build, unit_file
from tests.packaging.selinux_build import MODULE

RULES = Path(__file__).with_name("selinux_rules.py")
DOMAIN = "clatnm_t"
_PYTHON = "/usr/bin/python3"
_LIMIT_S = 120

_TERMINALS = {"console_device_t", "devtty_t", "initrc_devpts_t"}
# All that it may change, by class: its own places, and sockets of those it speaks to.
WRITTEN: Mapping[str, set[str]] = {
    # The first: of its own in /proc.
    "file": {"clatnm_t", "clatnm_tmp_t", "clatnm_tmpfs_t", "clatnm_var_lib_t", "clatnm_var_run_t"},
    # The last: where the first is. The service has a /tmp of its own.
    "dir": {"clatnm_tmp_t", "clatnm_var_lib_t", "clatnm_var_run_t", "tmp_t"},
    "sock_file": {"clatnm_var_run_t", "devlog_t", "init_runtime_t", "setrans_runtime_t", "system_dbusd_runtime_t"},
    # Terminals: of whoever starts a daemon by hand.
    "chr_file": {*_TERMINALS, "null_device_t", "tun_tap_device_t", "zero_device_t"},
    "lnk_file": set(),
    "blk_file": set(),
}
_CHANGES = {
    "write",
    "append",
    "create",
    "unlink",
    "rename",
    "setattr",
    "add_name",
    "remove_name",
    "relabelto",
    "mounton",
}

# What is somebody's secret, or gives whoever has it more than it had: type, class, permission.
FORBIDDEN = (
    ("shadow_t", "file", "read"),
    ("ssh_home_t", "file", "read"),
    ("user_home_t", "file", "read"),
    ("sshd_key_t", "file", "read"),
    ("NetworkManager_etc_rw_t", "file", "read"),
    ("etc_t", "file", "write"),
    ("bin_t", "file", "write"),
    ("lib_t", "file", "write"),
    ("clatnm_etc_t", "file", "write"),
    ("systemd_unit_t", "file", "write"),
    ("net_conf_t", "file", "write"),
    ("sysctl_net_t", "file", "write"),
    ("sysfs_t", "file", "write"),
    ("user_tmp_t", "file", "write"),
    ("iptables_runtime_t", "file", "write"),
    ("memory_device_t", "chr_file", "read"),
    ("fixed_disk_device_t", "blk_file", "read"),
    ("security_t", "security", "load_policy"),
    ("kernel_t", "system", "module_load"),
    ("init_t", "system", "start"),
    ("init_t", "dbus", "send_msg"),
    ("init_t", "unix_stream_socket", "connectto"),
    ("init_t", "process", "ptrace"),
    ("init_t", "process", "signal"),
    ("clatnm_t", "process", "ptrace"),
    ("clatnm_t", "process", "execmem"),
    ("clatnm_t", "process", "dyntransition"),
    ("clatnm_t", "process", "setexec"),
    ("http_port_t", "tcp_socket", "name_connect"),
    ("ssh_port_t", "tcp_socket", "name_bind"),
    ("var_lib_t", "file", "execute"),
    ("clatnm_var_lib_t", "file", "execute"),
    ("clatnm_var_run_t", "file", "execute"),
    ("clatnm_tmp_t", "file", "execute"),
    ("clatnm_tmpfs_t", "file", "execute"),
    # Unless TAYGA is to be used.
    ("clatnm_t", "cap_userns", "sys_admin"),
    ("user_home_t", "file", "execute"),
)
# Address family: what SELinux calls its sockets.
CLASSES = {
    "unix": {"unix_stream_socket", "unix_dgram_socket"},
    "netlink": {"netlink_route_socket", "netlink_generic_socket", "netlink_netfilter_socket"},
    "inet6": {"rawip_socket", "udp_socket", "tcp_socket"},
    "packet": {"packet_socket"},
}
LABELS = (
    ("/etc/clatnm", "clatnm_etc_t"),
    ("/etc/clatnm/static.d/edge.conf", "clatnm_etc_t"),
    ("/var/lib/clatnm", "clatnm_var_lib_t"),
    ("/var/lib/clatnm/secret", "clatnm_var_lib_t"),
    ("/run/clatnm", "clatnm_var_run_t"),
    ("/run/clatnm/metrics.sock", "clatnm_var_run_t"),
    ("/etc/clatnmx", ""),
    ("/usr/bin/clatnm", ""),
)


@dataclass(frozen=True)
class Policy:
    """What the whole policy says of the domain; `allowed` by (type, class)."""

    allowed: Mapping[tuple[str, str], set[str]]
    entered: set[str]
    leads: list[list[str]]
    permissive: list[str]
    types: set[str]
    classes: Mapping[str, set[str]]

    def may(self, kind: str, what: str, how: str) -> bool:
        return how in self.allowed.get((kind, what), set())


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, as `make` makes it."""
    reason = selinux_build.missing()
    if reason:
        pytest.skip(reason)
    return selinux_build.module(tmp_path_factory.mktemp("selinux"))


@pytest.fixture(scope="module")
def policy(compiled: Path) -> Policy:
    """All of Debian's modules with ours. `secilc` refuses what breaks a neverallow of any of them."""
    if _run(_PYTHON, "-c", "import setools").returncode != 0:
        pytest.skip("needs setools for the system's Python (package setools)")
    binary, _ = selinux_build.whole(compiled, compiled.parent)
    told = _run(_PYTHON, str(RULES), str(binary), DOMAIN)
    assert told.returncode == 0, told
    return _read(json.loads(told.stdout))


def test_make_leaves_nothing_but_the_module(compiled: Path) -> None:
    assert (compiled / "clatnm.pp.bz2").stat().st_size > 1000
    assert _run("make", "-C", str(compiled), "clean").returncode == 0
    assert sorted(entry.name for entry in compiled.iterdir()) == sorted(entry.name for entry in MODULE.iterdir())
    assert _run("make", "-C", str(compiled), "SELINUXTYPE=default").returncode == 0


def test_unit_names_the_domain() -> None:
    assert unit_file.settings("SELinuxContext") == [f"-system_u:system_r:{DOMAIN}:s0"]


def test_systemd_alone_enters_it_and_no_file_leads_there(policy: Policy) -> None:
    assert policy.entered == {"init_t"}
    assert not policy.leads


def test_nothing_leaves_it_and_it_is_enforced(policy: Policy) -> None:
    """Scripts and TAYGA keep its rights."""
    assert not {kind for (kind, what), how in policy.allowed.items() if what == "process" and "transition" in how}
    assert DOMAIN not in policy.permissive


def test_capabilities_are_those_of_the_unit(policy: Policy) -> None:
    ours = policy.allowed[DOMAIN, "capability"] | policy.allowed[DOMAIN, "capability2"]
    assert ours == unit_file.capabilities()


def test_sockets_are_those_of_the_units_address_families(policy: Policy) -> None:
    ours = {what for kind, what in policy.allowed if kind == DOMAIN and what.endswith("_socket")}
    assert ours == set().union(*(CLASSES[family] for family in unit_file.families())) | {"tun_socket"}


@pytest.mark.parametrize("what", WRITTEN)
def test_writes_nothing_else(policy: Policy, what: str) -> None:
    changed = {kind for (kind, of), how in policy.allowed.items() if of == what and how & _CHANGES}
    assert changed == WRITTEN[what]


@pytest.mark.parametrize(("kind", "what", "how"), FORBIDDEN)
def test_is_forbidden(policy: Policy, kind: str, what: str, how: str) -> None:
    assert kind in policy.types and how in policy.classes[what], "there is no such thing: nothing is said by this"
    assert not policy.may(kind, what, how)


def test_has_what_it_lives_of(policy: Policy) -> None:
    for kind, what, how in (
        ("tun_tap_device_t", "chr_file", "ioctl"),
        ("system_dbusd_t", "dbus", "acquire_svc"),
        ("NetworkManager_t", "dbus", "send_msg"),
        ("systemd_networkd_t", "dbus", "send_msg"),
        ("firewalld_t", "dbus", "send_msg"),
        ("policykit_t", "dbus", "send_msg"),
        ("systemd_logind_t", "dbus", "send_msg"),
        ("unconfined_t", "dbus", "send_msg"),
        ("init_t", "unix_dgram_socket", "sendto"),
        ("init_runtime_t", "sock_file", "write"),
        ("net_conf_t", "file", "read"),
        ("initrc_t", "dbus", "send_msg"),
        ("systemd_logind_inhibit_runtime_t", "fifo_file", "write"),
        ("init_runtime_t", "dir", "watch"),
        ("iptables_runtime_t", "file", "lock"),
        ("clatnm_etc_t", "file", "execute_no_trans"),
        ("bin_t", "file", "execute_no_trans"),
        (DOMAIN, "bpf", "prog_load"),
    ):
        assert policy.may(kind, what, how), (kind, what, how)


@pytest.mark.parametrize(("path", "label"), LABELS)
def test_files_have_their_labels(path: str, label: str) -> None:
    assert _label(path) == label


def test_places_that_the_unit_has_made_for_it_have_labels() -> None:
    assert all(_label(place) for place in unit_file.writable())


def _label(path: str) -> str:
    """By clatnm.fc; nothing where another module's line counts."""
    lines = re.findall(
        r"^(/\S+)\s+gen_context\(system_u:object_r:(\w+),s0\)$", (MODULE / "clatnm.fc").read_text(), re.M
    )
    assert len(lines) == 3, lines
    return "".join(label for pattern, label in lines if re.fullmatch(pattern, path))


def _read(told: Mapping[str, Any]) -> Policy:
    allowed: dict[tuple[str, str], set[str]] = {}
    for _, targets, what, how in told["allowed"]:
        for kind in targets:
            allowed.setdefault((kind, what), set()).update(how)
    return Policy(
        allowed=allowed,
        entered={entry[0] for entry in told["entered"]},
        leads=told["leads"],
        permissive=told["permissive"],
        types=set(told["types"]),
        classes={what: set(how) for what, how in told["classes"].items()},
    )


def _run(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, text=True, capture_output=True, input=stdin, timeout=_LIMIT_S)
