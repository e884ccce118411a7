# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel and our programs: who may load them, what a refusal says, and that nothing is left of one."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clatnm.bpf import MapDefinition, Program, Relocation, Table
from clatnm.errors import HostError
from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel.bpf import Loaded
from tests.bpf.packets import VECTORS_CLAT
from tests.bpf.programs import missing, table

pytestmark = [pytest.mark.root, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = VECTORS_CLAT.pack()
INSTALLED = ("device_egress", "device_ingress", "uplink_ingress_ethernet", "uplink_ingress_plain")

EXIT = struct.pack("=BBhi", 0x95, 0, 0, 0)
ZERO = struct.pack("=BBhi", 0xB7, 0, 0, 0)  # r0 = 0
READ_R5 = struct.pack("=BBhi", 0xBF, 0x50 if sys.byteorder == "little" else 0x05, 0, 0)  # r0 = r5, never set


def with_program(code: bytes, *relocations: Relocation) -> Table:
    return replace(table(), programs={**table().programs, "small": Program(code=code, relocations=relocations)})


def descriptors() -> dict[str, str]:
    """Every open one but that of the directory itself."""
    links = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            links[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return {name: link for name, link in links.items() if not link.startswith("/proc/")}


def test_all_programs_load_and_nothing_stays_open() -> None:
    before = descriptors()
    loaded = Loaded(table(), CONFIG, names=INSTALLED)
    assert len(descriptors()) == len(before) + len(INSTALLED) + len(table().maps) + 1
    loaded.close()
    loaded.close()
    assert descriptors() == before


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: (with_program(READ_R5 + EXIT), CONFIG), id="program"),
        pytest.param(
            lambda: (
                replace(
                    with_program(ZERO + EXIT),
                    maps={
                        **table().maps,
                        "wrong": MapDefinition(kind=2, key_size=3, value_size=8, max_entries=1, flags=0),
                    },
                ),
                CONFIG,
            ),
            id="map",
        ),
        pytest.param(lambda: (with_program(ZERO + EXIT), b""), id="config"),
    ],
)
def test_refusal_leaves_nothing_open(build: Callable[[], tuple[Table, bytes]]) -> None:
    """Whichever comes last: what was made before it is let go of."""
    made, config = build()
    before = descriptors()
    with pytest.raises(HostError):
        Loaded(made, config, names=(*INSTALLED, "small"))
    assert descriptors() == before


def test_refusal_tells_the_program_and_what_the_verifier_says() -> None:
    with pytest.raises(HostError) as caught:
        Loaded(with_program(READ_R5 + EXIT), CONFIG, names=("small",))
    told = str(caught.value)
    assert caught.value.errno == errno.EACCES
    assert told.startswith("the kernel refuses the program small: ")
    assert "R5 !read_ok" in told
    assert "processed" not in told
    assert "\n" not in told
    assert len(told) < 500


def test_refusal_for_want_of_a_capability_says_which() -> None:
    answer = with_capabilities("net_admin")
    assert answer.returncode == 3, answer.stderr
    assert "needs CAP_BPF and CAP_NET_ADMIN" in answer.stdout


@pytest.mark.parametrize("capabilities", ["bpf net_admin", "bpf net_admin net_raw"])
def test_programs_load_with_few_capabilities(capabilities: str) -> None:
    """No CAP_PERFMON, no CAP_SYS_ADMIN: what the unit file leaves the daemon is enough."""
    answer = with_capabilities(capabilities)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.split() == sorted(INSTALLED)


LOADER = """
import sys
from clatnm import bpf
from clatnm.errors import HostError
from clatnm.kernel.bpf import Loaded
from clatnm.translators.hooks import config
from tests.unit.bpf.test_bpf_config import PLAN
table = bpf.table()
try:
    for plan in (PLAN, PLAN.__class__(**{**{n: getattr(PLAN, n) for n in PLAN.__slots__}, "shared": True})):
        Loaded(table, config(plan, 1), names=tuple(table.programs)).close()
except HostError as error:
    print(error, error.hint)
    sys.exit(3)
print(*sorted(table.programs))
"""


def with_capabilities(names: str) -> subprocess.CompletedProcess[str]:
    """Load the installed programs as root with no other capabilities than these."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv (package util-linux)")
    kept = ",".join(["-all", *(f"+{name}" for name in names.split())])
    command = [setpriv, "--bounding-set", kept, "--inh-caps", "-all", sys.executable, "-c", LOADER]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_configuration_cannot_be_changed_any_more() -> None:
    loaded = Loaded(table(), CONFIG, names=())
    try:
        with pytest.raises(HostError) as caught:
            kernel_bpf.update_map(loaded.maps[kernel_bpf.CONFIG], bytes(4), bytes(len(CONFIG)))
        assert caught.value.errno == errno.EPERM
        assert kernel_bpf.read_map(loaded.maps[kernel_bpf.CONFIG], bytes(4), len(CONFIG)) == CONFIG
    finally:
        loaded.close()


def test_maps_are_shared_with_the_one_before_and_outlive_it() -> None:
    first = Loaded(table(), CONFIG, names=())
    second = Loaded(table(), replace(VECTORS_CLAT, ipv6_mtu_bytes=1280).pack(), names=(), keep=first)
    key = struct.pack("=I", 0)
    size = 16 * len(os.sched_getaffinity(0)) * 64  # room for more CPUs than there are
    kernel_bpf.update_map(first.maps["counters"], key, struct.pack("=QQ", 5, 500).ljust(size, b"\0"))
    first.close()
    assert struct.unpack_from("=QQ", kernel_bpf.read_map(second.maps["counters"], key, size)) == (5, 500)
    second.close()


def test_locked_memory_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.11 a map beyond RLIMIT_MEMLOCK is EPERM; the second try is after the limit was lifted."""
    tries: list[int] = []
    lifted: list[object] = []
    monkeypatch.setattr("resource.setrlimit", lambda *limit: lifted.append(limit))

    def refused_at_first(number: int, command: int, attributes: object, size: int) -> int:
        tries.append(command)
        ctypes.set_errno(errno.EPERM)
        return -1 if len(tries) == 1 else 99

    monkeypatch.setattr(kernel_bpf, "_LIBC", type("", (), {"syscall": staticmethod(refused_at_first)}))
    definition = MapDefinition(kind=2, key_size=4, value_size=8, max_entries=1, flags=0)
    assert kernel_bpf._create_map(definition) == 99
    assert (len(tries), len(lifted)) == (2, 1)


def test_system_call_of_an_unknown_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(HostError, match="unknown machine pdp11"):
        kernel_bpf.call(0, b"")
