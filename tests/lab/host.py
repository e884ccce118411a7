# SPDX-License-Identifier: GPL-2.0-or-later
"""The host of the lab: a laptop with a real dbus-daemon and NetworkManager, where clatnm runs."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from tests.lab import snapshot
from tests.lab.daemon import Daemon
from tests.lab.namespace import PYTHON, SYSTEM_PATH, Namespace, clean_environment
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.session import LabError, Session
from tests.lab.topology import UPLINKS

REPOSITORY = Path(__file__).resolve().parents[2]
VENV_BIN = Path(PYTHON).parent
NM_SNIPPET = REPOSITORY / "nm-dispatcher/90-clatnm.conf"
HOSTROOT = str(Path(__file__).with_name("hostroot.py"))

BUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""
NM_CONFIG = """\
[main]
plugins=keyfile
auth-polkit=false
no-auto-default=*
dns=default
rc-manager=file
hostname-mode=none
systemd-resolved=false
[connectivity]
enabled=false
[device-lab]
match-device=interface-name:up*
managed=1
[logging]
level=DEBUG
backend=syslog
"""


class Host(Namespace):
    """Namespace, private files, bus and NetworkManager. `run` sees the machine's programs and the host's network."""

    def __init__(self, session: Session, *, switch: Namespace, root: Path = Path("/")) -> None:
        super().__init__("host", session)
        self._switch = switch
        self._root = session.directory / "root"
        self._bus: Service | None = None
        self._nm: Service | None = None
        self.daemons: list[Daemon] = []
        self._holder = self._hold()
        self.run(PYTHON, "-I", HOSTROOT, str(session.directory), str(root))

    # Entering

    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-m", "-n", "--"]

    def environment(self) -> dict[str, str]:
        return clean_environment(
            PATH=f"{VENV_BIN}:{SYSTEM_PATH}",
            DBUS_SYSTEM_BUS_ADDRESS=self.bus_address,
            PYTHONPATH=str(REPOSITORY),
        )

    @property
    def bus_address(self) -> str:
        """Reaches the host's bus from anywhere on the machine."""
        return f"unix:path={self.session.directory}/run/dbus/system_bus_socket"

    def path(self, path: str) -> Path:
        """A file of the host (`/etc/clatnm/...`, `/run/clatnm/...`) as this process can open it."""
        return Path(f"/proc/{self._holder.pid}/root") / path.lstrip("/")

    def system_path(self, path: str) -> Path:
        """A file as NetworkManager and the bus see it (`/etc/NetworkManager/...`)."""
        return self.path(str(self._root) + path)

    def _hold(self) -> subprocess.Popen[str]:
        # `ip netns exec` gives a mount namespace with the right /sys; cat keeps it until our end of the pipe closes,
        # so it goes even if this process is killed. Its echo tells that it has arrived there.
        holder = subprocess.Popen(
            [*super().enter(), "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=clean_environment(),
        )
        self.session.record(holder.pid)
        assert holder.stdin and holder.stdout
        holder.stdin.write("here\n")
        holder.stdin.flush()
        if holder.stdout.readline() != "here\n":
            raise LabError(f"cannot enter {self.netns}")
        return holder

    def release(self) -> None:
        """Let go of the mount namespace; it vanishes with the last process in it."""
        self._holder.kill()
        self._holder.communicate()

    # The bus and NetworkManager

    def _in_root(self, *argv: str) -> list[str]:
        return [*self.enter(), "env", "-u", "DBUS_SYSTEM_BUS_ADDRESS", "-u", "PYTHONPATH", f"PATH={SYSTEM_PATH}",
                "chroot", str(self._root), *argv]  # fmt: skip

    def bus_start(self) -> None:
        if self._bus and self._bus.running:
            return
        socket_path = self.session.directory / "run/dbus/system_bus_socket"
        socket_path.unlink(missing_ok=True)
        self.system_path("/etc/dbus-1/lab.conf").write_text(BUS_CONFIG)
        argv = self._in_root("dbus-daemon", "--config-file=/etc/dbus-1/lab.conf", "--nofork", "--nopidfile")
        self._bus = self._spawn("bus", argv)
        eventually(lambda: _accepts(socket_path), message="the bus listens")

    def bus_stop(self) -> None:
        """End dbus-daemon. NetworkManager lives on but never comes back to a bus: restart it too."""
        if self._bus:
            self._bus.stop()
            self._bus = None

    @property
    def bus_running(self) -> bool:
        return self._bus is not None and self._bus.running

    def nm_start(self, *, extra_config: str = "") -> None:
        """Start NetworkManager, with clatnm's own configuration snippet; `extra_config` is a conf.d file's text."""
        if self._nm and self._nm.running:
            return
        self.system_path("/etc/NetworkManager/NetworkManager.conf").write_text(NM_CONFIG)
        if NM_SNIPPET.exists():
            self.system_path("/etc/NetworkManager/conf.d/90-clatnm.conf").write_text(NM_SNIPPET.read_text())
        self.system_path("/etc/NetworkManager/conf.d/95-lab.conf").write_text(extra_config)
        self._nm = self._spawn("nm", self._in_root("NetworkManager", "--debug"))
        eventually(self._nm_answers, timeout_s=20, message="NetworkManager answers")

    def nm_stop(self) -> int:
        """SIGTERM; addresses and routes stay in the kernel. Returns the exit status."""
        nm, self._nm = self._nm, None
        return nm.stop(timeout_s=10) if nm else 0

    @property
    def nm_running(self) -> bool:
        return self._nm is not None and self._nm.running

    def _nm_answers(self) -> bool:
        if not self.nm_running:
            raise LabError(f"NetworkManager ended:\n{self.log('nm', lines=20)}")
        return "running" in self.nmcli("-t", "-f", "RUNNING", "general").stdout

    def nmcli(self, *argv: str, check: bool = True, timeout_s: float = 40.0) -> subprocess.CompletedProcess[str]:
        return self._run(self._in_root("nmcli", *argv), check=check, timeout_s=timeout_s)

    def nm_log(self, *, lines: int = 0) -> str:
        return self.log("nm", lines=lines)

    # Profiles and cables

    def add_profile(self, name: str, iface: str, settings: Mapping[str, object] | None = None, **short: object) -> None:
        """Add an Ethernet profile, not activated: IPv6 by SLAAC with EUI-64, IPv4 disabled unless said otherwise.

        Settings by nmcli's names (`{"ipv4.method": "auto"}`) or short ones (`ipv4_method="auto"`,
        `ipv6_addr_gen_mode="stable-privacy"`: the first underscore is the dot).
        """
        wanted: dict[str, object] = {
            "connection.autoconnect": "no",
            "ipv4.method": "disabled",
            "ipv6.method": "auto",
            "ipv6.addr-gen-mode": "eui64",
            **(settings or {}),
            **{key.replace("_", ".", 1).replace("_", "-"): value for key, value in short.items()},
        }
        flat = [str(item) for pair in wanted.items() for item in pair]
        self.nmcli("connection", "add", "type", "ethernet", "con-name", name, "ifname", iface, *flat)

    def modify(self, name: str, settings: Mapping[str, object]) -> None:
        """Change a stored profile; takes effect at its next activation or `nmcli device reapply`."""
        self.nmcli("connection", "modify", name, *(str(item) for pair in settings.items() for item in pair))

    def set_user_data(self, name: str, **data: str) -> None:
        """Write `[user]` keys into a profile, dots as double underscores (`clatnm__mode="no"`): nmcli cannot."""
        path = self.system_path(f"/etc/NetworkManager/system-connections/{name}.nmconnection")
        kept = path.read_text().partition("[user]")[0]
        lines = "".join(f"{key.replace('__', '.')}={value}\n" for key, value in data.items())
        path.write_text(f"{kept}\n[user]\n{lines}")
        self.nmcli("connection", "reload")

    def up(self, name: str, *, wait_s: int = 30) -> None:
        """Activate a profile and wait until NetworkManager calls it activated. `wait_s=0`: only ask."""
        self.nmcli("--wait", str(wait_s), "connection", "up", name)

    def down(self, name: str) -> None:
        self.nmcli("connection", "down", name)

    def plug(self, uplink: str, network: str | None, *, silent: bool = False) -> None:
        """Move an uplink's cable into network "a", "b" or "c", or into none: carrier off, move, carrier on.

        `silent`: without a carrier change, like a roam within one Wi-Fi network.
        """
        port = f"p{UPLINKS.index(uplink)}"
        bridge = f"br{network.upper()}" if network else "brOFF"
        lines = [f"link set {port} master {bridge}"]
        if not silent:
            lines.insert(0, f"link set {port} down")
            if network:
                lines.append(f"link set {port} up")
        self._switch.ip("-batch", "-", stdin="\n".join(lines) + "\n")

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
        if not self.bus_running:
            self.nm_stop()
            self.bus_start()
        self.nm_start()
        self._delete_profiles()
        self.plug("up0", "a")
        self.plug("up1", None)
        self._sweep()

    def _delete_profiles(self) -> None:
        rows = self.nmcli("-t", "-f", "UUID,TYPE", "connection").stdout.split()
        # NetworkManager's own profile for lo is not a profile to delete.
        uuids = [uuid for uuid, _, kind in (row.partition(":") for row in rows) if kind != "loopback"]
        if uuids:
            self.nmcli("connection", "delete", *uuids, check=False)

    def _sweep(self) -> None:
        """Remove what a test or a killed daemon left in the kernel and in clatnm's directories."""
        own = {"lo", *UPLINKS}
        strangers = [link["ifname"] for link in self.ip_json("link") if link["ifname"] not in own]
        for name in strangers:
            self.ip("link", "del", name)
        self.nft("flush ruleset\n")
        for directory in ("/etc/clatnm", "/run/clatnm", "/var/lib/clatnm"):
            self.run("find", directory, "-mindepth", "1", "-delete")


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
