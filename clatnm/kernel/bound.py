# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP and TCP that leave by one device, whatever the routing table prefers: a VPN must not answer for the link."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv4Address, IPv6Address

from clatnm.errors import HostError


def connected(
    kind: socket.SocketKind, server: IPv4Address | IPv6Address, port: int, *, interface: str, ifindex: int
) -> socket.socket:
    """A non-blocking socket (SOCK_DGRAM or SOCK_STREAM) of the device `interface`, connected to `server`.

    A TCP connection may still be in the making: writable when it is made or has failed (SO_ERROR). The source port is
    the kernel's choice, at random. A server on this machine itself is reached as any program reaches it. HostError:
    no route on that device (IPv6 only: without one, the kernel looks for IPv4 on the link), no address yet, no device.
    """
    family = socket.AF_INET if server.version == 4 else socket.AF_INET6
    try:
        opened = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    except OSError as failure:
        raise _refused(failure.errno) from failure
    try:
        if not server.is_loopback:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        error = opened.connect_ex(_sockaddr(server, port, ifindex))
    except OSError as failure:
        opened.close()
        raise _refused(failure.errno) from failure
    if error not in (0, errno.EINPROGRESS):
        opened.close()
        raise _refused(error)
    return opened


def _refused(number: int | None) -> HostError:
    return HostError(os.strerror(number or errno.EIO), errno=number or errno.EIO)


def _sockaddr(server: IPv4Address | IPv6Address, port: int, ifindex: int) -> tuple[str | int, ...]:
    if server.version == 4:
        return (str(server), port)
    # RFC 4007 section 6: only a link-local address needs its zone.
    return (str(IPv6Address(int(server))), port, 0, ifindex if server.is_link_local else 0)
