# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators as units of their own: systemd's scopes, from their start to the end of the machine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.machines.clat_service import SERVICE, processes, scopes, unit_property
from tests.machines.inside import UNITS, systemctl
from tests.machines.systemd_place import UPLINK, Place
from tests.machines.systemd_traffic import ipv4_works, upload

DEVICE = f"clat-{UPLINK}"
SCOPE = f"{DEVICE}.scope"
CONFIGURATION = Path("/etc/clatnm/clatnm.conf")
_BUS_POLICY = Path("/etc/dbus-1/system.d/test.conf")
_REFUSED = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy user="root">
  <deny send_destination="org.freedesktop.systemd1" send_interface="org.freedesktop.systemd1.Manager"
        send_member="StartTransientUnit"/>
</policy></busconfig>
"""
# The lab's addresses are documentation's, which TAYGA 0.9.2 does not take behind 64:ff9b::/96; clatnm.conf(5).
_TAYGA = "[clatnm]\nbackend = tayga\nprefix = 2001:db8:64::/96\n"
_FOR_TAYGA = "RestrictNamespaces=net user\nRestrictAddressFamilies=AF_INET"
STOPPING = f"Stopping {SCOPE}"
"""What systemd says if it is the one who ends the translator."""
# As core/unit.c has it, before and after a start.
COMPLAINT = re.compile(r"[Ll]eft-?over process|remains running|unclean termination|timed out|Killing process")
# Neither systemd's own scope nor that of a login.
_STRANGER = ("systemd-run", "--scope", "--quiet", "--unit", SCOPE, "sleep", "infinity")


def each_has_a_unit(place: Place) -> None:
    """And the service's own has the daemon, and what waits to be used."""
    pid, scope = moved(place)
    assert (scope, processes(scope)) == (SCOPE, {pid}), (pid, scope, processes(scope))
    assert pid not in processes(SERVICE) and place.clat.pid in processes(SERVICE), processes(SERVICE)
    properties = {
        "ActiveState": "active",
        "Slice": "system.slice",
        "CollectMode": "inactive-or-failed",
        "DevicePolicy": "closed",
        "Description": f"IPv4 on {UPLINK} by CLAT",
    }
    told = {name: unit_property(scope, name) for name in properties}
    assert told == properties, told
    assert SERVICE in unit_property(scope, "Before").split(), unit_property(scope, "Before")
    assert "man:clatnm(8)" in unit_property(scope, "Documentation")
    assert f", {scope}" in place.here.clatnm("status").stdout
    ipv4_works()


def restart_finds_nothing_left_over(place: Place) -> None:
    pid, _ = moved(place)
    with no_complaints(), upload() as flow:
        for _ in range(3):
            _caretaker(place)
            place.clat.restart()
            wait_on(place.clat, UPLINK, timeout_s=60.0)
            flow.goes_on()
        assert moved(place) == (pid, SCOPE)


def killed_daemon_leaves_nothing_over(place: Place) -> None:
    pid, _ = moved(place)
    _caretaker(place)
    with no_complaints(), upload() as flow:
        _kill_daemon(place)
        flow.goes_on()
        assert moved(place) == (pid, SCOPE)


def stop_ends_all_units(place: Place) -> None:
    moved(place)
    with no_complaints():
        place.clat.stop()
        eventually(lambda: not scopes(), message="no scope is left")
    assert not place.clat.translators()
    assert unit_property(SCOPE, "LoadState") == "not-found"
    place.clat.start()


def older_one_is_moved(place: Place) -> None:
    """A translator of a daemon that knew no scopes."""
    with _without_scopes(place):
        (pid,) = place.clat.translators()
        assert pid in processes(SERVICE)
    assert moved(place) == (pid, SCOPE)


def without_units_it_is_as_it_was(place: Place) -> None:
    """Where systemd refuses, translators stay in the service's cgroup; no connection is lost by that."""
    _BUS_POLICY.write_text(_REFUSED)
    systemctl("reload", "dbus")
    try:
        _anew(place)
        for change in (place.clat.restart, lambda: _kill_daemon(place)):
            (pid,) = place.clat.translators()
            assert pid in processes(SERVICE) and not scopes(), scopes()
            with upload() as flow:
                change()
                wait_on(place.clat, UPLINK, timeout_s=60.0)
                flow.goes_on()
            assert place.clat.translators() == {pid}
            assert connection(place.clat, UPLINK)["translator"]["unit"] is None
    finally:
        _BUS_POLICY.unlink()
        systemctl("reload", "dbus")
    _anew(place)
    moved(place)


def name_that_is_taken(place: Place) -> None:
    """By somebody else's scope: another name is as good."""
    place.clat.stop()
    eventually(lambda: not scopes(), message="no scope is left")
    with subprocess.Popen(_STRANGER) as stranger:
        try:
            eventually(lambda: scopes() == {SCOPE}, message="somebody else has the name")
            place.clat.start()
            wait_on(place.clat, UPLINK, timeout_s=60.0)
            pid, scope = moved(place)
            assert scope == f"{DEVICE}-{pid}.scope"
            assert stranger.poll() is None and processes(SCOPE) == {stranger.pid}
        finally:
            stranger.kill()
    place.clat.stop()
    eventually(lambda: not scopes(), message="no scope is left")
    place.clat.start()


def stopped_by_hand_is_followed(place: Place) -> None:
    """Whoever ends the unit ends the translator, and the daemon sees to another one, and says so."""
    pid, _ = moved(place)
    failed = place.clat.log().count("trying again")
    systemctl("stop", SCOPE)
    assert STOPPING in place.here.run("journalctl", "-b", "-q", "-o", "cat", "_PID=1").stdout
    eventually(lambda: place.clat.translators() not in (set(), {pid}), message="another translator")
    wait_on(place.clat, UPLINK, timeout_s=60.0)
    assert place.clat.log().count("trying again") == failed + 1
    moved(place)
    ipv4_works()


def daemon_is_stopped_first(place: Place) -> None:
    """When both are, as at shutdown: it takes its translators down, and never thinks that one has died."""
    for _ in range(3):
        moved(place)
        failed = place.clat.log().count("trying again")
        (UNITS / "down.target").write_text(f"[Unit]\nConflicts={SERVICE} {SCOPE}\nAfter={SERVICE} {SCOPE}\n")
        systemctl("daemon-reload")
        with no_complaints(STOPPING):
            systemctl("start", "down.target")
            eventually(lambda: not scopes(), message="no scope is left")
        assert place.clat.log().count("trying again") == failed, place.clat.log()[-2000:]
        result, left = unit_property(SERVICE, "Result"), place.clat.translators()
        assert (result, left) == ("success", set()), (result, left)
        systemctl("stop", "down.target")
        place.clat.start()
        wait_on(place.clat, UPLINK, timeout_s=60.0)


def caretaker_has_one(place: Place) -> None:
    """It outlives its daemon, until the next one has its own."""
    CONFIGURATION.write_text("[clatnm]\nbackend = ebpf-clsact\n")
    try:
        _anew(place)
        moved(place)
        first = _caretaker(place)
        with no_complaints():
            _kill_daemon(place)
            other = _caretaker(place)
            eventually(lambda: not _has_unit(first), message="the earlier one is ended")
        assert first != other
    finally:
        CONFIGURATION.unlink()
    place.clat.stop()
    eventually(lambda: not _has_unit(other), message="the one that was not needed is gone")
    place.clat.start()


def tayga_is_with_its_translator(place: Place) -> None:
    CONFIGURATION.write_text(_TAYGA)
    place.clat.configure(_FOR_TAYGA)
    try:
        _anew(place)
        _, scope = moved(place)
        names = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in processes(scope))
        assert len(names) == 2 and "tayga" in names, names
        ipv4_works()
        with no_complaints():
            place.clat.stop()
            eventually(lambda: not scopes(), message="no scope is left")
    finally:
        CONFIGURATION.unlink()
        place.clat.unconfigure()
    place.clat.start()


def moved(place: Place) -> tuple[int, str]:
    """Wait until the translator has a unit of its own; its pid, and the unit, as the daemon and the kernel say."""

    def check() -> tuple[int, str] | None:
        told = connection(place.clat, UPLINK)["translator"]
        assert told and told["unit"], told
        return told["pid"], told["unit"]

    pid, unit = eventually(check, timeout_s=30.0, message="a unit of its own") or (0, "")
    assert pid in place.clat.translators()
    assert pid in processes(unit), (unit, Path(f"/proc/{pid}/cgroup").read_text())
    return pid, unit


@contextlib.contextmanager
def no_complaints(*others: str) -> Iterator[None]:
    """Meanwhile systemd finds nothing wrong, and says nothing of `others`."""
    since = f"@{time.time():.6f}"
    yield
    argv = ["journalctl", "-b", "-q", "--no-pager", "-o", "cat", "--since", since, "_PID=1"]
    said = subprocess.run(argv, check=True, text=True, capture_output=True).stdout
    wrong = [line for line in said.splitlines() if COMPLAINT.search(line) or any(text in line for text in others)]
    assert not wrong, "\n".join(wrong)
    assert "clatnm.service" in said, "systemd's words are not to be had"


def _caretaker(place: Place) -> int:
    """Wait until the daemon's caretaker has a unit of its own; its pid."""

    def check() -> int:
        children = Path(f"/proc/{place.clat.pid}/task/{place.clat.pid}/children").read_text().split()
        own = (int(pid) for pid in children if b"clatnm.caretaker" in Path(f"/proc/{pid}/cmdline").read_bytes())
        return next((pid for pid in own if _has_unit(pid)), 0)

    return eventually(check, timeout_s=30.0, message="the caretaker has a unit of its own") or 0


def _has_unit(pid: int) -> bool:
    return any(pid in processes(unit) for unit in scopes("clatnm-caretaker*.scope"))


def _kill_daemon(place: Place) -> None:
    first = place.clat.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: place.clat.pid not in (0, first), message="systemd starts it again")
    eventually(lambda: unit_property(SERVICE, "ActiveState") == "active", message="it is ready")
    wait_on(place.clat, UPLINK, timeout_s=60.0)


def _anew(place: Place) -> None:
    """With translators of its own."""
    place.clat.stop()
    eventually(lambda: not scopes(), message="no scope is left")
    place.clat.start()
    wait_on(place.clat, UPLINK, timeout_s=60.0)


@contextlib.contextmanager
def _without_scopes(place: Place) -> Iterator[None]:
    """A daemon that does not know that it is systemd's; then one that does, which has its translators."""
    place.clat.configure("UnsetEnvironment=SYSTEMD_EXEC_PID")
    try:
        _anew(place)
        yield
    finally:
        place.clat.unconfigure()
    place.clat.restart()
    wait_on(place.clat, UPLINK, timeout_s=60.0)
