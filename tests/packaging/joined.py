# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted Debian system as a host of the lab: its own NetworkManager has joined network A, which has only IPv6."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e import clat
from tests.lab import poll, topology
from tests.lab.daemon import Daemon
from tests.lab.lab import serve_inet
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.router import Router
from tests.lab.session import Session
from tests.packaging.booted import Booted

SERVICE = "clatnm.service"
PROFILE = "wired"
_UPLINK = topology.UPLINKS[0]
# Debian's udev rules keep NetworkManager away from veth devices.
_NM_CONFIG = f"[main]\nno-auto-default=*\n[device-lab]\nmatch-device=interface-name:{_UPLINK}\nmanaged=1\n"


class _Network(Namespace):
    """The system's own network namespace, under a name of the session's; commands in it are this machine's."""

    def __init__(self, system: Booted, session: Session) -> None:
        self.name, self.netns, self.session = "host", f"{session.prefix}host", session
        self.services = []
        self._popen_count = 0
        subprocess.run(["ip", "netns", "attach", self.netns, str(system.init)], check=True)

    def forget(self) -> None:
        """The name goes, and the namespace stays: the session ends whatever lives in its own."""
        subprocess.run(["ip", "netns", "del", self.netns], check=True)


class Service(Daemon):
    """clatnm as a service of that system."""

    def __init__(self, system: Booted) -> None:
        self._system = system

    def status(self) -> Any:
        return json.loads(self._system.run("clatnm", "status", "--json").stdout)

    @property
    def pid(self) -> int:
        """As the system numbers it; 0: it does not run."""
        return int(self._system.ask("systemctl", "show", "-P", "MainPID", SERVICE))

    def state(self) -> str:
        """`active`, `inactive`, `failed`, …"""
        return self._system.ask("systemctl", "is-active", SERVICE)

    def log(self) -> str:
        return self._system.ask("journalctl", "-b", "-q", "--no-pager", "-o", "cat", "-u", SERVICE)


def command(pid: int) -> str:
    """The command line of a process, as numbered here."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


class Joined:
    """Context manager: there is a CLAT. `host` is the system's network, `service` its clatnm."""

    host: Namespace
    service: Service

    def __init__(self, system: Booted) -> None:
        self._system = system

    def __enter__(self) -> Joined:
        self._session = Session.open()
        poll.diagnoses.append(self._report)
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        poll.diagnoses.remove(self._report)
        if hasattr(self, "_network"):
            self._network.forget()
        self._session.close()

    def upgrade(self, change: Callable[[], object]) -> None:
        """Another version is installed meanwhile: another daemon has the CLAT then."""
        daemon = self.service.pid
        change()
        assert self.service.pid not in (daemon, 0)
        clat.wait_on(self.service, timeout_s=30.0)

    def _build(self) -> None:
        session, system = self._session, self._system
        self.service = Service(system)
        self._network = self.host = _Network(system, session)
        switch, inet = Namespace("sw", session), Namespace("inet", session)
        topology.connect_switch(switch)
        topology.connect_inet(inet)
        router = Router(topology.NETWORKS[0], session)
        topology.connect_router(router, router.network, switch, inet)
        router.start()
        serve_inet(inet)
        system.path("/etc/NetworkManager/conf.d/test.conf").write_text(_NM_CONFIG)
        system.run("systemctl", "restart", "NetworkManager")
        topology.add_uplinks(self.host, switch, (_UPLINK,))
        self.host.sysctl(**{f"ipv6__conf__{_UPLINK}__accept_dad": 0})
        switch.ip("link", "set", "p0", "master", router.network.bridge, "up")
        router.wait_ready()
        eventually(lambda: _UPLINK in system.ask("nmcli", "-g", "DEVICE", "device"), message="NetworkManager sees it")
        system.run("nmcli", "connection", "add", "type", "ethernet", "con-name", PROFILE, "ifname", _UPLINK)
        system.run("nmcli", "connection", "up", PROFILE)
        clat.wait_on(self.service, timeout_s=30.0)
        eventually(lambda: clat.answers(self.host), message="IPv4 works")

    def _report(self) -> str:
        """What to read after a failure."""
        ask = self._system.ask
        parts = {"clatnm": "\n".join(self.service.log().splitlines()[-40:])}
        parts["units"] = ask("systemctl", "list-units", "--all", "--no-pager", "--no-legend", "clat*", "Network*")
        parts |= {" ".join(argv): ask(*argv) for argv in (("ip", "addr"), ("ip", "-6", "route"), ("ip", "route"))}
        return "\n".join(f"--- {title}\n{text}" for title, text in parts.items())
