# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd-networkd on the lab's host, in NetworkManager's place: the one of the host's system root."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.lab.host import Host
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.session import LabError
from tests.lab.system import REPOSITORY
from tests.lab.topology import UPLINKS

PROGRAM = "/usr/lib/systemd/systemd-networkd"
FILES = "/run/systemd/network"  # shared by both views of the host, as NetworkManager's files are not
SNIPPET = REPOSITORY / "networkd/10-clatnm.network"
NAME = "org.freedesktop.network1"
PROPERTY = "systemd-networkd"
"""What tests call its version in what `--junitxml` writes."""
_BUS = "org.freedesktop.DBus"
_NAME_HAS_OWNER = (_BUS, "/org/freedesktop/DBus", _BUS, "NameHasOwner")
# What a profile may have that a .network file has, too.
_TRANSLATED = frozenset({"connection.autoconnect", "ipv4.method", "ipv6.method", "ipv6.addr-gen-mode"})
_DHCP = {"auto": "ipv4", "disabled": "no"}
PLAIN = """\
[Match]
Name={interface}
[Network]
DHCP={dhcp}
IPv6AcceptRA=yes
LinkLocalAddressing=ipv6
"""


class Networkd:
    """Context manager: inside, networkd runs and NetworkManager does not. Links without a file are unmanaged."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._service: Service | None = None
        self._profiles: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> Networkd:
        self._host.nm_stop()
        self._clear_links()
        self._host.path(FILES).mkdir(parents=True)
        self._host.path(f"{FILES}/{SNIPPET.name}").write_text(SNIPPET.read_text())
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._host.run("rm", "-r", "/run/systemd")
        self._clear_links()

    @staticmethod
    def missing(host: Host) -> str | None:
        """Why it cannot run here."""
        return None if host.system_path(PROGRAM).exists() else "needs systemd-networkd (package systemd)"

    @property
    def version(self) -> int:
        """252, 257, …"""
        return int(self.networkctl("--version").stdout.split()[1])

    def start(self) -> None:
        """Start it and wait until it has its name on the bus."""
        self._service = self._host._spawn(
            "networkd",
            self._host._in_root("env", "SYSTEMD_LOG_LEVEL=info", "SYSTEMD_LOG_TARGET=console", PROGRAM),
        )
        eventually(self._answers, message="systemd-networkd answers")

    def stop(self) -> int:
        """SIGTERM; addresses and routes stay in the kernel. Returns the exit status."""
        service, self._service = self._service, None
        return service.stop(timeout_s=10) if service else 0

    def manage(self, interface: str = "up0", *, dhcp: str = "no", extra: str = "") -> Path:
        """Write a .network file for an uplink and apply it; `extra` is put at its end."""
        path = self.write(f"20-{interface}.network", PLAIN.format(interface=interface, dhcp=dhcp) + extra)
        self.reload()
        return path

    def add_profile(self, name: str, interface: str, settings: Mapping[str, object]) -> None:
        """What `System.add_profile` is for NetworkManager; a skip where a setting is NetworkManager's alone."""
        others = sorted(settings.keys() - _TRANSLATED)
        method = settings["ipv4.method"]
        if others or method not in _DHCP or settings["ipv6.method"] != "auto":
            pytest.skip(f"systemd-networkd has no {', '.join(others) or 'such method'} of NetworkManager's")
        self._profiles[name] = PLAIN.format(interface=interface, dhcp=_DHCP[str(method)]), interface

    def up(self, name: str) -> None:
        """Apply it and wait until there is IPv6."""
        text, interface = self._profiles[name]
        self.write(f"{name}.network", text)
        self.reload()
        eventually(lambda: self._host.has_ipv6(interface), timeout_s=30, message=f"IPv6 on {interface}")

    def down(self, name: str) -> None:
        """Give the link up."""
        self._host.path(f"{FILES}/{name}.network").unlink()
        self.reload()

    def write(self, name: str, text: str) -> Path:
        """Write a file below networkd's directory (`20-up0.network.d/off.conf`); it counts after `reload`."""
        path = self._host.path(f"{FILES}/{name}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def reload(self) -> None:
        """Let it read its files again."""
        self.networkctl("reload")

    def reconfigure(self, interface: str = "up0") -> None:
        """Have it take a link's configuration away and make it anew."""
        self.networkctl("reconfigure", interface)

    def wait_configured(self, interface: str = "up0") -> None:
        """Wait until it has done all that there is to do on a link, and routers have answered."""

        def configured() -> bool:
            told = self.describe(interface)
            return (told["AdministrativeState"], told["OperationalState"]) == ("configured", "routable")

        eventually(configured, timeout_s=30, message=f"systemd-networkd has configured {interface}")

    def networkctl(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self._host._run(self._host._in_root("networkctl", *argv))

    def describe(self, interface: str = "up0") -> dict[str, Any]:
        """All that it tells of a link."""
        told: dict[str, Any] = json.loads(self.networkctl("--json=short", "status", interface).stdout)
        found: dict[str, Any] = told["Interfaces"][0] if "Interfaces" in told else told
        return found

    def log(self) -> str:
        return self._host.log("networkd")

    def _answers(self) -> bool:
        if self._service is None or not self._service.running:
            raise LabError(f"systemd-networkd ended:\n{self.log()}")
        return self._host.run("busctl", "call", *_NAME_HAS_OWNER, "s", NAME).stdout == "b true\n"

    def _clear_links(self) -> None:
        # As at boot: networkd has the kernel make a link-local address only when it brings the link up.
        present = {link["ifname"] for link in self._host.ip_json("link")}
        for uplink in present.intersection(UPLINKS):  # a test may have removed one
            self._host.ip("link", "set", uplink, "down")
            self._host.ip("addr", "flush", "dev", uplink)
