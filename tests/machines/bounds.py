# SPDX-License-Identifier: GPL-2.0-or-later
"""The service under AppArmor or SELinux: it does all it does elsewhere, and nothing of that is refused; what it has no
business with is.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.clat import wait_off, wait_on
from tests.lab.poll import eventually
from tests.machines import privileges_functions as functions
from tests.machines import systemd_network as network
from tests.machines import systemd_numbers as numbers
from tests.machines import systemd_service as service
from tests.machines import systemd_suspend as suspend
from tests.machines.clat_service import SERVICE, unit_property
from tests.machines.inside import Report, be_patient
from tests.machines.systemd_place import PROFILE, UPLINK, Place
from tests.machines.systemd_traffic import ipv4_works, upload

STRANGER = Path("/srv/stranger")
_LOST = re.compile(r"audit_lost=[1-9]")
# What root may do, and this service has no business with: the command that does it.
FORBIDDEN: Mapping[str, Sequence[str]] = {
    "read-passwords": ("cat", "/etc/shadow"),
    "read-somebodys-home": ("ls", "/root"),
    "write-configuration": ("sh", "-c", ": >/etc/clatnm/by-itself"),
    "write-units": ("sh", "-c", ": >/etc/systemd/system/by-itself.service"),
    "write-elsewhere": ("sh", "-c", ": >/var/lib/by-itself"),
    "run-what-lies-about": (str(STRANGER),),
    "mount": ("mount", "-t", "tmpfs", "none", "/mnt"),
    "set-sysctl": ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
}


@dataclass(frozen=True)
class Bounds:
    """How a unit names them, what /proc/PID/attr/current says then, and how the kernel tells of a refusal; what these
    alone forbid."""

    setting: str
    label: str
    refusal: re.Pattern[str]
    forbidden: Mapping[str, Sequence[str]]

    def refused(self) -> list[str]:
        """Since the guest was switched on."""
        return kernel_said(self.refusal)

    def service_is_confined(self, place: Place) -> None:
        """The unit says so; users' commands are not."""
        place.here.run("sysctl", "-q", "-w", "kernel.printk_ratelimit=0")  # every refusal is told
        place.clat.start()
        wait_on(place.clat, UPLINK, timeout_s=90.0)
        translators = place.clat.translators()
        assert translators
        for pid in (place.clat.pid, *translators):
            assert label(pid) == self.label, (pid, label(pid))
        assert label("self") != self.label

    def nothing_was_denied(self, place: Place) -> None:
        """In all that was done until now."""
        place.clat.restart()
        wait_on(place.clat, UPLINK, timeout_s=60.0)
        assert unit_property(SERVICE, "Result") == "success"
        told = self.refused()
        assert not told, "\n".join(told)
        assert not kernel_said(_LOST), "not everything that was refused has been told"

    def forbidden_is_denied(self, place: Place) -> None:
        """The same command works without, so that nothing else is what forbids it."""
        STRANGER.write_text("#!/bin/sh\nexit 0\n")
        STRANGER.chmod(0o755)
        Path("/etc/clatnm").mkdir(exist_ok=True)
        for name, command in {**FORBIDDEN, **self.forbidden}.items():
            free = _as_a_service(command)
            assert free.returncode == 0, (name, free)
            self._is_refused(name, command)
        # Without, it would end the guest.
        self._is_refused("end-others", ("kill", unit_property("dbus.service", "MainPID")))

    def _is_refused(self, name: str, command: Sequence[str]) -> None:
        before = len(self.refused())
        bound = _as_a_service(command, self.setting)
        assert bound.returncode != 0, (name, bound)
        eventually(lambda: len(self.refused()) > before, message=f"the kernel tells of {name}")
        print(f"{name}: {self.refused()[-1]}", flush=True)


def ipv4_comes_and_goes(place: Place) -> None:
    ipv4_works()
    place.here.run("nmcli", "connection", "down", PROFILE)
    eventually(lambda: f"clat-{UPLINK}" not in place.here.devices(), message="the CLAT is gone")
    place.here.run("nmcli", "connection", "up", PROFILE, timeout_s=120.0)
    wait_on(place.clat, UPLINK, timeout_s=90.0)
    place.here.clatnm("set", PROFILE, "no")
    wait_off(place.clat, "opted-out", UPLINK, timeout_s=60.0)
    place.here.clatnm("set", PROFILE, "default")
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    ipv4_works()


def killed_one_is_followed(place: Place) -> None:
    """By one that takes its translators over, or where that comes too late (a guest is slow), has its own."""
    first = place.clat.pid
    with upload() as flow:
        os.kill(first, signal.SIGKILL)
        eventually(lambda: place.clat.pid not in (0, first), message="systemd starts it again")
        eventually(lambda: unit_property(SERVICE, "ActiveState") == "active", message="it is ready")
        wait_on(place.clat, UPLINK, timeout_s=60.0)
        flow.goes_on()
    ipv4_works()


def killed_together_leave_nothing(place: Place) -> None:
    """Daemon and translator, with hooks that do not go by themselves: what runs after them takes these away."""
    before = network.CONFIGURATION.read_text()
    try:
        functions.leaves_nothing_when_killed(place, 90.0)
    finally:
        network.CONFIGURATION.write_text(before)
        place.clat.start()


def run(
    bounds: Bounds,
    switch_on: Callable[[Place], None],
    *more: Callable[[Place], None],
    widened: Sequence[Callable[[Place], None]] = (),
) -> int:
    """The job; its exit status. Arguments of the command: names of checks, for these alone.

    In the `widened` ones, the bounds are not as they are shipped; they begin and end with a service that is stopped.
    """
    plain: Sequence[Callable[[Place], None]] = (
        switch_on,
        bounds.service_is_confined,
        ipv4_comes_and_goes,
        service.anybody_may_look,
        service.reload_reads_the_configuration,
        numbers.metrics_are_handed_out,
        network.asks_the_links_own_resolvers,
        network.connections_outlive_native_ipv4,
        service.restart_keeps_connections,
        killed_one_is_followed,
        killed_together_leave_nothing,
        network.other_configuration,
        suspend.resumes_elsewhere_with_networkd,
        *more,
        bounds.nothing_was_denied,
        bounds.forbidden_is_denied,
    )
    be_patient()
    report = Report()
    with Place() as place:
        for check in (*plain, *widened):
            name = check.__name__.replace("_", "-")
            if not sys.argv[1:] or name in sys.argv[1:]:
                with report.check(name):
                    if check in widened:
                        place.clat.stop()
                    elif check not in (switch_on, bounds.service_is_confined):
                        wait_on(place.clat, UPLINK, timeout_s=90.0)
                    check(place)
    return report.status


def _as_a_service(command: Sequence[str], *properties: str) -> subprocess.CompletedProcess[str]:
    options = [word for text in properties for word in ("-p", text)]
    # env: what comes first is entered by another rule than what is run later. No descriptors of ours, which to have
    # would be refused by itself.
    argv = ["systemd-run", "--wait", "-q", *options, "--", "env", *command]
    return subprocess.run(argv, check=False, text=True, capture_output=True, stdin=subprocess.DEVNULL)


def kernel_said(what: re.Pattern[str]) -> list[str]:
    """Lines of this boot, and the bus's own, which looks into messages for it."""
    whose = ("_TRANSPORT=audit", "+", "_TRANSPORT=kernel", "+", "_COMM=dbus-daemon")
    argv = ["journalctl", "-b", "-q", "--no-pager", "-o", "cat", *whose]
    said = subprocess.run(argv, check=True, text=True, capture_output=True).stdout
    return [line for line in said.splitlines() if what.search(line)]


def label(pid: int | str) -> str:
    """What a process runs as."""
    return Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")
