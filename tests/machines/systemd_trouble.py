# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong around the service: a mistake in its configuration, memory that ends, more links than usual."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.e2e.clat import wait_on
from tests.lab.poll import eventually
from tests.machines.clat_service import SERVICE, unit_property
from tests.machines.inside import SkippedError, systemctl
from tests.machines.systemd_network import CONFIGURATION
from tests.machines.systemd_place import UPLINK, Place
from tests.machines.systemd_traffic import upload

_STATIC = Path("/etc/clatnm/static.d")
_RELAY = """\
[clatnm]
uplink = {uplink}
prefix = 2001:db8:64::/96
addresses = 198.51.100.{number}
routes = 198.18.{number}.0/24
[eam]
198.51.100.{number} = 2001:db8:a::5:{number}
"""
_FEW, _MANY = 3, 500


def failed_start_is_made_good(place: Place) -> None:
    """Who mends a mistake soon enough loses nothing by it, though systemd has given up meanwhile."""
    (translator,) = place.clat.translators()
    before = CONFIGURATION.read_text()
    place.clat.configure("Restart=no")
    try:
        with upload() as flow:
            CONFIGURATION.write_text("[clatnm]\nmode = always\n")
            systemctl("restart", "--no-block", SERVICE)
            eventually(lambda: unit_property(SERVICE, "ActiveState") == "failed", message="it does not start")
            CONFIGURATION.write_text(before)
            place.clat.start()
            wait_on(place.clat, UPLINK, timeout_s=60.0)
            flow.goes_on()
            assert place.clat.translators() == {translator}, "it goes on, and the next daemon has it"
    finally:
        CONFIGURATION.write_text(before)
        place.clat.unconfigure()


def many_translators_find_room(place: Place) -> None:
    """Each costs the daemon some descriptors: there are enough for hundreds."""
    _STATIC.mkdir(exist_ok=True)
    files = [_STATIC / f"few{number}.conf" for number in range(1, _FEW + 1)]
    one = _descriptors(place)
    try:
        for number, file in enumerate(files, 1):
            file.write_text(_RELAY.format(uplink=UPLINK, number=number))
        systemctl("reload", SERVICE)
        eventually(lambda: len(place.clat.translators()) == 1 + _FEW, message="all of them", timeout_s=60.0)
        each = (_descriptors(place) - one) / _FEW
    finally:
        for file in files:
            file.unlink(missing_ok=True)
        systemctl("reload", SERVICE)
    eventually(lambda: len(place.clat.translators()) == 1, message="they are gone again", timeout_s=60.0)
    limits = Path(f"/proc/{place.clat.pid}/limits").read_text().splitlines()
    (limit,) = (int(line.split()[3]) for line in limits if line.startswith("Max open files"))
    assert one + _MANY * each < limit, f"{each:.1f} descriptors each of {limit}"


def one_that_takes_all_memory_ends_alone(place: Place) -> None:
    """As a script of the administrator's may, which is in the service's unit."""
    cgroup = Path("/sys/fs/cgroup/system.slice") / SERVICE
    if not (cgroup / "memory.events").exists():
        raise SkippedError("nobody counts a box's memory")
    daemon, translators = place.clat.pid, place.clat.translators()
    with upload() as flow, subprocess.Popen(["sleep", "infinity"]) as hog:
        try:
            (cgroup / "cgroup.procs").write_text(str(hog.pid))
            # The first that the kernel is to take, and it is to take one now.
            Path(f"/proc/{hog.pid}/oom_score_adj").write_text("1000")
            Path("/proc/sysrq-trigger").write_text("f")
            eventually(lambda: hog.poll() == -signal.SIGKILL, message="the kernel has ended it")
        finally:
            hog.kill()
        told = ("journalctl", "-b", "-q", "-u", SERVICE)
        eventually(lambda: "OOM killer" in place.here.run(*told).stdout, message="systemd has noticed")
        flow.goes_on()
        assert (place.clat.pid, place.clat.translators()) == (daemon, translators)


def _descriptors(place: Place) -> int:
    return len(os.listdir(f"/proc/{place.clat.pid}/fd"))
