# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -I -m clatnm.worker.enclosure --control-fd N PROGRAM ARGUMENT...`: a program alone in a network of its own.

That network has one TUN device, `DEVICE`, for the program to open, and nothing else: no address, no route, no
forwarding. A packet socket on the device, packets behind a vnet header, is sent over the control socket: whoever holds
it hears what the program writes, and the program reads what is sent there. Then this process gives up every privilege
and becomes the program, which is killed when its parent dies. The network is gone with the program and the socket.

Without CAP_SYS_ADMIN the network belongs to a user namespace, where this process is nobody to everything outside.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Final

from clatnm.errors import HostError
from clatnm.proto import nlmsg
from clatnm.worker import privileges

DEVICE: Final = "tayga"
# As large as can be: the program must never find a packet too big. What fits the uplink is for its sender to know.
MTU_BYTES: Final = 65535

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG: Final = 1

# linux/if_tun.h, asm-generic/ioctl.h and the architectures that number the direction bits otherwise
_IOW: Final = 0x80000000 if os.uname().machine.startswith(("ppc", "mips", "sparc", "alpha")) else 0x40000000
_TUNSETIFF, _TUNSETPERSIST = _IOW | 0x000454CA, _IOW | 0x000454CB
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_SIOCSIFFLAGS, _SIOCSIFMTU = 0x8914, 0x8922
_IFF_UP: Final = 1

_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 15, 23
_ETH_P_ALL: Final = 3
_SO_RCVBUFFORCE, _RECEIVE_BYTES = 33, 4 << 20

# linux/rtnetlink.h, linux/if_link.h
_RTM_SETLINK: Final = 19
_IFLA_AF_SPEC, _IFLA_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE = 26, 8, 1

_FAILED_STATUS, _USAGE_STATUS = 1, 2


def main(arguments: list[str]) -> int:
    """Exit status when it comes to that: 1 after an error told on standard error, 2 for wrong arguments."""
    if len(arguments) < 3 or arguments[0] != "--control-fd" or not arguments[1].isdecimal():
        print("usage: python -I -m clatnm.worker.enclosure --control-fd N PROGRAM ARGUMENT...", file=sys.stderr)
        return _USAGE_STATUS
    control = socket.socket(fileno=int(arguments[1]))
    control.set_inheritable(False)
    program = arguments[2:]
    try:
        _leave_the_network()
        packets = _furnish()
        privileges.drop()
        # After the change of user, which would undo it. Had the parent died before, sending would fail.
        _prctl_pdeathsig()
        socket.send_fds(control, [b"ready"], [packets.fileno()])
        os.execv(program[0], program)  # noqa: S606 - no shell wanted; which program is the supervisor's word
    except HostError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{program[0]}: {error.strerror}", file=sys.stderr)
    return _FAILED_STATUS


def _leave_the_network() -> None:
    """Enter a new network namespace. HostError with a hint."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return
    if ctypes.get_errno() == errno.EPERM and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(privileges.NOBODY, privileges.NOBODY, privileges.NOBODY)
        os.setresuid(privileges.NOBODY, privileges.NOBODY, privileges.NOBODY)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        hint = "see RestrictNamespaces= of the unit and TAYGA in clatnm.conf(5)"
        raise HostError(f"no network namespace to be had: {os.strerror(number)}", errno=number, hint=hint)


def _furnish() -> socket.socket:
    """Make the device, and a packet socket on it. HostError."""
    what = "the TUN device"
    try:
        with Path("/dev/net/tun").open("r+b", buffering=0) as tun:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
            fcntl.ioctl(tun, _TUNSETPERSIST, 1)  # until the network is gone
        what = "its address mode"
        _no_addresses(socket.if_nametoindex(DEVICE))
        what = "the packet socket"
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        fcntl.ioctl(sock, _SIOCSIFMTU, struct.pack("16si20x", DEVICE.encode(), MTU_BYTES))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", DEVICE.encode(), _IFF_UP))
        sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        _enlarge(sock)
        sock.bind((DEVICE, _ETH_P_ALL))
    except OSError as error:
        number = error.errno or 0
        raise HostError(f"{what} in a network namespace: {os.strerror(number)}", errno=number) from None
    return sock


def _no_addresses(index: int) -> None:
    """Keep the kernel from giving the device a link-local address, and with it router solicitations. OSError."""
    mode = nlmsg.attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((_ADDR_GEN_MODE_NONE,)))
    link = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
    link += nlmsg.attribute(_IFLA_AF_SPEC, nlmsg.attribute(socket.AF_INET6, mode))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendall(nlmsg.message(_RTM_SETLINK, link, flags=nlmsg.REQUEST | nlmsg.ACK))
        (answer,) = nlmsg.messages(netlink.recv(4096))
        number = nlmsg.error_code(answer.body)
    if number:
        raise OSError(number, os.strerror(number))


def _enlarge(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)


def _prctl_pdeathsig() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0:
        number = ctypes.get_errno()
        raise HostError(f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}", errno=number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
