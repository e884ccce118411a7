# SPDX-License-Identifier: GPL-2.0-or-later
"""Giving way at once: a manager that begins to translate asks nobody, and then there are two translators on a link.

Its CLAT begins with an address of 192.0.0.0/29 (RFC 7335) on the uplink itself; then come a route, some milliseconds
later, and its programs. Whoever hears of that address first takes ours away, and with it every route that has it as its
source. A thread of its own does nothing else: the event loop may be busy for longer than the manager takes.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from clatnm.errors import HostError, ParseError
from clatnm.proto import manager_clat, nlmsg
from clatnm.proto.manager_clat import IFADDRMSG, LOCAL, NEW_ADDRESS

# linux/rtnetlink.h
_RTM_DELADDR, _RTM_GETADDR = 21, 22
_MESSAGE_BYTES: Final = 65536


class Guard:
    """Watches the uplink with index `uplink` until closed; not at all before `protect`. OSError: no netlink socket.

    `tripped` is called from the guard's thread, once.
    """

    def __init__(self, uplink: int, *, tripped: Callable[[], None]) -> None:
        self._uplink = uplink
        self._tell = tripped
        self._farewell = b""
        self.tripped = False
        """The uplink has been given an address of the kind. True from before anything is done about it."""
        with contextlib.ExitStack() as undo:
            self._netlink = undo.enter_context(_netlink(manager_clat.GROUP))
            self._orders = undo.enter_context(_netlink(0))
            self._wake, self._woken = (undo.enter_context(end) for end in socket.socketpair())
            undo.pop_all()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)
        self._thread.start()

    def protect(self, index: int, address: IPv4Address) -> None:
        """From now on: take `address` away from the device with that index, ours, when it is time to give way.

        Whoever gives it the address later than this looks at `tripped` afterwards.
        """
        body = IFADDRMSG.pack(socket.AF_INET, 32, 0, 0, index)
        body += nlmsg.attribute(LOCAL, address.packed)
        self._farewell = nlmsg.message(_RTM_DELADDR, body, flags=nlmsg.REQUEST)
        if self.tripped:
            self._give_way()

    def close(self) -> None:
        """Watch no more. Again is fine."""
        if self._wake.fileno() < 0:
            return
        self._wake.close()
        self._thread.join()
        for end in (self._netlink, self._orders, self._woken):
            end.close()

    def _watch(self) -> None:
        ends = select.poll()
        for end in (self._netlink, self._woken):
            ends.register(end, select.POLLIN)
        # Not this socket's own messages: it was bound before, so that nothing is missed in between.
        with contextlib.suppress(OSError, ParseError):
            self._look(_dump())
        while not self.tripped:
            if any(number == self._woken.fileno() for number, _ in ends.poll()):
                return
            try:
                self._look([self._netlink.recv(_MESSAGE_BYTES)])
            except (OSError, ParseError):  # too many at once: some are lost
                with contextlib.suppress(OSError, ParseError):
                    self._look(_dump())

    def _look(self, received: list[bytes]) -> None:
        every = (told for data in received for told in nlmsg.messages(data))
        if self.tripped or not any(manager_clat.begins(told, self._uplink) for told in every):
            return
        self.tripped = True
        self._give_way()
        self._tell()

    def _give_way(self) -> None:
        if self._farewell:
            # What the kernel says to it does not matter: it is gone, or was never there.
            with contextlib.suppress(OSError):
                self._orders.sendto(self._farewell, (0, 0))


def alarm() -> socket.socket:
    """What is told of such addresses by whoever reads it; for a process that has no way to ask. HostError."""
    try:
        return _netlink(manager_clat.GROUP)
    except OSError as error:
        code = error.errno or 0
        raise HostError(f"cannot watch the uplink: {os.strerror(code)}", errno=code) from error


def _netlink(groups: int) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    netlink.bind((0, groups))
    return netlink


def _dump() -> list[bytes]:
    """The IPv4 addresses that there are, as messages."""
    with _netlink(0) as netlink:
        all_of_them = IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0)
        netlink.sendto(nlmsg.message(_RTM_GETADDR, all_of_them, flags=nlmsg.REQUEST | nlmsg.DUMP), (0, 0))
        received = []
        while True:
            received.append(netlink.recv(_MESSAGE_BYTES))
            if any(told.kind != NEW_ADDRESS for told in nlmsg.messages(received[-1])):  # done, or refused
                return received
