# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's system side: its private files, dbus-daemon, NetworkManager and the profiles stored there."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.namespace import PYTHON, SYSTEM_PATH, Namespace, clean_environment
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.session import LabError, Session

if TYPE_CHECKING:
    from tests.lab.networkd import Networkd

REPOSITORY = Path(__file__).resolve().parents[2]
VENV_BIN = Path(PYTHON).parent
NM_SNIPPET = REPOSITORY / "nm-dispatcher/90-clatnm.conf"
NM_HOOK = REPOSITORY / "nm-dispatcher/90-clatnm"
HOSTROOT = str(Path(__file__).with_name("hostroot.py"))
BUS_SOCKET = "/run/dbus/system_bus_socket"
ACTIVATABLE = "/etc/dbus-1/lab-services"
DISPATCHER_SERVICE = "org.freedesktop.nm_dispatcher.service"

BUS_CONFIG = f"""\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={BUS_SOCKET}</listen>
  <servicedir>{ACTIVATABLE}</servicedir>
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


class System(Namespace):
    """`run` sees the machine's programs, the host's network and files, and the host's bus."""

    def __init__(self, session: Session, *, root: Path) -> None:
        super().__init__("host", session)
        self._root = session.directory / "root"
        self._bus: Service | None = None
        self._nm: Service | None = None
        self._nm_extra = ""
        self.networkd: Networkd | None = None
        """Who manages the links, if that is not NetworkManager."""
        self._holder = self._hold()
        self.run(PYTHON, "-I", HOSTROOT, str(session.directory), str(root))

    # Entering

    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-m", "-n", "--"]

    def environment(self) -> dict[str, str]:
        # The path inside: the one from outside runs through directories closed to anybody but root.
        return clean_environment(PATH=f"{VENV_BIN}:{SYSTEM_PATH}", DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={BUS_SOCKET}")

    @property
    def bus_address(self) -> str:
        """The host's bus for a root process outside, such as the test itself."""
        return f"unix:path={self.session.directory}{BUS_SOCKET}"

    def path(self, path: str) -> Path:
        """A file of the host (`/etc/clatnm/...`, `/run/clatnm/...`) as this process can open it."""
        return Path(f"/proc/{self._holder.pid}/root") / path.lstrip("/")

    def system_path(self, path: str) -> Path:
        """A file as NetworkManager and the bus see it (`/etc/NetworkManager/...`)."""
        return self.path(f"{self._root}{path}")

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
        self.session.adopt(holder)
        assert holder.stdin and holder.stdout
        holder.stdin.write("here\n")
        holder.stdin.flush()
        if holder.stdout.readline() != "here\n":
            raise LabError(f"cannot enter {self.netns}")
        return holder

    def _in_root(self, *argv: str) -> list[str]:
        # Services find the bus at its usual place; the address must not leak into them.
        plain = ["env", "-u", "DBUS_SYSTEM_BUS_ADDRESS", f"PATH={SYSTEM_PATH}"]
        return [*self.enter(), *plain, "chroot", str(self._root), *argv]

    # The bus

    def bus_start(self) -> None:
        """Start dbus-daemon, which lets everybody do everything, and wait until it listens."""
        if self.bus_running:
            return
        self.path(BUS_SOCKET).unlink(missing_ok=True)
        self.system_path(ACTIVATABLE).mkdir(exist_ok=True)
        self.system_path("/etc/dbus-1/lab.conf").write_text(BUS_CONFIG)
        argv = self._in_root("dbus-daemon", "--config-file=/etc/dbus-1/lab.conf", "--nofork", "--nopidfile")
        self._bus = self._spawn("bus", argv)
        listening = self.session.directory / BUS_SOCKET.lstrip("/")
        eventually(lambda: _accepts(listening), message="the bus listens")

    def bus_stop(self) -> None:
        """End dbus-daemon. NetworkManager lives on but never comes back to a bus: restart it too."""
        if self._bus:
            self._bus.stop()
            self._bus = None

    @property
    def bus_running(self) -> bool:
        return self._bus is not None and self._bus.running

    # NetworkManager

    def nm_start(self, *, extra_config: str = "") -> None:
        """Start NetworkManager, with clatnm's own configuration snippet; `extra_config` is a conf.d file's text."""
        if self.nm_running:
            return
        self.system_path("/etc/NetworkManager/NetworkManager.conf").write_text(NM_CONFIG)
        if NM_SNIPPET.exists():
            self.system_path("/etc/NetworkManager/conf.d/90-clatnm.conf").write_text(NM_SNIPPET.read_text())
        self.system_path("/etc/NetworkManager/conf.d/95-lab.conf").write_text(extra_config)
        self._nm_extra = extra_config
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
            raise LabError(f"NetworkManager ended:\n{self.nm_log(lines=20)}")
        # "starting" lasts 6 s, the time it grants up1 to get a carrier; it serves us meanwhile.
        return self.nmcli("-t", "-f", "RUNNING", "general").stdout.strip() in ("starting", "running")

    def nmcli(self, *argv: str, check: bool = True, timeout_s: float = 40.0) -> subprocess.CompletedProcess[str]:
        if self.networkd is not None and not self.nm_running:
            import pytest  # not above: it is large, and there is none in labs that are no test's

            pytest.skip(f"NetworkManager's alone: nmcli {' '.join(argv[:2])}")
        return self._run(self._in_root("nmcli", *argv), check=check, timeout_s=timeout_s)

    def nm_log(self, *, lines: int = 0) -> str:
        return self.log("nm", lines=lines)

    def device_state(self, iface: str) -> int:
        """NMDeviceState: 20 unavailable, 30 disconnected, 100 activated, ..."""
        return int(self.nmcli("-g", "GENERAL.STATE", "device", "show", iface).stdout.split()[0])

    def dispatcher_start(self, *, hook: bool = True) -> None:
        """From now on NetworkManager finds nm-dispatcher, which the bus starts for it, and clatnm's `hook` is there.

        It ends by itself when it has had nothing to do for ten seconds.
        """
        if hook:
            place = self.system_path("/etc/NetworkManager/dispatcher.d/90-clatnm")
            place.parent.mkdir(exist_ok=True)
            place.write_text(NM_HOOK.read_text())
            place.chmod(0o755)
        service = self.system_path(f"/usr/share/dbus-1/system-services/{DISPATCHER_SERVICE}").read_text()
        self.system_path(f"{ACTIVATABLE}/{DISPATCHER_SERVICE}").write_text(service)
        self._bus_reread()

    def _dispatcher_stop(self) -> None:
        service = self.system_path(f"{ACTIVATABLE}/{DISPATCHER_SERVICE}")
        if service.exists():
            service.unlink()
            self.system_path("/etc/NetworkManager/dispatcher.d/90-clatnm").unlink(missing_ok=True)
            if self.bus_running:
                self._bus_reread()

    def _bus_reread(self) -> None:
        self.run(
            *("dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus"),
            *("/org/freedesktop/DBus", "org.freedesktop.DBus.ReloadConfig"),
        )

    # Profiles

    def add_profile(
        self, name: str, iface: str, settings: Mapping[str, object] | None = None, /, **short: object
    ) -> None:
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
        if self.networkd is not None and not self.nm_running:
            self.networkd.add_profile(name, iface, wanted)
            return
        self.nmcli("connection", "add", "type", "ethernet", "con-name", name, "ifname", iface, *_flat(wanted))

    def modify(self, name: str, settings: Mapping[str, object]) -> None:
        """Change a stored profile; takes effect at its next activation or `nmcli device reapply`."""
        self.nmcli("connection", "modify", name, *_flat(settings))

    def set_user_data(self, name: str, data: Mapping[str, str]) -> None:
        """Replace a profile's `[user]` keys (`{"clatnm.mode": "no"}`) in its file, as nmcli has no way to."""
        path = self.system_path(f"/etc/NetworkManager/system-connections/{name}.nmconnection")
        kept = path.read_text().partition("\n[user]\n")[0].rstrip()
        lines = "".join(f"{key}={value}\n" for key, value in data.items())
        path.write_text(f"{kept}\n\n[user]\n{lines}")
        self.nmcli("connection", "reload")

    def up(self, name: str, *, wait_s: int = 30) -> None:
        """Activate a profile and wait until NetworkManager calls it activated. `wait_s=0`: only ask."""
        if self.networkd is not None and not self.nm_running:
            self.networkd.up(name)
            return
        self.nmcli("--wait", str(wait_s), "connection", "up", name)

    def down(self, name: str) -> None:
        if self.networkd is not None and not self.nm_running:
            self.networkd.down(name)
            return
        self.nmcli("connection", "down", name)

    # Back to the start

    def _reset_system(self) -> None:
        self._dispatcher_stop()
        if not self.bus_running or self._nm_extra:
            self.nm_stop()
            self.bus_start()
        self.nm_start()
        self.nmcli("networking", "on")
        rows = self.nmcli("-t", "-f", "UUID,TYPE", "connection").stdout.split()
        # NetworkManager's own profile for lo is not a profile to delete.
        uuids = [uuid for uuid, _, kind in (row.partition(":") for row in rows) if kind != "loopback"]
        if uuids:
            self.nmcli("connection", "delete", *uuids)


def _flat(settings: Mapping[str, object]) -> list[str]:
    return [str(item) for pair in settings.items() for item in pair]


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
