# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet socket for ARP on one link."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from clatnm.errors import HostError

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6


class ArpSocket:
    """Sends and hears ARP messages, without their Ethernet headers, on one link. HostError (CAP_NET_RAW, no device)."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            self._socket.bind((interface, _ETH_P_ARP))
        except OSError as error:
            raise _refused(error) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, message: bytes) -> None:
        """Broadcast one message. HostError."""
        try:
            self._socket.sendto(message, (self._interface, _ETH_P_ARP, 0, 0, _BROADCAST))
        except OSError as error:
            raise _refused(error) from error

    def heard(self) -> Iterator[bytes]:
        """The messages waiting now."""
        while True:
            try:
                yield self._socket.recv(1500)
            except OSError:  # nothing more, or the device went away, which netlink tells
                return


def _refused(error: OSError) -> HostError:
    return HostError(f"ARP: {os.strerror(error.errno or 0)}", errno=error.errno or 0)
