# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's session in the host of the lab: a session bus, an X server without a screen, and dunst for notifications."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.host import Host
from tests.lab.namespace import PYTHON, SYSTEM_PATH
from tests.lab.poll import eventually
from tests.lab.process import Service

USER = 65534
TOOLS = {"dunst": "dunst", "Xvfb": "xvfb", "dbus-daemon": "dbus-daemon", "busctl": "systemd", "setpriv": "util-linux"}

_DIRECTORY = f"/run/user-{USER}"
_ADDRESS = f"unix:path={_DIRECTORY}/bus"
# What is shown stays until somebody takes it away.
_CONFIG = "\n".join(f"[urgency_{urgency}]\ntimeout = 0" for urgency in ("low", "normal", "critical"))
# The tests may be somewhere where only root can read, as in /root.
_AS_USER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
)
_CLATNM = "import sys; sys.modules['{other}'] = None; from clatnm.cli.main import entry; entry()"
_CONTROL = ("org.freedesktop.Notifications", "/org/freedesktop/Notifications", "org.dunstproject.cmd0")


@dataclass(frozen=True)
class Shown:
    """A notification, as dunst remembers it."""

    number: int
    program: str
    title: str
    body: str


class Desktop:
    """One user's. Everything runs as that user, and ends with the test."""

    def __init__(self, host: Host, *, markup: bool = True) -> None:
        absent = [package for tool, package in TOOLS.items() if not shutil.which(tool, path=SYSTEM_PATH)]
        if absent:
            pytest.skip(f"needs the packages {', '.join(absent)}")
        self.host = host
        host.run("install", "-d", "-m", "700", "-o", str(USER), "-g", str(USER), _DIRECTORY)
        self._environment = {"XDG_RUNTIME_DIR": _DIRECTORY, "DBUS_SESSION_BUS_ADDRESS": _ADDRESS, "HOME": _DIRECTORY}
        self._popen("session-bus", "dbus-daemon", "--session", f"--address={_ADDRESS}", "--nofork", "--nopidfile")
        eventually(lambda: self._busctl("list"), message="the session bus answers")
        self._environment["DISPLAY"] = f":{self._screen()}"
        host.path(f"{_DIRECTORY}/dunstrc").write_text(f"[global]\nmarkup = {'full' if markup else 'no'}\n{_CONFIG}")
        self.service = self.show()

    def _screen(self) -> int:
        """Start an X server; the number of its display, which it finds by itself."""
        options = ("-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "640x480x24")
        # Its files have names that an X server of this machine may have; clients find it by its abstract socket.
        own = (
            "unshare",
            "-m",
            "sh",
            "-c",
            'mount -t tmpfs tmpfs /tmp && mkdir -m 1777 /tmp/.X11-unix && exec "$@"',
            "sh",
        )
        server = self.host.popen(*own, *_AS_USER, "Xvfb", *options, env=self._environment)
        found = eventually(
            lambda: re.findall(r"^(\d+)$", server.log(), re.MULTILINE), timeout_s=30, message="Xvfb is there"
        )
        return int(found[0])

    def show(self) -> Service:
        """Start dunst, and wait until it answers."""
        service = self._popen("dunst", "dunst", "-conf", f"{_DIRECTORY}/dunstrc")

        def there() -> int:
            return len(self._busctl("call", *_CONTROL[:2], "org.freedesktop.Notifications", "GetServerInformation"))

        eventually(there, message="dunst answers")
        return service

    def clatnm(self, *argv: str, library: str = "dbus_next") -> Service:
        """`clatnm ARGV` in the background, with one of the D-Bus libraries."""
        other = "dbus_fast" if library == "dbus_next" else "dbus_next"
        return self._popen(None, PYTHON, "-c", _CLATNM.format(other=other), *argv)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """`clatnm ARGV` to its end."""
        code = _CLATNM.format(other="dbus_fast")
        return self.host.run(*_AS_USER, PYTHON, "-c", code, *argv, env=self._environment, check=False)

    def has(self, name: str) -> bool:
        """Whether somebody has this name on the session bus."""
        bus = "org.freedesktop.DBus"
        told = self._busctl("--json=short", "call", bus, "/org/freedesktop/DBus", bus, "NameHasOwner", "s", name)
        return bool(json.loads(told)["data"][0])

    def displayed(self) -> int:
        """How many notifications can be seen."""
        told = self._busctl("--json=short", "get-property", *_CONTROL, "displayedLength")
        return int(json.loads(told)["data"])

    def close_all(self) -> list[Shown]:
        """Take away what can be seen; everything that has ever been taken away, the newest first."""
        self._busctl("call", *_CONTROL, "NotificationCloseAll")
        told = json.loads(self._busctl("--json=short", "call", *_CONTROL, "NotificationListHistory"))
        return [_shown(item) for item in told["data"][0]]

    def _popen(self, name: str | None, *argv: str) -> Service:
        if name is not None:
            self.host.session.log_path(name).unlink(missing_ok=True)
        return self.host.popen(*_AS_USER, *argv, name=name, env=self._environment)

    def _busctl(self, *argv: str) -> str:
        command = (*_AS_USER, "busctl", f"--address={_ADDRESS}", "--auto-start=no", *argv)
        return self.host.run(*command, env=self._environment).stdout


def _shown(item: dict[str, Any]) -> Shown:
    value = {key: variant["data"] for key, variant in item.items()}
    return Shown(number=value["id"], program=value["appname"], title=value["summary"], body=value["body"])
