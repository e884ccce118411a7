# SPDX-License-Identifier: GPL-2.0-or-later
"""What verbs make of the answers of another version's daemon, or of one gone mad: one line, never a traceback."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm import config, trace
from clatnm.cli import import_clatd_
from clatnm.cli.main import main
from clatnm.daemon import Daemon
from clatnm.dbus import service
from clatnm.errors import BusError
from clatnm.monitor import rates
from clatnm.uplinks import nm_profiles
from tests.unit.cli.test_fuzz_arguments import answer, assert_is_an_answer
from tests.unit.metrics.a_daemon import a_busy_world, asked
from tests.unit.odd import json_values, mutated
from tests.unit.policy.worlds import NOW

COMMANDS = {
    "status": ("Status", ["status"]),
    "status-json": ("Status", ["status", "--json"]),
    "metrics": ("Status", ["metrics"]),
    "metrics-names": ("Status", ["metrics", "--names", "--format", "prometheus"]),
    "explain": ("Explain", ["explain", "wlan0"]),
    "explain-json": ("Explain", ["explain", "--json", "wlan0"]),
    "set": ("Status", ["set", "eth1", "no"]),
    "import-clatd": ("Status", ["import-clatd", "--connection", "wlan0", "clatd.conf"]),
    "indicator": ("Status", ["indicator"]),
    "indicator-json": ("Status", ["indicator", "--json"]),
    "indicator-format": ("Status", ["indicator", "--markup", "pango", "--format", "{name} {text} {state}"]),
    "plan": ("World", ["plan"]),
    "plan-json": ("World", ["plan", "--json"]),
}
NOT_UNDERSTOOD = "the daemon's answer is not understood (is it of another version? systemctl restart clatnm)"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What this version's daemon answers."""
    status, explained = asked(monkeypatch, tmp_path, Daemon.status, lambda daemon: daemon.explain("wlan0"))
    return {"Status": status, "Explain": explained, "World": json.loads(trace.line(a_busy_world(), NOW))}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Nothing but a daemon that answers with the texts in this dictionary."""
    told: dict[str, str] = {}

    async def ask(member: str, *_: str) -> str:
        return told.get(member, "")

    async def away(*_: Any) -> None:
        raise BusError("NetworkManager does not answer")

    monkeypatch.setattr(service, "ask", ask)
    monkeypatch.setattr(nm_profiles, "set_mode", away)
    monkeypatch.setattr(config, "CONFIG_DIR", tmp_path / "etc")
    monkeypatch.setattr(import_clatd_, "_uplink", lambda: "eth0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clatd.conf").write_text("clat-dev = clat9\n")
    return told


FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize(("member", "argv"), COMMANDS.values(), ids=COMMANDS)
def test_answer_of_this_version_is_understood(
    answers: dict[str, Any], alone: dict[str, str], capsys: pytest.CaptureFixture[str], member: str, argv: list[str]
) -> None:
    alone[member] = json.dumps(answers[member])
    if argv[0] == "set":  # its connection is NetworkManager's, who is away
        assert answer(argv, capsys) == (1, "error: NetworkManager does not answer\n")
    else:
        assert main(argv) == 0


@pytest.mark.parametrize(("member", "argv"), COMMANDS.values(), ids=COMMANDS)
def test_changed_answer_has_an_answer(
    answers: dict[str, Any], alone: dict[str, str], capsys: pytest.CaptureFixture[str], member: str, argv: list[str]
) -> None:
    @settings(deadline=None, max_examples=150, suppress_health_check=FIXTURES)
    @given(mutated(answers[member]))
    def check(odd: Any) -> None:
        alone[member] = json.dumps(odd)
        assert_is_an_answer(*answer(argv, capsys))

    check()


def test_monitor_reads_a_changed_status_or_says_so(answers: dict[str, Any]) -> None:
    @settings(deadline=None, max_examples=300, suppress_health_check=FIXTURES)
    @given(mutated(answers["Status"]))
    def check(odd: Any) -> None:
        with contextlib.suppress(BusError):
            rates.sample(json.dumps(odd), at=NOW)

    endless = json.loads(json.dumps(answers["Status"]).replace('"slow": 2', '"slow": Infinity'))
    assert endless != answers["Status"]
    with pytest.raises(BusError):
        rates.sample(json.dumps(endless), at=NOW)
    check()


@pytest.mark.parametrize(("member", "argv"), COMMANDS.values(), ids=COMMANDS)
def test_any_text_has_an_answer(
    alone: dict[str, str], capsys: pytest.CaptureFixture[str], member: str, argv: list[str]
) -> None:
    @settings(deadline=None, max_examples=60, suppress_health_check=FIXTURES)
    @given(st.one_of(st.text(max_size=30), json_values().map(json.dumps), st.just("[" * 100_000)))
    def check(text: str) -> None:
        alone[member] = text
        assert_is_an_answer(*answer(argv, capsys))

    check()


@pytest.mark.parametrize("argv", [["status"], ["explain", "wlan0"], ["metrics"]], ids=lambda argv: argv[0])
def test_answer_that_is_none_is_named(
    alone: dict[str, str], capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    alone.update({"Status": '{"connections": {}}' if argv[0] == "metrics" else "[1]", "Explain": '[{"x": 1}]'})
    assert answer(argv, capsys) == (1, f"error: {NOT_UNDERSTOOD}\n")


@pytest.mark.parametrize("key", ["../../x", "a/b", ""])
def test_no_file_is_written_under_a_name_that_is_a_path(
    alone: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    told = {"interface": "eth1", "name": "eth1", "uuid": key, "manager": ""}
    alone["Status"] = json.dumps({"connections": [told]})
    assert answer(["set", "eth1", "no"], capsys) == (1, "error: NetworkManager does not answer\n")
    assert not (tmp_path / "etc").exists()
