# SPDX-License-Identifier: GPL-2.0-or-later
"""A wire without Ethernet, as a WWAN, PPP or WireGuard link is one: `python wire.py wwan0 isp0 /run/netns/OTHER`.

Two TUN devices, here and in the other network namespace; what is sent into one comes out of the other.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import sys

from clatnm.kernel.tun import open_tun

_NEEDS_CSUM = 1  # the only flag of a vnet header that may be written


def main(near: str, far: str, namespace: str) -> None:
    ends = [open_tun(near).fd]
    ctypes.CDLL(None).setns(os.open(namespace, os.O_RDONLY), 0)
    ends.append(open_tun(far).fd)
    print("ready", flush=True)
    while True:
        for fd in select.select(ends, [], [])[0]:
            data = os.read(fd, 70000)
            with contextlib.suppress(OSError):  # the other end is not up yet
                os.write(ends[fd == ends[0]], bytes((data[0] & _NEEDS_CSUM,)) + data[1:])


if __name__ == "__main__":
    main(*sys.argv[1:])
