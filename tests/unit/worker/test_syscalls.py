# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter of a translator process: what it grants, on every machine that it is known for, and in a real process."""

from __future__ import annotations

import errno
import os
import pwd
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from clatnm.worker import privileges, syscalls
from clatnm.worker.syscalls import CALLS, GENERIC, X86_64

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
MACHINES = {"x86_64": X86_64, **GENERIC}
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
PROT_READ, PROT_EXEC = 1, 4
FIONBIO, SIOCGIFNAME, SIOCGIFFLAGS, TIOCSTI = 0x5421, 0x8910, 0x8913, 0x5412

_CONFINED = """
import ctypes, errno, mmap, os, socket, sys
from clatnm.worker import privileges
mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
privileges.drop()
privileges.confine()
attempts = {
    "open a file": lambda: os.open("/dev/null", os.O_RDONLY),
    "make a socket": lambda: socket.socket(socket.AF_UNIX),
    "be two": os.fork,
    "be another program": lambda: os.execv("/bin/true", ["true"]),
    "signal another": lambda: os.kill(1, 0),
    "have memory to execute": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "ask for the status of a path": lambda: os.stat("/"),
    "be somebody else": lambda: os.setuid(os.getuid()),
}
for what, attempt in attempts.items():
    try:
        attempt()
    except OSError as error:
        print(errno.errorcode[error.errno], what)
mine.send(b"it still works")
print(its.recv(64).decode())
"""


def run(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers to a system call: as the kernel runs it (linux/filter.h)."""
    program = [struct.unpack_from("=HBBI", syscalls.program(machine), at) for at in range(0, size(machine), 8)]
    asked = struct.pack(
        "=IIQ6Q", number, MACHINES[machine] if audit is None else audit, 0, *arguments, *[0] * (6 - len(arguments))
    )
    value, at = 0, 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", asked, constant)
        elif code == 0x15:
            at += yes if value == constant else no
        elif code == 0x45:
            at += yes if value & constant else no
        else:
            assert code == 0x06
            return int(constant)


def size(machine: str) -> int:
    return len(syscalls.program(machine))


def number_of(name: str, machine: str) -> int:
    return CALLS[name].x86_64 if machine == "x86_64" else CALLS[name].generic


each_machine = pytest.mark.parametrize("machine", MACHINES)


@each_machine
def test_what_is_listed_is_granted_and_nothing_else(machine: str) -> None:
    numbers = {number_of(name, machine) for name, call in CALLS.items() if not call.only and not call.never}
    bounded = {number_of(name, machine) for name, call in CALLS.items() if call.only or call.never}
    for number in range(600):
        if number not in bounded:
            assert run(machine, number) == (ALLOW if number in numbers else REFUSE), number


@each_machine
def test_drivers_are_asked_three_things_only(machine: str) -> None:
    ioctl = number_of("ioctl", machine)
    for request in (FIONBIO, SIOCGIFNAME, SIOCGIFFLAGS):
        assert run(machine, ioctl, 3, request) == ALLOW, hex(request)
    for request in (0, TIOCSTI, SIOCGIFNAME - 1, SIOCGIFFLAGS + 1):
        assert run(machine, ioctl, 3, request) == REFUSE, hex(request)


@each_machine
@pytest.mark.parametrize("name", ["mmap", "mprotect"])
def test_memory_is_not_to_be_executed(machine: str, name: str) -> None:
    assert run(machine, number_of(name, machine), 0, 4096, PROT_READ) == ALLOW
    assert run(machine, number_of(name, machine), 0, 4096, PROT_READ | PROT_EXEC) == REFUSE


@each_machine
def test_paths_have_no_status(machine: str) -> None:
    newfstatat = number_of("newfstatat", machine)
    assert run(machine, newfstatat, 3, 0, 0, 0x1000) == ALLOW
    assert run(machine, newfstatat, 3, 0, 0, 0) == REFUSE


@each_machine
def test_numbers_of_another_machine_are_refused(machine: str) -> None:
    assert run(machine, number_of("read", machine), audit=0x40000003) == REFUSE  # i386
    assert run(machine, 0x40000000 | number_of("read", machine)) == REFUSE  # x32


def test_unknown_machine_has_no_filter() -> None:
    assert syscalls.program("s390x") == b""


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    header = next((path for path in map(Path, HEADERS[machine]) if path.exists()), None)
    if header is None:
        pytest.skip(f"needs {HEADERS[machine][0]} (package linux-libc-dev)")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    known = {name: int(number) for name, number in found}
    known.setdefault("newfstatat", known.get("fstatat", -1))
    for name in CALLS:
        assert known.get(name, -1) == number_of(name, machine), name


# All that is imported afterwards is, before it is somebody who may not read this Python.
_WITHOUT_SECCOMP = """
import ctypes, errno, mmap, os, socket, struct, sys
from clatnm.worker import privileges, syscalls
privileges.drop()
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, privileges._SYS_SECCOMP), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
text = b"".join(struct.pack("=HBBI", *step) for step in steps)
held = ctypes.create_string_buffer(text, len(text))
libc, zero = ctypes.CDLL(None), ctypes.c_ulong(0)
program = struct.pack("@HP", len(steps), ctypes.addressof(held))
assert libc.prctl(22, ctypes.c_ulong(2), program, zero, zero) == 0
"""


@pytest.mark.parametrize("before", ["", _WITHOUT_SECCOMP], ids=["anywhere", "in-the-service"])
def test_confined_process_works_and_can_do_nothing_else(before: str) -> None:
    """In the service, seccomp(2) itself is refused already."""
    if not syscalls.program(os.uname().machine):
        pytest.skip(f"system calls of {os.uname().machine} are not known")
    repository = str(Path(__file__).resolve().parents[3])
    told = subprocess.run(
        [sys.executable, "-c", before + _CONFINED],
        text=True,
        capture_output=True,
        check=True,
        env={"PYTHONPATH": repository},
    ).stdout.splitlines()
    assert told[-1] == "it still works"
    refused = ["open a file", "make a socket", "be two", "be another program", "signal another"]
    refused += ["have memory to execute", "ask for the status of a path", "be somebody else"]
    assert told[:-1] == [f"EPERM {what}" for what in refused]


def test_translator_is_nobody_where_it_has_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    assert privileges.identity() == (privileges.NOBODY, privileges.NOBODY)


def test_translator_has_the_user_that_the_package_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (Path(__file__).resolve().parents[3] / "packaging/sysusers.d/clatnm.conf").read_text().splitlines()
    (user,) = [line.split()[1] for line in lines if line.startswith("u ")]
    entry = pwd.struct_passwd((user, "*", 321, 654, "", "/", "/usr/sbin/nologin"))
    monkeypatch.setattr(pwd, "getpwnam", {user: entry}.__getitem__)
    assert privileges.identity() == (321, 654)
