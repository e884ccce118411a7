# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's service as shipped, under a real `systemd --user`: off by default, confined, with a session's memory."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
from pathlib import Path

from tests.e2e.clat import wait_on
from tests.lab import poll
from tests.lab.poll import eventually
from tests.machines.inside import Report, be_patient
from tests.machines.payload import REPO
from tests.machines.systemd_place import PROFILE, UPLINK, USER, Place

UNIT = "clatnm-notify.service"
_FIRST_WITH_NAMESPACES = 254
"""The first systemd that makes namespaces for a user's service which did not ask for a user namespace."""
_BY_IT = f"_SYSTEMD_USER_UNIT={UNIT}"
WORKS = "IPv4 works here through NAT64"
# A notification service that takes the specification at its word, and says what it is asked for.
_SERVER = """
import asyncio
from clatnm.dbus import bus
from tests.unit.desktop.desks import SERVICE, Server

class Saying(Server):
    def handle(self, message):
        reply = super().handle(message)
        if message.member in ("Notify", "CloseNotification"):
            number = self.made[-1].number if message.member == "Notify" else message.body[0]
            print(message.member, number, self.made[-1].title, *self.faults, flush=True)
        return reply

async def serve():
    connection = await bus.Bus.connect_session()
    connection._connection.add_message_handler(Saying(bus).handle)
    await connection.own_name(SERVICE)
    await connection.closed()

asyncio.run(serve())
"""


class Session:
    """A user's manager, with a session bus where `connect_session` looks for one without being told."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.runtime = Path(f"/run/user/{pwd.getpwnam(USER).pw_uid}")
        place.here.run("loginctl", "enable-linger", USER)
        eventually(lambda: self.systemctl("is-system-running", "--wait") in ("running", "degraded"), message="it runs")
        self._start("bus", "dbus-daemon", "--session", f"--address=unix:path={self.runtime}/bus", "--nofork")
        eventually((self.runtime / "bus").exists, message="the session bus listens")
        self._start("server", "--working-directory", REPO, "python3", "-c", _SERVER)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """As this user."""
        return self._place.here.as_user("env", f"XDG_RUNTIME_DIR={self.runtime}", f"PWD={REPO}", *argv)

    def systemctl(self, *argv: str) -> str:
        return self.run("systemctl", "--user", *argv).stdout.strip()

    def property(self, name: str, unit: str = UNIT) -> str:
        return self.systemctl("show", "--value", "-p", name, unit)

    def _start(self, unit: str, *argv: str) -> None:
        done = self.run("systemd-run", "--user", "--quiet", "--unit", unit, *argv)
        assert done.returncode == 0, done

    def said(self) -> list[str]:
        """What the notification service was asked for: what, number, title, faults."""
        told = self._place.here.run("journalctl", "-b", "-q", "-o", "json", "_SYSTEMD_USER_UNIT=server.service")
        lines = [str(json.loads(line)["MESSAGE"]) for line in told.stdout.splitlines()]
        return [line for line in lines if line.startswith(("Notify", "CloseNotification"))]

    def log(self) -> str:
        """What the service says, and what is said of it."""
        return self._place.here.run("journalctl", "-b", "-q", "--no-pager", f"USER_UNIT={UNIT}", "+", _BY_IT).stdout

    def report(self) -> str:
        """What to read after a failure."""
        state = self.systemctl("status", "--no-pager", "--lines=0", UNIT, "server.service")
        return f"--- {UNIT}\n{state}\n{self.log()}\n{self.said()}"


def is_sound(session: Session) -> None:
    told = session.run("systemd-analyze", "--user", "verify", "--man=no", f"/usr/lib/systemd/user/{UNIT}")
    about_us = [line for line in (told.stdout + told.stderr).splitlines() if "clatnm" in line]
    assert not about_us, about_us


def is_off_by_default(session: Session) -> None:
    assert session.systemctl("is-enabled", UNIT) == "disabled"
    assert session.property("ActiveState") == "inactive"


def notifies_in_its_sandbox(session: Session) -> None:
    session.systemctl("start", UNIT)
    eventually(lambda: session.said() == [f"Notify 1 {WORKS}"], message="it is told")
    assert session.property("ActiveState") == "active", session.report()
    process = Path(f"/proc/{session.property('MainPID')}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
    assert int(status["CapEff"], 16) == 0
    if int(session.systemctl("--version").split()[1]) >= _FIRST_WITH_NAMESPACES:
        options = {fields[4]: fields[5] for fields in map(str.split, (process / "mountinfo").read_text().splitlines())}
        assert "ro" in options["/"].split(","), options
    assert (session.runtime / "clatnm-notify/told.json").exists(), session.log()


def second_one_has_nothing_to_do(session: Session) -> None:
    done = session.run("timeout", "60", "clatnm", "notify")
    assert done.returncode == 3, done


def restart_tells_nothing_twice(session: Session, place: Place) -> None:
    """Its number is known, too: what is no longer true is taken away."""
    before = session.property("MainPID")
    session.systemctl("restart", UNIT)
    assert session.property("MainPID") != before
    place.here.clatnm("set", PROFILE, "no")
    wanted = [f"Notify 1 {WORKS}", f"CloseNotification 1 {WORKS}"]
    eventually(lambda: session.said() == wanted, message="it is taken away")
    place.here.clatnm("set", PROFILE, "auto")
    wait_on(place.clat, UPLINK, timeout_s=90.0)
    assert session.said() == wanted


def stop_forgets(session: Session) -> None:
    session.systemctl("stop", UNIT)
    assert session.property("Result") == "success", session.log()
    assert not (session.runtime / "clatnm-notify").exists()


def main() -> int:
    be_patient()
    report = Report()
    with Place() as place:
        place.clat.start()
        wait_on(place.clat, UPLINK, timeout_s=90.0)
        session = Session(place)
        poll.diagnoses.append(session.report)
        with report.check("user-unit-is-sound"):
            is_sound(session)
        with report.check("off-by-default"):
            is_off_by_default(session)
        with report.check("notifies-in-its-sandbox"):
            notifies_in_its_sandbox(session)
        with report.check("second-one-has-nothing-to-do"):
            second_one_has_nothing_to_do(session)
        with report.check("restart-tells-nothing-twice"):
            restart_tells_nothing_twice(session, place)
        with report.check("stop-forgets"):
            stop_forgets(session)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
