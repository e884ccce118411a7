# SPDX-License-Identifier: GPL-2.0-or-later
"""bpf(2) without a library: maps, programs, tcx links. All are descriptors and die with their holders."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Callable, Iterable

from clatnm.bpf import MapDefinition, Program, Table
from clatnm.errors import HostError

CONFIG = ".rodata"

# enum bpf_cmd, bpf_map_type, bpf_prog_type, bpf_attach_type of linux/bpf.h
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD, _MAP_FREEZE = 0, 1, 2, 5, 22
_LINK_CREATE, _LINK_UPDATE = 28, 29
_ARRAY, _SCHED_CLS = 2, 3
_F_RDONLY_PROG = 0x80
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 2
_TCX_INGRESS, _TCX_EGRESS = 46, 47
_BEFORE = 1 << 3  # BPF_F_BEFORE, and no other named: first of all

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351, "armv7l": 386, "i686": 357}
_ATTRIBUTE_BYTES = 128
_LOG_BYTES = (1 << 24) - 1  # the most that every kernel allows; a log that does not fit loses its end, which matters
_LOG_LINES, _LOG_TAIL = 3, 400
_STATISTICS = ("processed ", "verification time", "stack depth", "last_idx", "regs=")
_LIBC = ctypes.CDLL(None, use_errno=True)


def call(command: int, attributes: bytes) -> int:
    """bpf(2). HostError with the system call's errno."""
    return system_call(command, ctypes.create_string_buffer(attributes, max(len(attributes), _ATTRIBUTE_BYTES)))


def system_call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2) with attributes that the kernel may write answers into. HostError with the system call's errno."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise HostError(f"bpf: unknown machine {platform.machine()}", errno=errno.ENOSYS)
    result = int(_LIBC.syscall(number, command, attributes, len(attributes)))
    if result < 0:
        code = ctypes.get_errno()
        hint = "needs CAP_BPF and CAP_NET_ADMIN" if code == errno.EPERM else ""
        raise HostError(f"bpf: {os.strerror(code)}", errno=code, hint=hint)
    return result


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _with_memory(make: Callable[[], int]) -> int:
    """Before Linux 5.11 maps and programs count as locked memory, and more than a user's share of it is EPERM."""
    try:
        return make()
    except HostError as error:
        if error.errno != errno.EPERM:
            raise
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError):
            raise error from None
    return make()


def _create_map(definition: MapDefinition) -> int:
    fields = (definition.kind, definition.key_size, definition.value_size, definition.max_entries, definition.flags)
    return _with_memory(lambda: call(_MAP_CREATE, struct.pack("=5I", *fields)))


def update_map(descriptor: int, key: bytes, value: bytes) -> None:
    """Write one entry. HostError."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    call(_MAP_UPDATE, struct.pack("=I4xQQQ", descriptor, _address(key_buffer), _address(value_buffer), 0))


def fill_map(descriptor: int, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Write many entries, all with keys and values of one size. HostError."""
    buffers: tuple[ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char]] | None = None
    for key, value in entries:
        if buffers is None:
            buffers = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
            fields = struct.pack("=I4xQQQ", descriptor, _address(buffers[0]), _address(buffers[1]), 0)
            attributes = ctypes.create_string_buffer(fields, _ATTRIBUTE_BYTES)
        buffers[0].raw, buffers[1].raw = key, value
        system_call(_MAP_UPDATE, attributes)


def read_map(descriptor: int, key: bytes, size: int) -> bytes:
    """Read one entry of `size` bytes (of a per-CPU map: of all CPUs together). HostError."""
    key_buffer, value_buffer = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(size)
    call(_MAP_LOOKUP, struct.pack("=I4xQQQ", descriptor, _address(key_buffer), _address(value_buffer), 0))
    return value_buffer.raw


class Loaded:
    """The programs of a `Table` in the kernel with one configuration. Close it once links hold the programs.

    `counters` and other maps are shared with an earlier `Loaded` when given, so that a new configuration keeps them;
    `fresh` ones are not.
    """

    def __init__(
        self,
        table: Table,
        config: bytes,
        *,
        names: tuple[str, ...],
        keep: Loaded | None = None,
        fresh: frozenset[str] = frozenset(),
    ) -> None:
        """HostError when the kernel refuses; the verifier's last words are in its text."""
        self.maps: dict[str, int] = {}
        self.programs: dict[str, int] = {}
        try:
            for name, definition in table.maps.items():
                known = keep.maps if keep is not None and name not in fresh else {}
                self.maps[name] = os.dup(known[name]) if known else _create_map(definition)
            self.maps[CONFIG] = _frozen(config)
            for name in names:
                self.programs[name] = self._load(name, table.programs[name])
        except BaseException:
            self.close()
            raise

    @classmethod
    def again(cls, maps: dict[str, int]) -> Loaded:
        """What another process has loaded, as far as these descriptors go, which are ours from now on."""
        loaded = cls.__new__(cls)
        loaded.maps, loaded.programs = maps, {}
        return loaded

    def close(self) -> None:
        """Let go of maps and programs; those that links hold live on."""
        for descriptor in (*self.programs.values(), *self.maps.values()):
            os.close(descriptor)
        self.programs.clear()
        self.maps.clear()

    def _load(self, name: str, program: Program) -> int:
        code = bytearray(program.code)
        for relocation in program.relocations:
            at = relocation.instruction * 8
            kind = _PSEUDO_MAP_FD if relocation.offset is None else _PSEUDO_MAP_VALUE
            code[at + 1] = code[at + 1] & 0x0F | kind << 4 if _LITTLE else code[at + 1] & 0xF0 | kind
            struct.pack_into("=i", code, at + 4, self.maps[relocation.map_name])
            struct.pack_into("=i", code, at + 12, relocation.offset or 0)
        try:
            return _with_memory(lambda: _load_program(name, bytes(code), log=None))
        except HostError as error:
            raise HostError(
                f"the kernel refuses the program {name}: {_words(name, bytes(code), error)}",
                errno=error.errno,
                hint=error.hint,
            ) from error


_LITTLE = struct.pack("=H", 1) == struct.pack("<H", 1)


def _words(name: str, code: bytes, error: HostError) -> str:
    """What the verifier objects to. It is asked again, with a log: one too short would fail good programs."""
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        os.close(_load_program(name, code, log=log))
    except HostError:
        lines = log.value.decode(errors="replace").strip().splitlines()
        told = [line.strip() for line in lines if not line.lstrip().startswith(_STATISTICS)]
        return " | ".join(told[-_LOG_LINES:])[-_LOG_TAIL:] or error.what
    return error.what


def _load_program(name: str, code: bytes, *, log: ctypes.Array[ctypes.c_char] | None) -> int:
    instructions, license_text = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    level, size, where = (1, len(log), _address(log)) if log is not None else (0, 0, 0)
    fields = (_SCHED_CLS, len(code) // 8, _address(instructions), _address(license_text), level, size, where)
    return call(_PROG_LOAD, struct.pack("=IIQQIIQII16s", *fields, 0, 0, name[:15].encode()))


def _frozen(config: bytes) -> int:
    """An array of one value that nobody can change any more: to the verifier its content is constant."""
    flags = _F_RDONLY_PROG
    descriptor = _create_map(MapDefinition(kind=_ARRAY, key_size=4, value_size=len(config), max_entries=1, flags=flags))
    try:
        update_map(descriptor, bytes(4), config)
        call(_MAP_FREEZE, struct.pack("=I", descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def attach_tcx(program: int, ifindex: int, *, egress: bool) -> int:
    """A link that runs `program` on a device until it is closed (Linux 6.6). HostError.

    It runs before those that are there: NetworkManager 1.58 leaves programs behind that let none run after them.
    """
    hook = _TCX_EGRESS if egress else _TCX_INGRESS
    return call(_LINK_CREATE, struct.pack("=IIII", program, ifindex, hook, _BEFORE))


def replace_program(link: int, program: int) -> None:
    """Have a link run another program from the next packet on. HostError."""
    call(_LINK_UPDATE, struct.pack("=IIII", link, program, 0, 0))


__all__ = ["CONFIG", "Loaded", "attach_tcx", "fill_map", "read_map", "replace_program", "system_call", "update_map"]
