# SPDX-License-Identifier: GPL-2.0-or-later
"""sd_notify(3): telling the service manager how we are. Nothing happens outside of systemd."""

from __future__ import annotations

import contextlib
import os
import socket

# A service manager that is too busy to read must not hold us up; what matters is said again.
_KIND = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def watched_every_s() -> float | None:
    """How often the service manager has to hear `WATCHDOG=1`, in seconds; None: it does not watch this process."""
    if os.environ.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None
    try:
        interval_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return interval_s if interval_s > 0 else None


def notify(message: str) -> None:
    """Send `message` (such as `READY=1`) to the socket in NOTIFY_SOCKET, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, _KIND) as sock:
        sock.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
