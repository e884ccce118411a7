# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets of this very process in another network namespace."""

from __future__ import annotations

import contextlib
import ctypes
import socket
from collections.abc import Iterator

from tests.lab.namespace import Namespace
from tests.lab.session import NETNS_DIR

_CLONE_NEWNET = 0x40000000


class Within:
    """A named network namespace in which this very process can open sockets, which stay there."""

    netns: str

    @classmethod
    def of(cls, namespace: Namespace) -> Within:
        """For a namespace that somebody else has made."""
        made = cls()
        made.netns = namespace.netns
        return made

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in this network namespace meanwhile."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as home, open(NETNS_DIR / self.netns) as here:
            _enter(libc, here.fileno())
            try:
                yield
            finally:
                _enter(libc, home.fileno())

    def sock(self, family: int, kind: int, protocol: int = 0, *, timeout_s: float = 3.0) -> socket.socket:
        """A socket of this namespace."""
        with self.inside():
            made = socket.socket(family, kind, protocol)
        made.settimeout(timeout_s)
        return made

    def packets(self, device: str, ethertype: int = 0) -> socket.socket:
        """A packet socket on a device; it hears frames of `ethertype` that come in, 0: it can only send."""
        made = self.sock(socket.AF_PACKET, socket.SOCK_RAW)
        made.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        with self.inside():
            made.bind((device, ethertype))
        return made


def _enter(libc: ctypes.CDLL, fd: int) -> None:
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
