# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is typed, the answer is one line and a status, never a traceback."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm import __version__
from clatnm.cli import main as command_line
from clatnm.errors import AlreadyRunningError, BusError, ConfigError, HostError, TranslatorError

VERBS = ("daemon", "status", "set", "translate", "cleanup")
BAD: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "the following arguments are required: VERB"),
    "unknown-verb": (["explode"], "invalid choice: 'explode'"),
    "abbreviated-verb": (["stat"], "invalid choice: 'stat'"),
    "unknown-option": (["--fast", "status"], "unrecognized arguments: --fast"),
    "abbreviated-option": (["status", "--js"], "unrecognized arguments: --js"),
    "status-argument": (["status", "wlan0"], "unrecognized arguments: wlan0"),
    "cleanup-argument": (["cleanup", "-f"], "unrecognized arguments: -f"),
    "set-nothing": (["set"], "which connection, and which mode?"),
    "set-no-mode": (["set", "Home"], "which connection, and which mode?"),
    "set-bad-mode": (["set", "Home", "maybe"], "mode 'maybe' is unknown (one of: auto, force, no, default)"),
    "translate-nothing": (["translate"], "required: --uplink, --plat-prefix"),
    "translate-no-prefix": (["translate", "--uplink", "eth0"], "required: --plat-prefix"),
    "translate-ipv4-prefix": (["translate", "--uplink", "e", "--plat-prefix", "192.0.2.0/24"], "--plat-prefix: "),
    "translate-odd-length": (["translate", "--uplink", "e", "--plat-prefix", "64:ff9b::/97"], "--plat-prefix: "),
    "translate-v4": (
        ["translate", "--uplink", "e", "--plat-prefix", "64:ff9b::/96", "--clat-v4-addr", "1.2.3"],
        "--clat-v4-addr: ",
    ),
    "translate-v6": (
        ["translate", "--uplink", "e", "--plat-prefix", "64:ff9b::/96", "--clat-v6-addr", "1.2.3.4"],
        "or `dedicated`",
    ),
    "translate-backend": (
        ["translate", "--uplink", "e", "--plat-prefix", "64:ff9b::/96", "--backend", "magic"],
        "invalid choice: 'magic'",
    ),
    "two-lines": (["status", "one\ntwo"], "unrecognized arguments: one\N{REPLACEMENT CHARACTER}two"),
    "terminal-control": (["status", "\x1b[2J"], "unrecognized arguments: \N{REPLACEMENT CHARACTER}[2J"),
}


def answer(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Status, standard output and standard error, as the console script would give them."""
    try:
        status = command_line.main(argv)
    except SystemExit as end:
        assert isinstance(end.code, int)
        status = end.code
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize(("argv", "what"), BAD.values(), ids=BAD)
def test_mistake_costs_one_line_and_status_2(argv: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = answer(argv, capsys)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert what in err


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["status", "--js"], "clatnm status"),
        (["status", "wlan0", "eth0"], "clatnm status"),
        (["import-clatd", "a", "b"], "clatnm import-clatd"),
        (["translate"], "clatnm translate"),
        (["--fast", "status"], "clatnm"),
        (["explode"], "clatnm"),
    ],
)
def test_mistake_names_the_help_that_explains_it(
    argv: list[str], program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(argv, capsys)[2].endswith(f" (see: {program} --help)\n")


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["indicator", "--format=--"], "format", "--"),
        (["metrics", "--output=--"], "output", "--"),
        (["plan", "--replay=--", "--json"], "replay", "--"),
        (["set", "--default=--"], "default_mode", "--"),
    ],
)
def test_two_dashes_are_a_value_like_any_other(argv: list[str], name: str, value: str) -> None:
    assert getattr(command_line.parser().parse_args(argv), name) == value


@pytest.mark.parametrize(
    "argv", [["indicator", "--markup=--"], ["translate", "--uplink=--"], ["monitor", "--interval=--"]]
)
def test_two_dashes_are_judged_like_any_other_value(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = answer(argv, capsys)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1


@pytest.fixture
def no_effects(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[argparse.Namespace]]:
    """No verb does anything; the arguments each would have had."""
    seen: list[argparse.Namespace] = []

    def run(arguments: argparse.Namespace) -> int:
        seen.append(arguments)
        return 0

    for verb in command_line._VERBS:
        monkeypatch.setattr(command_line._module(verb), "run", run)
    yield seen


words = st.one_of(
    st.sampled_from([*VERBS, "-v", "--verbose", "--json", "--help", "--version", "--", "-", "--uplink", "eth0"]),
    st.sampled_from(["--plat-prefix", "64:ff9b::/96", "--clat-v6-addr", "dedicated", "--device=", "--backend", "no"]),
    st.text(st.characters(blacklist_characters="\0"), max_size=6),  # no argument holds a NUL; some hold surrogates
)


@given(st.lists(words, max_size=6))
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_random_words_never_end_in_a_traceback(
    no_effects: list[argparse.Namespace], capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    status, out, err = answer(argv, capsys)
    if status == 0:
        assert err == ""
        assert out or no_effects  # help, version, or something to do
    else:
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_option(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = answer([verb, "--help"], capsys)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: clatnm {verb}")


def test_help_lists_the_verbs_and_version_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = answer(["--help"], capsys)
    assert all(verb in out for verb in VERBS)
    assert answer(["--version"], capsys) == (0, f"clatnm {__version__}\n", "")


FAULTS = [
    (ConfigError("/etc/x:3: no", hint="like so"), 2, "error: /etc/x:3: no (like so)\n"),
    (BusError("gone", name="a.b"), 1, "error: gone\n"),
    (HostError("no\nroom", errno=28), 1, "error: no\N{REPLACEMENT CHARACTER}room\n"),
    (TranslatorError("died", status=-9), 1, "error: died\n"),
    (AlreadyRunningError("another one", hint="look"), 1, "error: another one (look)\n"),
    (PermissionError(13, "Permission denied", "/dev/net/tun"), 1, "error: /dev/net/tun: Permission denied\n"),
    (KeyboardInterrupt(), 1, ""),
]


@pytest.mark.parametrize(("fault", "status", "line"), FAULTS, ids=[type(fault).__name__ for fault, _, _ in FAULTS])
def test_fault_is_one_line_and_its_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    status: int,
    line: str,
) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise fault

    monkeypatch.setattr("clatnm.cli.status_.run", run)
    monkeypatch.setattr(command_line, "_abandon_output", lambda: None)
    assert answer(["status"], capsys) == (status, "", line)


# The console script itself, in a process of its own

SCRIPT = """
import json, sys
from clatnm.dbus import service

async def ask(member):
    return json.dumps({"connections": [], "name": "\\u201cCaf\\xe9\\u201d \\u2194"})

service.ask = ask
from clatnm.cli.main import entry
entry()
"""


def script(*argv: str, stdout: int, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *argv],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=20,
        env={**os.environ, **environment},
    )


def test_reader_who_has_had_enough_is_not_bothered() -> None:
    read, write = os.pipe()
    os.close(read)
    result = script("status", "--json", stdout=write)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


def test_full_disk_is_said_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        result = script("status", "--json", stdout=full.fileno())
    assert (result.returncode, result.stderr) == (1, b"error: No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_terminal_that_lacks_our_characters_still_shows_the_rest(encoding: str) -> None:
    result = script("status", "--json", stdout=subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "Caf" in result.stdout.decode(encoding)


def test_verb_is_not_slowed_down_by_the_libraries_of_others() -> None:
    code = "import sys; from clatnm.cli.main import parser; parser(); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert not {"asyncio", "dbus_next", "dbus_fast", "pyroute2", "jinja2", "dns"} & set(loaded.stdout.split())


def test_cleaning_up_after_a_stop_loads_no_translator() -> None:
    """It runs each time that the service has ended."""
    code = "import sys, clatnm.cli.cleanup_, clatnm.translators.leftovers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    loaded = set(done.stdout.split())
    assert "clatnm.translators.leftovers" in loaded
    assert not loaded & {f"clatnm.translators.{name}" for name in ("backends", "ebpf", "tun", "tayga", "device")}
