# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm as a service of systemd: start, order, watchdog, death; and who may ask it for what."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from clatnm.worker import privileges
from tests.e2e.clat import wait_on
from tests.lab import snapshot
from tests.lab.poll import eventually
from tests.machines.clat_service import MANAGER, SERVICE, unit_property
from tests.machines.here import journal
from tests.machines.inside import UNIT, UNITS, SkippedError, systemctl
from tests.machines.systemd_place import PROFILE, UPLINK, Place
from tests.machines.systemd_traffic import has_route, ipv4_works, upload

POLICY = Path("/etc/polkit-1/rules.d/10-test.rules")
_POLICY = """\
polkit.addRule(function(action, subject) {
  if (action.id.indexOf("org.freedesktop.NetworkManager.settings.modify.") == 0 && subject.user == "somebody")
    return polkit.Result.YES;
});
"""
_POKE = (*MANAGER, "Poke", "s", "test")
_CAPABILITIES = ("net_admin", "net_raw", "bpf", "setuid", "setgid", "kill")
_HANGING_S = 12


def unit_is_sound(place: Place) -> None:
    told = place.here.run("systemd-analyze", "verify", "--man=no", str(UNIT), check=False)
    about_us = [line for line in (told.stdout + told.stderr).splitlines() if "clatnm" in line]
    assert not about_us, about_us


def nobody_starts_it_by_asking(place: Place) -> None:
    """Not activated by the bus: stopped by the administrator, it stays stopped."""
    told = place.here.clatnm("status", check=False)
    assert told.returncode == 1 and "systemctl start clatnm" in told.stderr, told
    asked = place.here.as_user("busctl", "--system", "call", *MANAGER, "Status")
    assert asked.returncode != 0, asked
    assert unit_property(SERVICE, "ActiveState") == "inactive"
    assert not unit_property(SERVICE, "MainPID").strip("0")


def started_means_it_answers(place: Place) -> None:
    for _ in range(2):
        place.clat.restart()
        told = place.clat.status()
        assert told["version"]
        assert unit_property(SERVICE, "SubState") == "running"


def ipv4_is_there(place: Place) -> None:
    told = wait_on(place.clat, UPLINK, timeout_s=60.0)
    assert told["prefix"]["prefix"] == "64:ff9b::/96", told
    ipv4_works()
    assert len(place.clat.translators()) == 1
    complaints = [line for line in place.clat.log().splitlines() if "not permitted" in line or "Traceback" in line]
    assert not complaints, complaints


def sandbox_holds(place: Place) -> None:
    """The daemon has the rights that the unit says, its translators have none."""
    daemon = _status_of(place.clat.pid)
    wanted = sum(1 << _number_of(name) for name in _CAPABILITIES)
    assert int(daemon["CapEff"], 16) == wanted, daemon["CapEff"]
    assert (daemon["NoNewPrivs"], daemon["Seccomp"]) == ("1", "2")
    for pid in place.clat.translators():
        worker = _status_of(pid)
        assert int(worker["CapEff"], 16) == 0 and int(worker["CapPrm"], 16) == 0, worker
        assert worker["Uid"].split() == [str(privileges.identity()[0])] * 4, worker["Uid"]
        assert int(worker["Seccomp_filters"]) > int(daemon["Seccomp_filters"]), worker
    exposure = place.here.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout.splitlines()[-1]
    found = re.search(r"(\d+\.\d+) OK", exposure)
    assert found and float(found[1]) <= 3.0, exposure


def device_is_left_alone(place: Place) -> None:
    """udev says so to NetworkManager, and NetworkManager says so."""
    if unit_property("systemd-udevd.service", "ActiveState") != "active":
        raise SkippedError("there is no udevd in a box")
    told = place.here.run("udevadm", "info", "-q", "property", "-p", f"/sys/class/net/clat-{UPLINK}").stdout
    assert "NM_UNMANAGED=1" in told.splitlines(), told
    state = place.here.run("nmcli", "-g", "GENERAL.STATE", "device", "show", f"clat-{UPLINK}").stdout
    assert "unmanaged" in state, state


def order_delays_nothing(place: Place) -> None:
    """It waits for no network, and starts where none is managed."""
    near = systemctl("show", "-p", "After,Wants,Requires,Requisite,BindsTo", SERVICE)
    assert "online" not in near and "network.target" not in near, near
    systemctl("stop", SERVICE, "NetworkManager")
    try:
        place.clat.start()
        assert unit_property(SERVICE, "ActiveState") == "active"
        state = unit_property("NetworkManager", "ActiveState")
        assert state == "inactive", f"NetworkManager is {state}"
    finally:
        systemctl("stop", SERVICE)
        _together("Wants")
    times = _stamp("NetworkManager", "ActiveEnter"), _stamp(SERVICE, "InactiveExit")
    assert times[0] <= times[1], times
    wait_on(place.clat, UPLINK, timeout_s=90.0)
    ipv4_works()


def stops_before_the_network(place: Place) -> None:
    """As at shutdown: our routes go first, and fast."""
    _together("Conflicts")
    times = _stamp(SERVICE, "InactiveEnter"), _stamp("NetworkManager", "ActiveExit")
    assert times[0] <= times[1], times
    assert unit_property(SERVICE, "Result") == "success"
    assert f"clat-{UPLINK}" not in place.here.devices()
    _together("Wants")
    wait_on(place.clat, UPLINK, timeout_s=90.0)


def _together(how: str) -> None:
    """Start (Wants) or stop (Conflicts) clatnm and NetworkManager in one transaction, as booting and shutting down do:
    `systemctl start A B` makes two of it."""
    units = f"{SERVICE} NetworkManager.service"
    (UNITS / "together.target").write_text(f"[Unit]\n{how}={units}\nAfter={units}\n")
    systemctl("daemon-reload")
    systemctl("start", "together.target")
    systemctl("stop", "together.target")


def stop_leaves_nothing(place: Place) -> None:
    place.clat.stop()
    before = snapshot.take(place.here)
    assert not has_route()
    assert not list(Path("/run/clatnm").iterdir()), "systemd lets it stay"
    place.clat.start()
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    place.clat.stop()
    difference = before.diff(snapshot.take(place.here))
    assert not difference, difference
    place.clat.start()
    wait_on(place.clat, UPLINK, timeout_s=60.0)


def restart_keeps_connections(place: Place) -> None:
    with upload() as flow:
        place.clat.restart()
        wait_on(place.clat, UPLINK, timeout_s=60.0)
        flow.goes_on()


def reload_reads_the_configuration(place: Place) -> None:
    before = place.clat.pid
    read = place.clat.log().count("configuration read again")
    systemctl("reload", SERVICE)
    eventually(lambda: place.clat.log().count("configuration read again") > read, message="the configuration is read")
    assert place.clat.pid == before


def killed_comes_back(place: Place) -> None:
    """SIGKILL: nothing is left doubled, and connections go on."""
    before = snapshot.take(place.here)
    with upload() as flow:
        _ends_and_comes_back(place, signal.SIGKILL)
        flow.goes_on()
    ipv4_works()
    difference = before.diff(snapshot.take(place.here))
    assert not difference, difference


def hanging_is_noticed(place: Place) -> None:
    """The watchdog lets a daemon live that works, and ends one that hangs."""
    assert unit_property(SERVICE, "WatchdogUSec") == "1min"
    place.clat.configure(f"WatchdogSec={_HANGING_S}")
    try:
        place.clat.restart()
        wait_on(place.clat, UPLINK, timeout_s=60.0)
        first = place.clat.pid
        for _ in range(3):
            _says_it_lives()
        assert place.clat.pid == first
        _ends_and_comes_back(place, signal.SIGSTOP)
        assert "Watchdog timeout" in journal(SERVICE)
        assert "Fatal Python error: Aborted" in journal(SERVICE)
        ipv4_works()
    finally:
        place.clat.unconfigure()


def _says_it_lives() -> None:
    heard = _stamp(SERVICE, "Watchdog")
    eventually(lambda: _stamp(SERVICE, "Watchdog") > heard, message="the daemon says it lives")


def _ends_and_comes_back(place: Place, number: int) -> None:
    first, restarts = place.clat.pid, int(unit_property(SERVICE, "NRestarts"))
    (old,) = place.clat.translators()
    os.kill(first, number)
    eventually(lambda: int(unit_property(SERVICE, "NRestarts")) == restarts + 1, message="systemd starts it again")
    eventually(lambda: unit_property(SERVICE, "ActiveState") == "active", message="it is ready")
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    assert place.clat.pid != first
    assert not Path(f"/proc/{first}").exists()
    assert place.clat.translators() == {old}, "it goes on, and the next daemon has it"
    assert int(unit_property(SERVICE, "NRestarts")) == restarts + 1


def anybody_may_look(place: Place) -> None:
    for words in (("status",), ("status", "--json"), ("explain", UPLINK)):
        told = place.here.as_user("clatnm", *words)
        assert told.returncode == 0 and told.stdout, (words, told)
    refused = place.here.as_user("busctl", "--system", "call", *_POKE)
    assert refused.returncode != 0 and "ccess denied" in refused.stderr, refused
    place.here.run("busctl", "--system", "call", *_POKE)


def set_is_allowed_as_nmcli_is(place: Place) -> None:
    """clatnm has no opinion of its own about who may change a connection."""
    refused = place.here.as_user("nmcli", "connection", "modify", PROFILE, "connection.zone", "")
    assert refused.returncode != 0 and "nsufficient privileges" in refused.stderr, refused
    ours = place.here.as_user("clatnm", "set", PROFILE, "no")
    assert ours.returncode == 1 and ours.stderr.startswith("error: "), ours
    assert "Traceback" not in ours.stderr
    assert len(ours.stderr.splitlines()) == 1, ours
    POLICY.write_text(_POLICY)
    try:
        eventually(lambda: _may(place), message="polkit has read its rules")
        told = place.here.as_user("clatnm", "set", PROFILE, "no")
        assert told.returncode == 0, told
        eventually(lambda: f"clat-{UPLINK}" not in place.here.devices(), message="the CLAT is off")
        assert place.here.as_user("clatnm", "set", PROFILE, "default").returncode == 0
        wait_on(place.clat, UPLINK, timeout_s=60.0)
    finally:
        POLICY.unlink()
    eventually(lambda: not _may(place), message="polkit has read its rules")
    assert place.here.as_user("clatnm", "set", PROFILE, "no").returncode == 1


def _may(place: Place) -> bool:
    return place.here.as_user("nmcli", "connection", "modify", PROFILE, "connection.zone", "").returncode == 0


def _stamp(unit: str, event: str) -> int:
    """When it last happened, in microseconds of CLOCK_MONOTONIC."""
    return int(unit_property(unit, f"{event}TimestampMonotonic"))


def _status_of(pid: int) -> dict[str, str]:
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}


def _number_of(capability: str) -> int:
    # linux/capability.h
    return {"kill": 5, "setgid": 6, "setuid": 7, "net_admin": 12, "net_raw": 13, "bpf": 39}[capability]
