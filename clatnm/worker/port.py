# SPDX-License-Identifier: GPL-2.0-or-later
"""The two descriptors as places to send packets to: what the kernel refuses is counted, never fatal.

Unless the device itself is gone: then HostError leaves, for there is nothing to translate for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from clatnm.errors import HostError
from clatnm.worker.counters import Flow, Loss

_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP: Final = 1

_LOSSES: Final = {
    errno.EAGAIN: Loss.BUSY,
    errno.ENOBUFS: Loss.BUSY,
    errno.ENOMEM: Loss.BUSY,
    errno.EINVAL: Loss.REFUSED,
    errno.EMSGSIZE: Loss.REFUSED,
    errno.ENETDOWN: Loss.LINK_DOWN,
    errno.EIO: Loss.LINK_DOWN,
}

Write: TypeAlias = "Callable[[bytes | memoryview], int]"


class Port:
    """One non-blocking descriptor. `down`: the kernel said that its device is not up, and nobody has looked since."""

    def __init__(self, fd: int, write: Write, *, name: str, gone: frozenset[int], hint: str) -> None:
        self.fd = fd
        self.write = write
        self.down = False
        self._name = name
        self._gone = gone
        self._hint = hint

    def send(self, data: bytes, flow: Flow) -> bool:
        """One packet behind its vnet and link-layer headers; False when it was lost, and then counted in `flow`."""
        try:
            self.write(data)
        except OSError as error:
            self.failed(error, flow)
            return False
        return True

    def failed(self, error: OSError, flow: Flow) -> None:
        """Count the packet that sending lost; HostError when the device is gone."""
        flow.drop(self._understood(error))

    def unread(self, error: OSError, flow: Flow) -> None:
        """Take in why reading returned no packet; HostError when the device is gone."""
        if isinstance(error, BlockingIOError):
            return
        loss = self._understood(error)
        if loss is not Loss.LINK_DOWN:  # news, not a packet
            flow.drop(loss)

    def _understood(self, error: OSError) -> Loss:
        number = error.errno or 0
        if number in self._gone:
            raise self.lost(number)
        self.down = self.down or number == errno.ENETDOWN
        return _LOSSES.get(number, Loss.FAILED)

    def lost(self, number: int) -> HostError:
        return HostError(f"{self._name} is gone: {os.strerror(number)}", errno=number, hint=self._hint)


def tun_port(fd: int) -> Port:
    """The IPv4 side."""
    return Port(
        fd,
        lambda data: os.write(fd, data),
        name="the TUN device",
        gone=frozenset((errno.EBADFD, errno.EBADF, errno.ENODEV, errno.ENXIO)),
        hint="somebody deleted it; it belongs to the translator",
    )


class UplinkPort(Port):
    """The IPv6 side: a packet socket."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        super().__init__(
            sock.fileno(),
            sock.send,
            name=f"uplink {name}",
            gone=frozenset((errno.ENODEV, errno.ENXIO, errno.EBADF)),
            hint="the device was removed or moved to another network namespace",
        )
        self._sock = sock

    def look_again(self) -> None:
        """Is the device that was down up again? HostError when it is gone.

        The socket tells only once that its device went down, before the device is removed, so somebody must ask.
        """
        name = self._sock.getsockname()[0]
        if not name:
            raise self.lost(errno.ENODEV)
        try:
            answer = fcntl.ioctl(self._sock, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
        except OSError:
            return  # removed or renamed this very moment: next time
        self.down = not struct.unpack_from("16xH", answer)[0] & _IFF_UP
