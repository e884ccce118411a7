# SPDX-License-Identifier: GPL-2.0-or-later
"""The eBPF programs of one CLAT, as functions from packet to packet (BPF_PROG_TEST_RUN; needs root, no device).

They are compiled from the source as it is, with the entry points for tests: the kernel knows no packet without an
Ethernet header here, while the TUN knows none with one.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.bpf import Table, build, read
from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel.bpf import Loaded
from clatnm.proto.eam import EamTable
from clatnm.proto.nat64 import WELL_KNOWN
from clatnm.translators.mappings import entries, has_prefixes, with_room

DEVICE, UPLINK = 7, 2  # ifindexes; no packet gets there
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
MACS = bytes(12)  # the test run's device has this address
LARGEST_BYTES = 3400  # with headroom and the rest that goes into the one page of a test run

_EGRESS, _INGRESS, _WRITTEN = "device_egress_ethernet", "uplink_ingress_ethernet", "device_ingress_ethernet"
_TEST_RUN = 10
_UNSPEC, _REDIRECT = 0xFFFFFFFF, 7  # TC_ACT_*
_FIELD = re.compile(r"^\s+(\d+) \|   __u32(?:\[(\d+)\])? (\w+)$")
_SK_BUFF = struct.Struct("=164xI8xI12x")  # gso_segs, gso_size


class Kind(enum.Enum):
    """What a hook has done with a packet."""

    TRANSLATED = "translated"  # and on its way
    TO_PROCESS = "to the process"  # untouched
    NOT_OURS = "not ours"  # untouched, on to whoever else is on the hook


@dataclass(frozen=True, slots=True)
class Result:
    """`packet`: what became of a translated one, empty otherwise."""

    kind: Kind
    packet: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clat:
    """What the programs are configured with."""

    clat_v4: IPv4Address
    clat_v6: IPv6Address
    prefix: IPv6Network = WELL_KNOWN
    ipv4_mtu_bytes: int = 1500
    ipv6_mtu_bytes: int = 1500
    well_known_strict: bool = True
    gateway: IPv6Address | None = None
    shared: bool = False
    mappings: EamTable | None = None
    """With some it is an Edge Relay, and the pair is nobody's."""

    def pack(self) -> bytes:
        values: Mapping[str, bytes | int] = {
            "clat_v4": self.clat_v4.packed,
            "clat_v6": self.clat_v6.packed,
            "prefix": self.prefix.network_address.packed,
            "prefix_length": self.prefix.prefixlen,
            "gateway": self.gateway.packed if self.gateway else bytes(16),
            "has_gateway": self.gateway is not None,
            "device": DEVICE,
            "uplink": UPLINK,
            "ipv4_mtu": self.ipv4_mtu_bytes,
            "ipv6_mtu": self.ipv6_mtu_bytes,
            "global_only": self.well_known_strict and self.prefix == WELL_KNOWN,
            "shared": self.shared,
            "relay": self.mappings is not None,
            **dict(zip(("prefixes4", "prefixes6"), has_prefixes(self.mappings or EamTable()), strict=True)),
        }
        size, fields = config_layout()
        assert values.keys() == fields.keys(), "struct config has other fields than the tests know"
        packed = bytearray(size)
        for name, (offset, length) in fields.items():
            value = values[name]
            data = value if isinstance(value, bytes) else struct.pack("=I", value)
            assert len(data) == length, name
            packed[offset : offset + length] = data
        return bytes(packed)


@functools.lru_cache(maxsize=1)
def config_layout() -> tuple[int, dict[str, tuple[int, int]]]:
    """Size of struct config, and offset and size of each field, by the compiler."""
    flags = ("-target", build.TARGETS[sys.byteorder], *build.FLAGS, *build.includes())
    command = ["clang", *flags, "-Xclang", "-fdump-record-layouts", "-c", str(build.SOURCE)]
    told = subprocess.run([*command, "-o", "/dev/null"], capture_output=True, text=True, check=True).stdout
    _, _, record = told.partition("0 | struct config\n")
    fields: dict[str, tuple[int, int]] = {}
    for line in record.splitlines():
        if found := _FIELD.match(line):
            fields[found[3]] = (int(found[1]), 4 * int(found[2] or 1))
        else:
            size = re.search(r"\[sizeof=(\d+)", line)
            assert size is not None, line
            return int(size[1]), fields
    raise AssertionError("clang tells no layout of struct config")


def presentable(packet: bytes, ethertype: bytes) -> bool:
    """Would the kernel make a test run with it? Not without a whole network header, nor beyond a page."""
    return {IPV4: 20, IPV6: 40}.get(ethertype, 1) <= len(packet) <= LARGEST_BYTES


def missing() -> str | None:
    """Why the programs cannot be compiled here; None when they can."""
    return None if shutil.which("clang") else "needs clang (package clang)"


@functools.lru_cache(maxsize=2)
def table(*, flows: bool = False) -> Table:
    """The installed programs and those for tests; without room for flows loading is quicker."""
    elf = build.compile_source()
    installed, tests = read(build.read(elf)), read(build.read(elf, section=build.TESTS))
    assert installed is not None
    assert tests is not None
    maps = dict(installed.maps)
    if not flows:
        maps.update({name: replace(maps[name], max_entries=1) for name in ("flows", "datagrams")})
    return replace(installed, programs={**installed.programs, **tests.programs}, maps=maps)


class TestRun:
    """A program to be run on frames, with all buffers made beforehand: a million runs should not take long."""

    __test__ = False

    def __init__(self, program: int) -> None:
        self._in, self._out = (ctypes.create_string_buffer(4096) for _ in range(2))
        self.took_ns = 0
        """How long the last run took, by the kernel's clock."""
        self._context = ctypes.create_string_buffer(_SK_BUFF.size)
        packed = struct.pack(
            "=IIIIQQIIIIQQ", program, 0, 0, 0, ctypes.addressof(self._in), ctypes.addressof(self._out), 1, 0, 0, 0, 0, 0
        )
        self._attributes = ctypes.create_string_buffer(packed, 128)

    def __call__(self, frame: bytes, *, gso_size: int = 0) -> tuple[int, bytes]:
        """The program's verdict, and the frame as it left it. HostError."""
        ctypes.memmove(self._in, frame, len(frame))
        struct.pack_into("=III", self._attributes, 4, 0, len(frame), len(self._out))
        context = (_SK_BUFF.size, 0, ctypes.addressof(self._context)) if gso_size else (0, 0, 0)
        struct.pack_into("=IIQ", self._attributes, 40, *context)
        if gso_size:
            _SK_BUFF.pack_into(self._context, 0, -(-len(frame) // gso_size), gso_size)
        kernel_bpf.system_call(_TEST_RUN, self._attributes)
        verdict, _, size = struct.unpack_from("=III", self._attributes, 4)
        (self.took_ns,) = struct.unpack_from("=I", self._attributes, 36)
        return verdict, ctypes.string_at(self._out, size)


class Programs:
    """The programs of one CLAT in the kernel. Each method takes an IP packet and what its Ethernet header says."""

    def __init__(self, clat: Clat) -> None:
        found = entries(clat.mappings or EamTable())
        programs = with_room(table(flows=clat.shared), found)
        self.loaded = Loaded(programs, clat.pack(), names=(_EGRESS, _INGRESS, _WRITTEN))
        for name, content in found.items():
            kernel_bpf.fill_map(self.loaded.maps[name], content)
        self.egress, self.ingress, self._written = (
            TestRun(self.loaded.programs[name]) for name in (_EGRESS, _INGRESS, _WRITTEN)
        )

    def close(self) -> None:
        self.loaded.close()

    def from_host(self, packet: bytes, *, ethertype: bytes = IPV4, gso_size: int = 0) -> Result:
        """What the host sends into the device."""
        frame = MACS + ethertype + packet
        return _sent(frame, *self.egress(frame, gso_size=gso_size), declined=Kind.TO_PROCESS)

    def from_process(self, packet: bytes, *, ethertype: bytes) -> Result:
        """What the process writes into the device: IPv6 is sent, and is "translated" here; all else is received."""
        frame = MACS + ethertype + packet
        return _sent(frame, *self._written(frame), declined=Kind.NOT_OURS)

    def from_network(self, packet: bytes, *, ethertype: bytes = IPV6, gso_size: int = 0, macs: bytes = MACS) -> Result:
        """What the uplink receives."""
        frame = macs + ethertype + packet
        verdict, out = self.ingress(frame, gso_size=gso_size)
        if verdict == _REDIRECT and out != frame:
            assert out[:14] == macs + IPV4
            return Result(Kind.TRANSLATED, out[14:])
        assert out == frame, "declined, and changed all the same"
        assert verdict in (_REDIRECT, _UNSPEC), verdict
        return Result(Kind.TO_PROCESS if verdict == _REDIRECT else Kind.NOT_OURS)


def _sent(frame: bytes, verdict: int, out: bytes, *, declined: Kind) -> Result:
    """Whatever is sent has got another Ethernet header, an empty one, in front (`send_out`)."""
    if verdict == _REDIRECT:
        assert out[:28] == bytes(14) + frame[:12] + IPV6
        return Result(Kind.TRANSLATED, out[28:])
    assert verdict == _UNSPEC, verdict
    assert out == frame, "declined, and changed all the same"
    return Result(declined)
