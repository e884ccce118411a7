# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine says about itself in /proc, in /sys and by netlink, to whoever asks."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from clatnm.compat import StrEnum
from clatnm.kernel import tun
from clatnm.kernel.netlink import Netlink, reported
from clatnm.kernel.rtnl import NetlinkError

_PROC = Path("/proc")
_INET6 = Path("/proc/thread-self/net/if_inet6")
_UP = 0x1  # linux/if.h: IFF_UP
_DADFAILED, _TENTATIVE = 0x08, 0x40  # linux/if_addr.h
_NUD_FAILED, _NUD_INCOMPLETE, _NUD_GOOD = 0x20, 0x01, 0xC2  # linux/neighbour.h; good: reachable, no ARP, permanent
_CAPABILITIES = {
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_ADMIN": 21,
    "CAP_BPF": 39,
}


class Neighbour(StrEnum):
    """What the kernel knows of a neighbour."""

    GOOD = "good"
    UNSURE = "unsure"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Own6:
    """An IPv6 address as the kernel lists it, those that others refuse included."""

    address: IPv6Address
    interface: str
    duplicate: bool
    tentative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Way4:
    """By which device, and from which address, a packet would go."""

    interface: str
    source: IPv4Address | None


def has_ipv6() -> bool:
    """The kernel has IPv6 at all."""
    return _INET6.exists()


def own_addresses6() -> tuple[Own6, ...]:
    """All IPv6 addresses, as proc(5) has them: address, index, prefix length, scope, flags, device."""
    with contextlib.suppress(OSError):
        rows = (line.split() for line in _INET6.read_text(encoding="utf-8").splitlines())
        return tuple(_own6(row) for row in rows if len(row) == 6)
    return ()


def _own6(row: list[str]) -> Own6:
    flags = int(row[4], 16)
    return Own6(
        address=IPv6Address(bytes.fromhex(row[0])),
        interface=row[5],
        duplicate=bool(flags & _DADFAILED),
        tentative=bool(flags & _TENTATIVE),
    )


def is_up(interface: str) -> bool | None:
    """Whether somebody has switched the device on; None where that is not known."""
    with contextlib.suppress(OSError, ValueError):
        return bool(int(Path(f"/sys/class/net/{interface}/flags").read_text(encoding="ascii"), 16) & _UP)
    return None


def ipv6_switched_off(interface: str) -> bool:
    """`net.ipv6.conf.INTERFACE.disable_ipv6` is set."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").read_text(encoding="ascii").strip() == "1"
    return False


def forwards4(interface: str) -> bool:
    """IPv4 that comes in there may go on elsewhere: `net.ipv4.conf.INTERFACE.forwarding` is set."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding").read_text(encoding="ascii").strip() == "1"
    return False


def tun_fault() -> str:
    """Why /dev/net/tun cannot be used by anybody; "" if it can."""
    try:
        there = Path(tun.DEVICE).stat()
    except OSError as error:
        return f"{tun.DEVICE}: {os.strerror(error.errno or errno.ENOENT)}"
    return "" if stat.S_ISCHR(there.st_mode) else f"{tun.DEVICE} is no device"


def capabilities(pid: int) -> frozenset[str] | None:
    """Those of `_CAPABILITIES` that a process has; None when it is gone, or hidden."""
    with contextlib.suppress(OSError, ValueError):
        text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^CapEff:\s*([0-9a-f]+)$", text, re.MULTILINE)
        if match:
            bits = int(match[1], 16)
            return frozenset(name for name, number in _CAPABILITIES.items() if bits >> number & 1)
    return None


def daemons() -> tuple[int, ...]:
    """Pids of `clatnm daemon` in this network namespace, as far as the caller can tell namespaces apart."""
    return tuple(sorted(_daemons()))


def _daemons() -> Iterator[int]:
    here = _namespace("self")
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and _is_daemon(entry) and _namespace(entry.name) in (here, None):
            yield int(entry.name)


def _is_daemon(entry: Path) -> bool:
    with contextlib.suppress(OSError):
        words = (entry / "cmdline").read_bytes().split(b"\0")
        # A script has its interpreter before it.
        pairs = itertools.pairwise(words[:4])
        return any(word.rpartition(b"/")[2] == b"clatnm" and verb == b"daemon" for word, verb in pairs)
    return False


def _namespace(pid: str) -> int | None:
    with contextlib.suppress(OSError):
        return (_PROC / pid / "ns/net").stat().st_ino
    return None


def way4(kernel: Netlink, target: IPv4Address) -> Way4 | None:
    """Where the kernel would send a packet of an ordinary program; None: nowhere. HostError."""
    try:
        found = list(kernel.raw.route("get", dst=str(target)))
    except NetlinkError:  # ENETUNREACH and its kin
        return None
    for message in found:
        index, source = message.get_attr("RTA_OIF"), message.get_attr("RTA_PREFSRC")
        with contextlib.suppress(OSError):
            name = socket.if_indextoname(int(index or 0))
            return Way4(interface=name, source=None if source is None else IPv4Address(source))
    return None


def neighbour(kernel: Netlink, index: int, address: IPv6Address) -> Neighbour:
    """What is known of the link-layer address of a neighbour. HostError."""
    with reported("cannot read the neighbours"):
        for entry in kernel.raw.get_neighbours(family=socket.AF_INET6, ifindex=index):
            if (entry["ifindex"], entry.get_attr("NDA_DST")) == (index, str(address)):
                state = int(entry["state"])
                if state & (_NUD_FAILED | _NUD_INCOMPLETE):
                    return Neighbour.FAILED
                return Neighbour.GOOD if state & _NUD_GOOD else Neighbour.UNSURE
    return Neighbour.UNKNOWN
