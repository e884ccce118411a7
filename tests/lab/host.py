# SPDX-License-Identifier: GPL-2.0-or-later
"""The host of the lab: a laptop with two uplinks and a real NetworkManager, where clatnm runs."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from tests.lab import snapshot, topology
from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.session import Session
from tests.lab.system import VENV_BIN, System
from tests.lab.topology import UPLINKS

CLATNM_DIRECTORIES = ("/etc/clatnm", "/run/clatnm", "/var/lib/clatnm")
START_PLUGS: Mapping[str, str | None] = {"up0": "a", "up1": None}
NM_DISCONNECTED = 30


class Host(System):
    """`plug` its uplinks, run `clatnm` and its `daemon`, compare `snapshot`s."""

    def __init__(self, session: Session, *, switch: Namespace, root: Path = Path("/")) -> None:
        super().__init__(session, root=root)
        self._switch = switch
        self._plugs: dict[str, str | None] = {}
        self._start_sysctls: dict[str, str] = {}
        self.daemons: list[Daemon] = []

    def start(self) -> None:
        """Uplinks, bus and NetworkManager."""
        topology.add_uplinks(self, self._switch, UPLINKS)
        self._start_sysctls = snapshot.sysctls(self)
        self._plug_as_at_start()
        self.bus_start()
        self.nm_start()

    # Cables

    def plug(self, uplink: str, network: str | None, *, silent: bool = False) -> None:
        """Move an uplink's cable into network "a", "b" or "c", or into none: carrier off, move, carrier on.

        `silent`: without a carrier change, like a roam within one Wi-Fi network.
        """
        port = f"p{UPLINKS.index(uplink)}"
        bridge = f"br{network.upper()}" if network else "brOFF"
        self._plugs[uplink] = network
        if not silent:
            self._carrier_off(uplink)
        self._switch.ip("link", "set", port, "master", bridge)
        if network and not silent:
            self._switch.ip("link", "set", port, "up")

    def carrier(self, uplink: str, on: bool) -> None:
        """Pull the plug, or put it back where it was."""
        self._plugs.pop(uplink, None)  # so that a reset puts it in order
        if on:
            self._switch.ip("link", "set", f"p{UPLINKS.index(uplink)}", "up")
        else:
            self._carrier_off(uplink)

    def _carrier_off(self, uplink: str) -> None:
        self._switch.ip("link", "set", f"p{UPLINKS.index(uplink)}", "down")
        # The kernel tells listeners up to a second later, and not at all if the carrier is back by then.
        eventually(
            lambda: self.ip_json("link", "show", uplink)[0]["operstate"] != "UP", message=f"{uplink} lost its carrier"
        )

    def dad(self, enabled: bool) -> None:
        """Duplicate address detection on the uplinks. Without it a profile is up in 0.2 s, with it in 3 s."""
        for uplink in UPLINKS:
            self.sysctl(**{f"ipv6__conf__{uplink}__accept_dad": int(enabled)})

    # clatnm

    def clatnm(
        self, *argv: str, check: bool = True, timeout_s: float = 30.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `clatnm ARGV` of this repository to its end."""
        return self.run(str(VENV_BIN / "clatnm"), *argv, check=check, timeout_s=timeout_s, stdin=stdin)

    def daemon(self, *argv: str, env: Mapping[str, str] | None = None) -> Daemon:
        """Start `clatnm daemon ARGV`. It is not ready yet when this returns: poll `Daemon.status`."""
        name = f"clatnm-{len(self.daemons) + 1}"
        self.session.log_path(name).unlink(missing_ok=True)
        service = self._spawn(name, [*self.enter(), str(VENV_BIN / "clatnm"), "daemon", *argv], env=env)
        daemon = Daemon(service, self.clatnm)
        self.daemons.append(daemon)
        return daemon

    # State

    def snapshot(self) -> snapshot.HostState:
        """Links, addresses, routes, rules, firewall, sysctls, without anything that changes by itself."""
        return snapshot.take(self)

    def addresses(self, iface: str) -> list[IPv4Interface | IPv6Interface]:
        """Global addresses of a device that are ready for use: neither tentative nor deprecated."""
        return [
            ip_interface(f"{item['local']}/{item['prefixlen']}")
            for link in self.ip_json("addr", "show", "dev", iface, "scope", "global")
            for item in link["addr_info"]
            if item and not item.get("tentative") and not item.get("deprecated")
        ]

    def has_ipv6(self, iface: str = "up0") -> bool:
        """Whether the uplink has a usable global IPv6 address and a default route goes there."""
        return any(address.version == 6 for address in self.addresses(iface)) and bool(
            self.ip_json("-6", "route", "show", "default", "dev", iface)
        )

    def reset(self) -> None:
        """Back to the start state: no clatnm, NetworkManager without profiles, up0 in A, nothing left in the kernel."""
        self.stop_services()
        while self.daemons:
            self.daemons.pop().kill()
        self._reset_system()
        self._end_strangers()
        # A connection that has lost its way would be somebody who still uses an address, for minutes.
        self.run("ss", "-Knta", check=False)
        self._sweep()
        self._plug_as_at_start()
        eventually(lambda: self.device_state("up0") == NM_DISCONNECTED, message="up0 is idle again")

    def _plug_as_at_start(self) -> None:
        for uplink, network in START_PLUGS.items():
            if self._plugs.get(uplink, "unknown") != network:
                self.plug(uplink, network)

    def _end_strangers(self) -> None:
        """Whatever a test or a killed daemon left running in the host's network."""
        own = {part.pid for part in (self._holder, self._bus, self._nm) if part}
        for pid in set(self.processes()) - own:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _sweep(self) -> None:
        """Remove what a test or a killed daemon left in the kernel and in clatnm's directories."""
        names = {link["ifname"] for link in self.ip_json("link")}
        for name in names - {"lo", *UPLINKS}:
            self.run("ip", "link", "del", name, check=False)  # it may go this moment with the process that held it
        lost = [uplink for uplink in UPLINKS if uplink not in names]
        topology.add_uplinks(self, self._switch, lost)
        for uplink in UPLINKS:
            self.ip("link", "set", uplink, "mtu", "1500")
            self.run("tc", "qdisc", "del", "dev", uplink, "clsact", check=False)
        for uplink in lost:
            self._plugs.pop(uplink, None)
        self.ip("addr", "flush", "dev", "lo", "scope", "global")
        for family in ("-4", "-6"):
            # A route may go by itself between being listed and being removed, and that ends the flush.
            flush = functools.partial(self.run, "ip", family, "route", "flush", "table", "main")
            eventually(flush, message="no routes")
            extra = {rule["priority"] for rule in self.ip_json(family, "rule")} - {0, 32766, 32767}
            for priority in extra:
                self.ip(family, "rule", "del", "priority", str(priority))
        self.nft("flush ruleset\n")
        for directory in CLATNM_DIRECTORIES:
            self.run("find", directory, "-mindepth", "1", "-delete")
        self._restore_sysctls()

    def _restore_sysctls(self) -> None:
        now = snapshot.sysctls(self)
        changed = [
            f"{name}={value}"
            for name, value in self._start_sysctls.items()
            # The uplinks' own switches are NetworkManager's business, apart from those `dad` or networkd sets.
            if now.get(name, value) != value
            and (".conf.up" not in name or name.endswith((".accept_dad", ".promote_secondaries")))
        ]
        if changed:
            self.run("sysctl", "-qw", *changed)
