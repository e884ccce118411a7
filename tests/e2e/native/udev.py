# SPDX-License-Identifier: GPL-2.0-or-later
"""A real systemd-udevd in the lab's host, with a single rules file."""

from __future__ import annotations

from pathlib import Path

from tests.lab import Host, eventually

PROGRAM = "/lib/systemd/systemd-udevd"
# It sees events of this network namespace's devices, and those of the machine's other hardware, which it must not
# touch: hence a /dev of its own.
_SCRIPT = """\
mount -t tmpfs tmpfs /dev
mknod -m 666 /dev/null c 1 3
mount -t tmpfs tmpfs /usr/lib/udev/rules.d
rm -rf /etc/udev/rules.d /etc/udev/hwdb.d
mkdir -p /etc/udev/rules.d
cp "$1" /etc/udev/rules.d
exec "$2" --resolve-names=never
"""


def start(host: Host, rules: Path) -> None:
    """Let udevd label devices by `rules`, and NetworkManager believe that there is a udev. Until the lab ends."""
    host.popen("unshare", "--mount", "sh", "-euc", _SCRIPT, "udevd", str(rules), PROGRAM, name="udevd")
    eventually(lambda: host.path("/run/udev/control").exists(), message="udevd listens")
    # A /sys that cannot be written to is how NetworkManager knows that there is none.
    host.nm_stop()
    host.run("mount", "-o", "remount,bind,rw", f"{host.session.directory}/root/sys")
    host.run("udevadm", "trigger", "--subsystem-match=net", "--action=add")
    host.run("udevadm", "settle")
    host.nm_start()


def properties(host: Host, device: str) -> dict[str, str]:
    """What udevd knows of a network device; empty before it does."""
    told = host.run("udevadm", "info", "--query=property", f"/sys/class/net/{device}").stdout
    return dict(line.split("=", 1) for line in told.splitlines())
