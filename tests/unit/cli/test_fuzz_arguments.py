# SPDX-License-Identifier: GPL-2.0-or-later
"""Every verb with arguments that somebody might type, at work on files of every kind: one line, never a traceback.

What would change the machine or ask others is taken out: the bus, NetworkManager, the kernel, the translators. All else
is done, in a directory of the test's own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm import byhand, config, planner, trace
from clatnm.cli import import_clatd_, main
from clatnm.dbus import service
from clatnm.errors import BusError, ConfigError, NoDaemonError
from clatnm.kernel import netlink
from clatnm.translators import leftovers
from clatnm.uplinks import nm_profiles
from tests.unit.cli.pcap_case import GOOD, pcap
from tests.unit.policy.worlds import NOW, UUID, a_world

AT_WORK = (
    *("status", "explain", "metrics", "indicator", "plan", "set", "import-clatd", "translate", "pcap", "cleanup"),
)
"""Verbs whose work is done; of the others, the arguments are read."""
FILES = ("capture.pcap", "trace", "clatd.conf", "eam", "noise", "directory", "nothing")
VALUES = (
    *("eth0", "64:ff9b::/96", "2001:db8:64::/96", "64:ff9b::/97", "192.0.0.1", "192.0.2.1", "2001:db8::1", "::"),
    *("192.0.2.1=2001:db8::1", "192.0.2.0/24=2001:db8::/120", "0.0.0.0/0", "auto", "force", "no", "default", "tun"),
    *("dedicated", "shared", "1280", "65536", "-1", "0", UUID, "openmetrics", "prometheus", "-", "--", "", "."),
)
# What can be typed: no zero bytes; what is not UTF-8 comes as half of a character. No slash: it stays in its directory.
typed = st.text(st.characters(blacklist_characters="\0/"), max_size=6)
values = st.one_of(st.sampled_from(VALUES), st.sampled_from(FILES), typed)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory with files of every kind, which is the current one; and nothing else to be changed."""
    for verb in main._VERBS:
        main._module(verb)  # one imported later would keep the directory below as its default
    (tmp_path / "directory").mkdir()
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "CONFIG_DIR", tmp_path / "etc")
    monkeypatch.setattr(import_clatd_, "_CLATD_CONF", "clatd.conf")
    monkeypatch.setattr(import_clatd_, "_uplink", lambda: "eth0")
    monkeypatch.setattr(leftovers, "cleanup", lambda kernel: [])
    monkeypatch.setattr(netlink, "Netlink", contextlib.nullcontext)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))

    async def nothing(*_: Any, **__: Any) -> None:
        return None

    async def nobody(*_: Any, **__: Any) -> None:
        raise ConfigError("there is no such connection")

    monkeypatch.setattr(byhand, "translate", nothing)
    monkeypatch.setattr("clatnm.desktop.follow.follow", nothing)
    monkeypatch.setattr("clatnm.worker.launch.ahead", contextlib.nullcontext)
    monkeypatch.setattr("clatnm.log.setup", lambda **_: None)
    monkeypatch.setattr(nm_profiles, "set_mode", nobody)
    monkeypatch.setattr(planner, "now", nobody)
    for verb in main._VERBS.keys() - set(AT_WORK):
        monkeypatch.setattr(main._module(verb), "run", lambda _: 0)
    return tmp_path


@pytest.fixture(params=["no-daemon", "refusing", "nothing-to-tell"])
def daemon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a daemon answers, if there is one."""
    empty = {"Status": {"connections": [], "static": []}, "Explain": []}

    async def ask(member: str, *_: str) -> str:
        if request.param == "no-daemon":
            raise NoDaemonError("the clatnm daemon does not run", hint="systemctl start clatnm")
        if request.param == "refusing":
            raise BusError("access denied", name="org.freedesktop.DBus.Error.AccessDenied")
        return json.dumps(empty[member]) if member in empty else ""

    monkeypatch.setattr(service, "ask", ask)
    return str(request.param)


def fill(place: Path, noise: bytes, cut: int) -> None:
    """The files as they are before a command; the sound ones end early, or not."""
    sound = {
        "capture.pcap": pcap(GOOD, GOOD),
        "trace": trace.line(a_world(), NOW).encode() + b"\n",
        "clatd.conf": b"plat-prefix = 64:ff9b::/96\nclat-dev = clat\nv6-conncheck-delay=3\n",
        "eam": b"192.0.2.1 2001:db8::1\n",
    }
    for path in place.iterdir():
        if path.is_file():
            path.unlink()
    for name, data in sound.items():
        (place / name).write_bytes(data[:cut] + noise if cut < len(data) else data)
    (place / "noise").write_bytes(noise)


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (each for each in main.parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


@st.composite
def words(draw: st.DrawFn, verb: str) -> list[str]:
    """Arguments of one verb: its own options and others, in any order, with values that suit or do not."""
    actions = [each for each in verbs()[verb]._actions if not isinstance(each, argparse._HelpAction)]
    needed = [each for each in actions if each.required and draw(st.integers(0, 9))]  # mostly
    chosen = [*needed, *draw(st.lists(st.sampled_from(actions or [None]), max_size=4))]
    parts: list[list[str]] = []
    for action in filter(None, chosen):
        value = [] if action.nargs == 0 else [draw(values)]
        if action.option_strings:
            name = draw(st.sampled_from(action.option_strings))
            joined = value and name.startswith("--") and draw(st.booleans())
            parts.append([f"{name}={value[0]}"] if joined else [name, *value])
        else:
            parts.append(value)
    parts += [[extra] for extra in draw(st.lists(values, max_size=1 + (not actions)))[: draw(st.integers(0, 1))]]
    return [word for part in draw(st.permutations(parts)) for word in part]


def answer(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Status and standard error, as the console script would give them."""
    try:
        status = main.main(argv)
    except SystemExit as end:
        assert isinstance(end.code, int)
        status = end.code
    return status, capsys.readouterr().err


def assert_is_an_answer(status: int, err: str) -> None:
    assert status in (0, 1, 2, 3)
    assert "Traceback" not in err
    assert "bug in clatnm" not in err, err
    complaints = [line for line in err.splitlines() if line.startswith("error: ")]
    if status in (1, 2):
        assert len(complaints) == 1, err
        assert err.splitlines()[-1] == complaints[0]


FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("verb", main._VERBS)
def test_any_arguments_have_an_answer(verb: str, place: Path, daemon: str, capsys: pytest.CaptureFixture[str]) -> None:
    @settings(deadline=None, max_examples=60, suppress_health_check=FIXTURES)
    @given(words(verb), st.binary(max_size=40), st.integers(0, 200))
    def check(argv: list[str], noise: bytes, cut: int) -> None:
        fill(place, noise, cut)
        # A capture on standard output is bytes, which nobody here can read.
        if not (verb == "pcap" and argv[-1:] == ["-"]):
            assert_is_an_answer(*answer([verb, *argv], capsys))

    check()


def test_files_of_commands_stay_where_they_belong(place: Path, daemon: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the test above takes for granted: a verb writes below the current directory, and /etc/clatnm is not real."""
    fill(place, b"", 1000)
    before = {path: path.stat().st_mtime_ns for path in Path("/etc").glob("clatnm/**/*")}
    answer(["import-clatd", "--write"], capsys)
    answer(["set", "--default", "no"], capsys)
    assert (place / "etc/clatnm.conf").read_text().count("mode = no") == 1
    assert before == {path: path.stat().st_mtime_ns for path in Path("/etc").glob("clatnm/**/*")}


# The last net


@contextlib.contextmanager
def bug(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Iterator[None]:
    def run(_: argparse.Namespace) -> int:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(main._module("status"), "run", run)
        yield


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("x"), "error: KeyError: 'x' at test_fuzz_arguments.py:"),
        (ValueError("one\ntwo"), "error: ValueError: one\N{REPLACEMENT CHARACTER}two at "),
        (RecursionError(), "error: RecursionError:  at "),
        (OSError(5, "no", 7), "error: no"),
    ],
)
def test_bug_is_one_line_that_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    monkeypatch.delenv("CLATNM_TRACEBACK", raising=False)
    with bug(monkeypatch, error):
        status, err = answer(["status"], capsys)
    assert status == 1
    assert err.startswith(told) and err.count("\n") == 1
    assert ("a bug in clatnm" in err) is not isinstance(error, OSError)


def test_bug_tells_all_to_whoever_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CLATNM_TRACEBACK", "1")
    with bug(monkeypatch, KeyError("x")):
        _, err = answer(["status"], capsys)
    assert err.startswith("Traceback ") and err.splitlines()[-1].startswith("error: KeyError: 'x' at ")
