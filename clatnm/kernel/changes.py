# SPDX-License-Identifier: GPL-2.0-or-later
"""When did the kernel's links, addresses, routes or rules change? rtnetlink's multicast groups, in the event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable

# linux/rtnetlink.h
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
# rtnetlink(7) multicast groups as the bits of sockaddr_nl.nl_groups
# LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE
_GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
RULE_GROUPS = 0x80
# Whoever wants everything without a default route has routes to halves, quarters or eighths of it.
_SHORT_BITS = 4


class Monitor:
    """Calls `changed` (in the event loop) whenever a link, an address, a default route or a rule changed.

    `groups`: what of that, as the bits of sockaddr_nl.nl_groups.
    """

    def __init__(self, changed: Callable[[], None], *, groups: int = _GROUPS) -> None:
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, groups))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        relevant = False
        while True:
            try:
                relevant |= _matters(self._socket.recv(65536))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                relevant = True  # some were lost: then look again
        if relevant:
            self._changed()


def _matters(data: bytes) -> bool:
    """True unless every message is about a route to less than a sixteenth of the Internet; those can be many."""
    offset = 0
    while offset + 18 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], sys.byteorder)
        kind = int.from_bytes(data[offset + 4 : offset + 6], sys.byteorder)
        # struct rtmsg: family, destination length, …
        if kind not in (_RTM_NEWROUTE, _RTM_DELROUTE) or data[offset + 17] <= _SHORT_BITS:
            return True
        offset += max((length + 3) & ~3, 16)
    return False
