# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm notify` and `clatnm indicator` as processes: status, one line for a mistake, and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clatnm.cli.main import main
from clatnm.dbus import service
from clatnm.errors import BusError, NoDaemonError
from tests.lab.poll import eventually
from tests.unit.desktop import desktop_told as told
from tests.unit.private_bus import PrivateBus

CLATNM = (sys.executable, "-c", "from clatnm.cli.main import entry; entry()")


def clatnm(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLATNM, *argv],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


# notify


@pytest.fixture
def notifying(
    private_bus: PrivateBus, session_bus: PrivateBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> subprocess.Popen[str]:
    """`clatnm notify` that has begun: a second one says so."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    process = subprocess.Popen([*CLATNM, "notify"], stderr=subprocess.PIPE, text=True)

    def has_begun() -> str:
        names = ["dbus-send", f"--bus={session_bus.address}", "--print-reply", "--dest=org.freedesktop.DBus"]
        done = subprocess.run(
            [*names, "/", "org.freedesktop.DBus.ListNames"], capture_output=True, text=True, check=False
        )
        assert "org.clatnm1.Notify" in done.stdout, done
        return done.stdout

    eventually(has_begun, message="it has its name")
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it(notifying: subprocess.Popen[str], number: signal.Signals) -> None:
    notifying.send_signal(number)
    _, err = notifying.communicate(timeout=20)
    assert (notifying.returncode, err) == (0, "")


def test_second_one_has_nothing_to_do(notifying: subprocess.Popen[str]) -> None:
    done = clatnm("notify")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "notifications of clatnm are made in this session already\n"
    notifying.terminate()
    notifying.communicate(timeout=20)


def test_end_of_the_session_is_said_in_one_line(notifying: subprocess.Popen[str], session_bus: PrivateBus) -> None:
    session_bus.kill()
    _, err = notifying.communicate(timeout=20)
    assert (notifying.returncode, err) == (1, "error: the session bus went away (the session has ended?)\n")
    session_bus.start()


@pytest.mark.parametrize("address", ["", "unix:path=/nonexistent", "nonsense", "tcp:host=x,port=y"])
def test_without_a_session_bus_one_line_says_so(tmp_path: Path, address: str) -> None:
    done = clatnm("notify", DBUS_SESSION_BUS_ADDRESS=address, XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "session bus" in done.stderr
    assert done.stderr.count("\n") == 1


# indicator


@pytest.fixture
def daemon_says(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(member: str) -> str:
        assert member == "Status"
        return json.dumps(told.status(told.on(name="A & B"), told.native(**told.OFFICE)))

    monkeypatch.setattr(service, "ask", ask)


LINES = {
    "words": ((), "NAT64"),
    "format": (("--format", "{name}: {text}"), "A & B: NAT64"),
    "markup": (("--format", "{name}: {text}", "--markup", "pango"), "A &amp; B: NAT64"),
    "only": (("--only", "nat64,none"), "NAT64"),
    "only-others": (("--only", "none"), ""),
}


@pytest.mark.parametrize(("options", "line"), LINES.values(), ids=LINES)
@pytest.mark.usefixtures("daemon_says")
def test_indicator_is_one_line(options: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["indicator", *options]) == 0
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize(("option", "key"), [("--waybar", "class"), ("--json", "state")])
@pytest.mark.usefixtures("daemon_says")
def test_indicator_in_json(option: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["indicator", option]) == 0
    assert json.loads(capsys.readouterr().out)[key] == "nat64"


def test_daemon_that_does_not_run_is_a_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(member: str) -> str:
        raise NoDaemonError("the clatnm daemon does not run")

    monkeypatch.setattr(service, "ask", ask)
    assert main(["indicator"]) == 0
    assert capsys.readouterr().out == "no clatnm\n"


@pytest.mark.parametrize("answer", ["", "{", None], ids=repr)
def test_answer_without_sense_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str | None
) -> None:
    async def ask(member: str) -> str:
        if answer is None:
            raise BusError("cannot connect to the system bus: no answer")
        return answer

    monkeypatch.setattr(service, "ask", ask)
    assert main(["indicator"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


MISTAKES = {
    "format": (("--format", "{nmae}"), "--format: {nmae} is unknown"),
    "only": (("--only", "nat64,nothing"), "--only: state 'nothing' is unknown (one of: nat64, native, "),
    "two-forms": (("--json", "--waybar"), "not allowed with"),
    "markup": (("--markup", "html"), "invalid choice"),
}


@pytest.mark.parametrize(("options", "what"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_status_2(options: tuple[str, ...], what: str) -> None:
    done = clatnm("indicator", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert what in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("private_bus")
def test_following_ends_with_the_bar() -> None:
    process = subprocess.Popen([*CLATNM, "indicator", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"no clatnm\n"
    process.stdout.close()
    assert process.wait(timeout=20) == 1
    assert process.stderr.read() == b""
    process.stderr.close()
