# SPDX-License-Identifier: GPL-2.0-or-later
"""What a translator process may ask of the kernel once it has begun, as a program for seccomp(2). Pure.

Moving packets between descriptors that are open, memory, time, and its end: no file is opened, no socket is made,
no process is started. What is not listed fails with EPERM, which ends a translator with an error that its supervisor is
told; a kill would end it without a word, and stop no more. The list is what was seen with strace, and what C libraries
do in place of that on other machines and in other versions.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

# linux/audit.h
X86_64: Final = 0xC000003E
GENERIC: Final = {"aarch64": 0xC00000B7, "riscv64": 0xC00000F3, "loongarch64": 0xC0000102}
"""Machines that number system calls as asm-generic/unistd.h does."""

# linux/seccomp.h, linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AND_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_REFUSE: Final = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_GRANT: Final = (_RETURN, 0, 0, _ALLOW)

_PROT_EXEC: Final = 4
_AT_EMPTY_PATH: Final = 0x1000
_FIONBIO, _SIOCGIFNAME, _SIOCGIFFLAGS = 0x5421, 0x8910, 0x8913


class Call(NamedTuple):
    """Its numbers, -1 where there is none. Of one argument, counted from 0: `only` these values, no bit of `never`."""

    x86_64: int
    generic: int
    argument: int = 0
    only: tuple[int, ...] = ()
    never: int = 0


CALLS: Final[Mapping[str, Call]] = {
    # Packets, most of them: kernels before 5.11 go through the list in this order at every call.
    "readv": Call(19, 65),
    "writev": Call(20, 66),
    "read": Call(0, 63),
    "write": Call(1, 64),
    "epoll_wait": Call(232, -1),
    "epoll_pwait": Call(281, 22),
    "sendto": Call(44, 206),
    "recvfrom": Call(45, 207),
    "clock_gettime": Call(228, 113),
    # The control socket, descriptors that come by it, and those that are given away
    "recvmsg": Call(47, 212),
    "sendmsg": Call(46, 211),
    "accept4": Call(288, 242),
    "epoll_create1": Call(291, 20),
    "epoll_ctl": Call(233, 21),
    "poll": Call(7, -1),
    "ppoll": Call(271, 73),
    "getsockname": Call(51, 204),
    "getpeername": Call(52, 205),
    "getsockopt": Call(55, 209),
    "setsockopt": Call(54, 208),
    "shutdown": Call(48, 210),
    "fcntl": Call(72, 25),
    "close": Call(3, 57),
    # os.set_blocking, which name the uplink has now, and whether it is up: nothing else that drivers offer
    "ioctl": Call(16, 29, argument=1, only=(_FIONBIO, _SIOCGIFNAME, _SIOCGIFFLAGS)),
    # A file in memory with mappings; newfstatat, by which some C libraries do fstat, of no path
    "fstat": Call(5, 80),
    "newfstatat": Call(262, 79, argument=3, only=(_AT_EMPTY_PATH,)),
    "lseek": Call(8, 62),
    # Memory, none of it to be executed
    "mmap": Call(9, 222, argument=2, never=_PROT_EXEC),
    "mprotect": Call(10, 226, argument=2, never=_PROT_EXEC),
    "munmap": Call(11, 215),
    "mremap": Call(25, 216),
    "madvise": Call(28, 233),
    "brk": Call(12, 214),
    "futex": Call(202, 98),
    "getrandom": Call(318, 278),
    # Signals and the end
    "rt_sigaction": Call(13, 134),
    "rt_sigprocmask": Call(14, 135),
    "rt_sigreturn": Call(15, 139),
    "sigaltstack": Call(131, 132),
    "restart_syscall": Call(219, 128),
    "getpid": Call(39, 172),
    "gettid": Call(186, 178),
    "exit": Call(60, 93),
    "exit_group": Call(231, 94),
}


def program(machine: str) -> bytes:
    """An array of struct sock_filter for a machine, named as by uname(2), with 64-bit programs; empty: none known."""
    audit = X86_64 if machine == "x86_64" else GENERIC.get(machine)
    if audit is None:
        return b""
    # Numbers mean something else to the other kinds of calls that a machine may know, as 32-bit ones.
    steps = [(_LOAD, 0, 0, _MACHINE_AT), (_EQUAL, 1, 0, audit), _REFUSE, (_LOAD, 0, 0, _NUMBER_AT)]
    for call in CALLS.values():
        number = call.x86_64 if machine == "x86_64" else call.generic
        if number >= 0:
            granted = list(_granted(call))
            steps += [(_EQUAL, 0, len(granted), number), *granted]
    steps.append(_REFUSE)
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _granted(call: Call) -> Iterator[tuple[int, int, int, int]]:
    """Once the number is right; always ends in a return. Both machines keep an argument's lower half first."""
    if call.only or call.never:
        yield (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * call.argument)
    if call.only:
        for index, value in enumerate(call.only):
            yield (_EQUAL, len(call.only) - index, 0, value)
        yield _REFUSE
    elif call.never:
        yield (_AND_SET, 0, 1, call.never)
        yield _REFUSE
    yield _GRANT
