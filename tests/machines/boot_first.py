# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine is before it is switched on; run in its root, where only /proc is and no systemd yet.

clatnm as a package leaves it, never started yet; a wired profile of NetworkManager's that connects by itself; a cable
in the network of the argument, `a` or `b`; and a service that waits for the network, as many have.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import time
from pathlib import Path

import clatnm
from tests.machines.clat_service import SERVICE
from tests.machines.inside import UNITS
from tests.machines.payload import REPO
from tests.machines.systemd_place import NM_CONFIG, PROFILE, UPLINK

CLIENT = "needs-network.service"
_PROFILE = f"""\
[connection]
id={PROFILE}
uuid=2f1a3c58-6f0e-4d6a-9d0b-7c1f5a0e9b11
type=ethernet
interface-name={UPLINK}
[ipv4]
method=auto
[ipv6]
method=auto
"""
_NETWORKS = f"""\
[Unit]
Wants=network-pre.target
Before=network-pre.target
[Service]
Type=notify
TimeoutStartSec=infinity
WorkingDirectory={REPO}
Environment=HOME=/root LANG=C.UTF-8 PYTHONUNBUFFERED=1
ExecStart=/usr/bin/python3 -m tests.machines.boot_networks @NETWORK@
"""
_CLIENT = """\
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
"""


def main() -> None:
    subprocess.run(["systemctl", "enable", SERVICE], check=True)
    # As the scripts of a package do, too: the service may not write byte code.
    compileall.compile_dir(Path(clatnm.__file__).parent, quiet=1)
    for name in ("/etc/clatnm", "/var/lib/clatnm", "/run/clatnm"):
        shutil.rmtree(name, ignore_errors=True)
    # Empty, not absent: on a machine without one, systemd enables everything there is.
    Path("/etc/machine-id").write_text("")
    Path("/var/lib/dbus/machine-id").unlink(missing_ok=True)
    _manage()
    wanted = UNITS / "multi-user.target.wants"
    wanted.mkdir(parents=True)
    for name, text in (("networks.service", _NETWORKS.replace("@NETWORK@", sys.argv[1])), (CLIENT, _CLIENT)):
        (UNITS / name).write_text(text)
        (wanted / name).symlink_to(UNITS / name)
    # As where the clock has no battery.
    time.clock_settime(time.CLOCK_REALTIME, 86400.0)


def _manage() -> None:
    Path("/etc/NetworkManager/conf.d/test.conf").write_text(NM_CONFIG)
    profile = Path(f"/etc/NetworkManager/system-connections/{PROFILE}.nmconnection")
    profile.touch(mode=0o600)
    profile.write_text(_PROFILE)


if __name__ == "__main__":
    main()
