# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening a TUN device that lives exactly as long as its descriptor."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from clatnm.errors import HostError

DEVICE: Final = "/dev/net/tun"

# linux/if_tun.h
CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0001, 0x1000, 0x4000, 0x8000

# asm-generic/ioctl.h and the architectures that number the direction bits otherwise
_IOW: Final = 0x80000000 if os.uname().machine.startswith(("ppc", "mips", "sparc", "alpha")) else 0x40000000
_TUNSETIFF: Final = _IOW | 0x000454CA
_TUNSETOFFLOAD: Final = _IOW | 0x000454D0
_IFREQ = struct.Struct("16sH22x")
_NAME_BYTES: Final = 15

# The kernel takes all of a set or nothing: USO exists since Linux 6.2.
_OFFLOADS: Final = (CSUM | TSO4 | TSO6 | TSO_ECN | USO4 | USO6, CSUM | TSO4 | TSO6 | TSO_ECN)

_HINTS: Final = {
    errno.EPERM: "opening a TUN device needs CAP_NET_ADMIN",
    errno.EACCES: f"the service may not open {DEVICE}; see DeviceAllow= of its unit",
    errno.ENOENT: "the kernel module `tun` is missing; try `modprobe tun`",
    errno.ENODEV: "the kernel module `tun` is missing; try `modprobe tun`",
    errno.ENXIO: "the kernel module `tun` is missing; try `modprobe tun`",
    errno.EBUSY: "another program holds a device of this name",
    errno.EINVAL: "a device of this name exists and is no TUN device, or the name is illegal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tun:
    """An open TUN device: packets behind a 10-byte vnet header (IFF_NO_PI | IFF_VNET_HDR), non-blocking.

    Closing `fd`, here and in whatever process it was handed to, removes the device with its addresses and routes.
    `offloads` are the TUN_F_* bits the kernel took, 0 if it segments and checksums everything itself.
    """

    fd: int
    name: str
    offloads: int


def open_tun(name: str, *, large: bool = True) -> Tun:
    """A new device `name` (`clat%d`: the kernel picks the number). HostError with a hint when it cannot be had.

    `large`: take packets of up to 64 KiB, for the kernel to split them later; otherwise it splits them before.
    """
    if not 0 < len(name.encode()) <= _NAME_BYTES:
        raise HostError(f"{name!r} is no device name", errno=errno.EINVAL, hint=f"at most {_NAME_BYTES} bytes")
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(f"cannot open {DEVICE}", error) from None
    try:
        # EXCL: an existing device, a persistent one say, belongs to somebody else
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        given = fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
        return Tun(
            fd=fd, name=given[:16].rstrip(b"\0").decode(), offloads=_set_offloads(fd, _OFFLOADS if large else (CSUM,))
        )
    except OSError as error:
        os.close(fd)
        raise _refused(f"cannot make the TUN device {name}", error) from None


def _set_offloads(fd: int, choice: Iterable[int]) -> int:
    for offloads in choice:
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, offloads)
        except OSError:
            continue
        return offloads
    return 0


def _refused(what: str, error: OSError) -> HostError:
    number = error.errno or 0
    return HostError(f"{what}: {os.strerror(number)}", errno=number, hint=_HINTS.get(number, ""))
