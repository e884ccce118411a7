# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that was switched on with clatnm installed: nobody has done anything since. And what holds in any network."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from tests.lab.poll import eventually
from tests.machines.boot_first import CLIENT
from tests.machines.clat_service import SERVICE, ClatService, unit_property
from tests.machines.here import journal
from tests.machines.inside import UNIT, UNITS, Report, be_patient, systemctl
from tests.machines.systemd_place import Here, Place

MANAGER, WAIT_ONLINE = "NetworkManager.service", "NetworkManager-wait-online.service"
ONLINE, LOGIN = "network-online.target", "systemd-user-sessions.service"
_SECRET = Path("/var/lib/clatnm/secret")
_GATE = Path("/run/gate")


Check: TypeAlias = Callable[["Booted"], None]


class Booted(Place):
    """Context manager: this guest as it is; the networks belong to another process."""

    def _build(self) -> None:
        self.here, self.clat = Here(self.session), ClatService()

    def _unbuild(self) -> None:
        self.session.close()


def enabled_as_a_package_does(place: Booted) -> None:
    assert systemctl("is-enabled", SERVICE).strip() == "enabled"
    (link,) = Path("/etc/systemd/system").rglob(SERVICE)
    assert (link.parent.name, link.resolve()) == ("multi-user.target.wants", UNIT.resolve()), link


def started_by_the_boot(place: Booted) -> None:
    """Once, without a word of complaint, from nothing."""
    assert unit_property(SERVICE, "ActiveState") == "active"
    assert stamp(SERVICE, "ActiveEnter") <= stamp("multi-user.target", "ActiveEnter") <= stamp("job.service")
    assert unit_property(SERVICE, "NRestarts") == "0"
    no_complaints(place)
    assert not Path("/etc/clatnm").exists()
    assert stat.S_IMODE(_SECRET.stat().st_mode) == 0o600 and stat.S_IMODE(_SECRET.parent.stat().st_mode) == 0o700


def no_complaints(place: Booted) -> None:
    """Neither ours nor systemd's."""
    argv = ["journalctl", "-b", "-q", "--no-pager", "-u", SERVICE, "-p", "warning"]
    complaints = subprocess.run(argv, check=True, text=True, capture_output=True).stdout
    assert not complaints, complaints


def nobody_waits_for_it(place: Booted) -> None:
    """Only the end of the boot comes after it, by the units as they are."""
    assert unit_property(SERVICE, "WantedBy").split() == ["multi-user.target"]
    for name in ("RequiredBy", "BoundBy"):
        assert not unit_property(SERVICE, name), name
    after = _after_all()
    assert MANAGER in _closure(after, WAIT_ONLINE), "the order was not read"
    for unit in (ONLINE, "network.target", WAIT_ONLINE, MANAGER, LOGIN, "systemd-logind.service", "dbus.service"):
        assert unit in after and SERVICE not in _closure(after, unit), unit
    followers = {unit for unit in after if SERVICE in after[unit]}
    assert followers <= {"multi-user.target", "shutdown.target"}, followers


def network_is_online(place: Booted) -> None:
    """What NetworkManager says of this network is what whoever waits for it hears."""
    assert (unit_property(WAIT_ONLINE, "Result"), unit_property(WAIT_ONLINE, "ActiveState")) == ("success", "active")
    assert "startup complete" in journal(MANAGER)
    assert stamp(MANAGER, "ActiveEnter") <= stamp(WAIT_ONLINE, "ActiveEnter") <= stamp(ONLINE, "ActiveEnter")
    assert stamp(ONLINE, "ActiveEnter") <= stamp(CLIENT)


def delays_nobody_when_it_hangs(place: Booted) -> None:
    """The same transaction once more, and clatnm does not get ready: the network is online, and people log in."""
    wanted = f"{SERVICE} {MANAGER} {WAIT_ONLINE} {ONLINE} {LOGIN}"
    (UNITS / "again.target").write_text(f"[Unit]\nWants={wanted}\nAfter={wanted}\n")
    place.clat.configure(
        f"ExecStartPre=/bin/sh -c 'until [ -e {_GATE} ]; do sleep 0.2; done'\nTimeoutStartSec=infinity"
    )
    systemctl("stop", SERVICE, CLIENT, WAIT_ONLINE, ONLINE, MANAGER, LOGIN)
    try:
        systemctl("start", "--no-block", "again.target")
        for unit in (ONLINE, LOGIN):
            eventually(lambda: unit_property(unit, "ActiveState") == "active", timeout_s=30.0, message=unit)  # noqa: B023
        assert unit_property(WAIT_ONLINE, "Result") == "success"
        state = unit_property(SERVICE, "ActiveState"), unit_property("again.target", "ActiveState")
        assert state == ("activating", "inactive"), state
    finally:
        _GATE.touch()
        eventually(lambda: unit_property(SERVICE, "ActiveState") == "active", timeout_s=30.0, message="it starts")
        place.clat.unconfigure()
        _GATE.unlink()


def said_for_people(place: Booted) -> None:
    """How long it took, for people."""
    units = (MANAGER, SERVICE, ONLINE, LOGIN, "multi-user.target")
    print(", ".join(f"{unit} {stamp(unit, 'ActiveEnter') / 1e6:.1f} s" for unit in units), flush=True)
    for line in place.clat.log().splitlines():
        print(line, flush=True)


_ANYWHERE = (
    enabled_as_a_package_does,
    started_by_the_boot,
    nobody_waits_for_it,
    network_is_online,
    said_for_people,
    delays_nobody_when_it_hangs,
)


def run(at_first: Sequence[Check], afterwards: Sequence[Check]) -> int:
    """The job: what a network has for itself, and between that what holds in any. Exit status."""
    be_patient()
    report = Report()
    with Booted() as place:
        for check in (*at_first, *_ANYWHERE, *afterwards, no_complaints):
            with report.check(check.__name__.replace("_", "-")):
                check(place)
    return report.status


def stamp(unit: str, event: str = "InactiveExit") -> int:
    """When it last happened, in microseconds of CLOCK_MONOTONIC. AssertionError when it has not."""
    value = int(unit_property(unit, f"{event}TimestampMonotonic"))
    assert value, f"{unit}: {event} never was"
    return value


def _after_all() -> Mapping[str, frozenset[str]]:
    """Unit → after which it comes."""
    return {name: frozenset(after) for name, after in _shown(systemctl("show", "--all", "-p", "Id,After", "*"))}


def _shown(text: str) -> Iterator[tuple[str, list[str]]]:
    for block in text.split("\n\n"):
        told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in told:
            yield told["Id"], told.get("After", "").split()


def _closure(after: Mapping[str, frozenset[str]], unit: str) -> set[str]:
    found: set[str] = set()
    rest = [unit]
    while rest:
        for earlier in after.get(rest.pop(), frozenset()) - found:
            found.add(earlier)
            rest.append(earlier)
    return found
