# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces that nobody but the kernel configures, and what clatnm is told about them."""

from __future__ import annotations

import signal

from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.poll import eventually

RESOLV_CONF = "/run/NetworkManager/resolv.conf"  # where the host's /etc/resolv.conf leads


def bring_up(host: Host, interface: str = "up0") -> None:
    """As at boot without any network manager: the kernel makes addresses and routes of what routers say."""
    host.ip("link", "set", interface, "down")
    host.ip("addr", "flush", "dev", interface)
    host.sysctl(**{f"ipv6__conf__{interface}__{key}": 1 for key in ("accept_ra", "autoconf", "accept_ra_defrtr")})
    host.sysctl(**{f"ipv6__conf__{interface}__addr_gen_mode": 0, f"ipv6__conf__{interface}__disable_ipv6": 0})
    host.sysctl(**{f"ipv6__conf__{interface}__accept_dad": 0})
    host.ip("link", "set", interface, "up")


def configure(host: Host, text: str, daemon: Daemon | None = None) -> None:
    """Write clatnm.conf; a daemon that runs reads it again."""
    host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\n{text}\n")
    reread(daemon)


def configure_one(host: Host, interface: str, text: str, daemon: Daemon | None = None) -> None:
    """Write an interface's own file."""
    directory = host.path("/etc/clatnm/connections.d")
    directory.mkdir(exist_ok=True)
    (directory / f"{interface}.conf").write_text(f"[clatnm]\n{text}\n")
    reread(daemon)


def forget_one(host: Host, interface: str, daemon: Daemon | None = None) -> None:
    """Remove an interface's own file."""
    host.path(f"/etc/clatnm/connections.d/{interface}.conf").unlink()
    reread(daemon)


def reread(daemon: Daemon | None) -> None:
    if daemon is not None:
        before = daemon.log().count("configuration read again")
        daemon.signal(signal.SIGHUP)
        eventually(lambda: daemon.log().count("configuration read again") > before, message="it is read")


def followed(daemon: Daemon) -> dict[str, str]:
    """Interface → who manages it."""
    return {item["interface"]: item["manager"] for item in daemon.status()["connections"]}
