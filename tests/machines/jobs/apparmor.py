# SPDX-License-Identifier: GPL-2.0-or-later
"""AppArmor enforces packaging/apparmor/clatnm: clatnm does all it does elsewhere, and nothing is denied; what it has no
business with is denied.

Arguments: names of checks, for these alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.e2e.clat import wait_off, wait_on
from tests.lab.poll import eventually
from tests.machines import systemd_network as network
from tests.machines import systemd_numbers as numbers
from tests.machines import systemd_service as service
from tests.machines.clat_service import SERVICE, unit_property
from tests.machines.inside import Report, be_patient
from tests.machines.systemd_place import UPLINK, Place
from tests.machines.systemd_traffic import ipv4_works

PROFILE = Path("/etc/apparmor.d/clatnm")
_KERNEL = Path("/sys/kernel/security/apparmor")
_CONFINED = "clatnm (enforce)"
_STRANGER = "/srv/stranger"

# What root may do, and this service has no business with: the command that does it.
FORBIDDEN: Mapping[str, Sequence[str]] = {
    "read-passwords": ("cat", "/etc/shadow"),
    "read-somebodys-home": ("ls", "/root"),
    "write-configuration": ("sh", "-c", ": >/etc/clatnm/by-itself"),
    "write-units": ("sh", "-c", ": >/etc/systemd/system/by-itself.service"),
    "write-elsewhere": ("sh", "-c", ": >/var/lib/by-itself"),
    "run-what-lies-about": (_STRANGER,),
    "speak-ipv4": ("python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    "mount": ("mount", "-t", "tmpfs", "none", "/mnt"),
    "set-sysctl": ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
    "end-others": ("sh", "-c", "kill $(pidof dbus-daemon) && exit 0"),
}


def profile_loads(place: Place) -> None:
    told = place.here.run("apparmor_parser", "-r", "--warn=all", "--Werror=deprecated", str(PROFILE), check=False)
    assert told.returncode == 0, told
    assert _CONFINED in (_KERNEL / "profiles").read_text().splitlines()
    place.here.run("sysctl", "-q", "-w", "kernel.printk_ratelimit=0")  # every denial is told


def service_is_confined(place: Place) -> None:
    """The unit names the profile; users' commands have none."""
    place.clat.start()
    wait_on(place.clat, UPLINK, timeout_s=90.0)
    for pid in (place.clat.pid, *place.clat.translators()):
        assert _profile_of(pid) == _CONFINED, (pid, _profile_of(pid))
    assert place.clat.translators()
    assert place.here.run("cat", "/proc/self/attr/current").stdout.strip() == "unconfined"


def ipv4_comes_and_goes(place: Place) -> None:
    ipv4_works()
    place.here.run("nmcli", "connection", "down", "wired")
    eventually(lambda: f"clat-{UPLINK}" not in place.here.devices(), message="the CLAT is gone")
    place.here.run("nmcli", "connection", "up", "wired", timeout_s=120.0)
    wait_on(place.clat, UPLINK, timeout_s=90.0)
    place.here.clatnm("set", "wired", "no")
    wait_off(place.clat, "opted-out", UPLINK, timeout_s=60.0)
    place.here.clatnm("set", "wired", "default")
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    ipv4_works()


def nothing_was_denied(place: Place) -> None:
    """In all of this."""
    place.clat.restart()
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    assert unit_property(SERVICE, "Result") == "success"
    told = denials()
    assert not told, "\n".join(told)


def forbidden_is_denied(place: Place) -> None:
    """The same command works without the profile, so that nothing else is what forbids it."""
    Path(_STRANGER).write_text("#!/bin/sh\nexit 0\n")
    Path(_STRANGER).chmod(0o755)
    Path("/etc/clatnm").mkdir(exist_ok=True)
    for name, command in FORBIDDEN.items():
        before = len(denials())
        if name != "end-others":  # done for real, it would end the guest
            free = _as_a_service(command)
            assert free.returncode == 0, (name, free)
        bound = _as_a_service(command, "AppArmorProfile=clatnm")
        assert bound.returncode != 0, (name, bound)
        eventually(lambda: len(denials()) > before, message=f"the kernel tells of {name}")  # noqa: B023
        print(f"{name}: {denials()[-1].partition('apparmor=')[2]}", flush=True)


def denials() -> list[str]:
    """What the kernel has refused to the profile since the guest was switched on."""
    argv = ["journalctl", "-b", "-q", "--no-pager", "-o", "cat", "_TRANSPORT=audit", "+", "_TRANSPORT=kernel"]
    said = subprocess.run(argv, check=True, text=True, capture_output=True).stdout
    return [line for line in said.splitlines() if 'apparmor="DENIED"' in line and 'profile="clatnm' in line]


def _as_a_service(command: Sequence[str], *properties: str) -> subprocess.CompletedProcess[str]:
    options = [word for text in properties for word in ("-p", text)]
    argv = ["systemd-run", "--wait", "--pipe", "-q", *options, "--", *command]
    return subprocess.run(argv, check=False, text=True, capture_output=True, stdin=subprocess.DEVNULL)


def _profile_of(pid: int) -> str:
    return Path(f"/proc/{pid}/attr/current").read_text().strip()


CHECKS: Mapping[str, Callable[[Place], None]] = {
    "profile-loads": profile_loads,
    "service-is-confined": service_is_confined,
    "ipv4-comes-and-goes": ipv4_comes_and_goes,
    "anybody-may-look-only-root-may-poke": service.anybody_may_look,
    "reload-reads-the-configuration": service.reload_reads_the_configuration,
    "metrics-are-handed-out": numbers.metrics_are_handed_out,
    "asks-the-links-own-resolvers": network.asks_the_links_own_resolvers,
    "connections-outlive-native-ipv4": network.connections_outlive_native_ipv4,
    "restart-keeps-connections": service.restart_keeps_connections,
    "killed-comes-back": service.killed_comes_back,
    "scripts-and-other-configuration": network.other_configuration,
    "nothing-was-denied": nothing_was_denied,
    "forbidden-is-denied": forbidden_is_denied,
}


def main() -> int:
    be_patient()
    report = Report()
    with Place() as place:
        for name, check in CHECKS.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                with report.check(name):
                    check(place)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
