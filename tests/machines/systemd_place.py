# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as the host of tests/lab's networks: its own NetworkManager or systemd-networkd, and clatnm as a service."""

from __future__ import annotations

import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.lab import poll, topology
from tests.lab.lab import serve_inet
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.router import Router
from tests.lab.session import Session
from tests.machines.clat_service import SERVICE, ClatService
from tests.machines.here import ThisGuest, journal
from tests.machines.inside import systemctl

UPLINK, PORT = "up0", "p0"
PROFILE = "wired"
USER = "somebody"
# Debian's udev rules keep NetworkManager away from veth devices.
NM_CONFIG = f"""\
[main]
no-auto-default=*
[device-lab]
match-device=interface-name:{UPLINK}
managed=1
"""
NETWORKD_CONFIG = f"""\
[Match]
Name={UPLINK}
[Network]
IPv6AcceptRA=yes
[X-Clatnm]
Mode=auto
"""


class Here(ThisGuest):
    """The guest itself."""

    def devices(self) -> set[str]:
        """Names of the network devices."""
        return {str(link["ifname"]) for link in self.ip_json("link")}

    def as_user(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody without rights."""
        return self.run("runuser", "-u", USER, "--", *argv, check=False)


_Place = TypeVar("_Place", bound="Place")


class Place:
    """Context manager: three networks, of which the guest is in A; clatnm does not run yet."""

    here: Here
    switch: Namespace
    inet: Namespace
    routers: Mapping[str, Router]
    clat: ClatService

    def __enter__(self: _Place) -> _Place:
        self.session = Session.open()
        poll.diagnoses.append(self.report)
        try:
            self._build()
        except BaseException:
            self.session.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        poll.diagnoses.remove(self.report)
        self._unbuild()

    def report(self) -> str:
        """What to read after a failure."""
        commands = (["ip", "addr"], ["ip", "-6", "route"], ["ip", "route"], ["nmcli", "device"])
        parts = [("clatnm", journal(SERVICE, lines=40)), ("NetworkManager", journal("NetworkManager", lines=15))]
        parts += [(" ".join(argv), self.here.run(*argv, check=False).stdout) for argv in commands]
        return "\n".join(f"--- {title}\n{text.rstrip()}" for title, text in parts)

    def plug(self, network: str) -> None:
        """Move the cable silently, as if the machine had been carried elsewhere in its sleep."""
        self.switch.ip("link", "set", PORT, "master", f"br{network.upper()}")

    def _build(self) -> None:
        self._make_networks()
        add_user()
        self._join()
        for router in self.routers.values():
            router.wait_ready()
        eventually(lambda: "ready" in self.inet.log("inet"), message="the internet serves")
        eventually(self.has_ipv6, message="IPv6 in A")

    def _unbuild(self) -> None:
        """For the next job of this guest."""
        self.clat.stop()
        self.here.run("nmcli", "connection", "delete", PROFILE, check=False)
        self.session.close()
        eventually(lambda: UPLINK not in self.here.devices(), message=f"{UPLINK} is gone with its other end")

    def _make_networks(self) -> None:
        self.here, self.clat = Here(self.session), ClatService()
        self.switch, self.inet = Namespace("sw", self.session), Namespace("inet", self.session)
        topology.connect_switch(self.switch)
        topology.connect_inet(self.inet)
        self.routers = {network.letter: Router(network, self.session) for network in topology.NETWORKS}
        for router in self.routers.values():
            topology.connect_router(router, router.network, self.switch, self.inet)
            router.start()
        serve_inet(self.inet)

    def _join(self) -> None:
        Path("/etc/NetworkManager/conf.d/test.conf").write_text(NM_CONFIG)
        systemctl("restart", "NetworkManager")
        topology.add_uplinks(self.here, self.switch, (UPLINK,))
        self.plug("a")
        self.switch.ip("link", "set", PORT, "up")
        eventually(lambda: UPLINK in self.here.run("nmcli", "-g", "DEVICE", "device").stdout, message="NetworkManager")
        self.here.run("nmcli", "connection", "add", "type", "ethernet", "con-name", PROFILE, "ifname", UPLINK)
        self.here.run("nmcli", "connection", "up", PROFILE, timeout_s=120.0)

    def has_ipv6(self) -> bool:
        """There is a usable address, and a default route."""
        found = [
            item
            for link in self.here.ip_json("-6", "addr", "show", "dev", UPLINK, "scope", "global")
            for item in link["addr_info"]
            if item and not item.get("tentative") and not item.get("deprecated")
        ]
        return bool(found and self.here.ip_json("-6", "route", "show", "default", "dev", UPLINK))


def add_user() -> None:
    """An ordinary user without a session."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", USER], check=True)
