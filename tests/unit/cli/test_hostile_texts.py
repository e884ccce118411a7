# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have named may hold anything: no verb hands it to a terminal that would obey it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from clatnm import trace
from clatnm.cli.main import main
from clatnm.dbus import service
from clatnm.translators import leftovers
from tests.unit.monitor.readings import answer, off, on
from tests.unit.policy.worlds import NOW, a_link, a_world, an_uplink

# Escape sequences of 7 and of 8 bits, a bell, ends of lines of all kinds, what turns text around, half a character.
HOSTILE = "\x1b]0;x\x07\x9b2J\r\n\x85\u2028\u202e\ud800\x7f%{A1:reboot:}<b>"
QUESTION = {
    "interface": "wlan0",
    "name": "Cafe",
    "uuid": "u",
    "state": "off",
    "explanation": "why",
    "questions": [{"question": "is it?", "answer": "yes"}],
    "evidence": [{"what": "links", "value": "one", "source": "kernel", "age_s": 1}],
    "change": "nothing",
    "decisions": [{"at": "2026-01-01T00:00:00.000+00:00", "text": "wlan0: no CLAT"}],
}
VERBS = (
    *(["status"], ["status", "--json"], ["explain", "x"], ["explain", "x", "--json"], ["metrics", "--names"]),
    *(["indicator"], ["indicator", "--waybar"], ["indicator", "--json"], ["plan"], ["plan", "--json"]),
    *(["indicator", "--format", "{text}{name}{interface}{prefix}{reason}"], ["set", HOSTILE, "x"]),
    *(["indicator", "--markup", "pango", "--format", "{name}"], ["explain", f"--{HOSTILE}"], ["cleanup"]),
)
KEPT = ("at", "state", "answer", "reason", "default_mode")
"""What has to stay what it is, so that it is read at all."""


def hostile(told: Any) -> Any:
    """The same with something hostile in each text."""
    if isinstance(told, dict):
        return {key: item if key in KEPT else hostile(item) for key, item in told.items()}
    if isinstance(told, list):
        return [hostile(item) for item in told]
    return told + HOSTILE if isinstance(told, str) else told


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """It tells what is hostile; its answers by method."""
    name = "wlan0\x1b[2J\x9b"
    world = a_world(a_link(name), uplinks=[replace(an_uplink(name), name=f"Cafe{HOSTILE}", uuid=f"u{HOSTILE}")])
    told = {
        "Status": hostile(json.loads(answer(on(), off("eth0")))),
        "Explain": [hostile(QUESTION)],
        "World": json.loads(trace.line(world, NOW)),
    }

    async def ask(member: str, *_: str) -> str:
        return json.dumps(told[member])

    monkeypatch.setattr(service, "ask", ask)
    monkeypatch.setattr(leftovers, "cleanup", lambda _: [f"the device clat-{HOSTILE}"])
    return told


@pytest.mark.parametrize("argv", VERBS, ids=lambda argv: " ".join(argv[:2]).split("\x1b")[0])
def test_no_verb_prints_what_controls_a_terminal(
    daemon: dict[str, Any], capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    main_status(argv)
    told = capsys.readouterr()
    assert told.out or told.err
    shown = told.out + told.err
    assert {char for char in shown if not char.isprintable()} <= {"\n"}
    assert "bug in clatnm" not in shown


@pytest.mark.parametrize(("verb", "member"), [("status", "Status"), ("explain", "Explain")])
def test_programs_get_every_text_as_it_is(
    daemon: dict[str, Any], capsys: pytest.CaptureFixture[str], verb: str, member: str
) -> None:
    assert main([verb, *(["x"] if verb == "explain" else []), "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == daemon[member]
    assert "\\u202e" in out


def main_status(argv: list[str]) -> int:
    try:
        return main(argv)
    except SystemExit as end:  # argparse's
        return int(end.code or 0)
