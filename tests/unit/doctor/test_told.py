# SPDX-License-Identifier: GPL-2.0-or-later
"""What `clatnm doctor` prints and returns; its schema and its document say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from clatnm.cli.main import main
from clatnm.doctor import gather, report
from clatnm.doctor.facts import DaemonState, Facts
from clatnm.doctor.findings import TITLES
from clatnm.errors import ConfigError
from tests.e2e.doctor_faults import FAULTS, table
from tests.unit.doctor.cases import MACHINE, SILENT, a_subject, the_facts
from tests.unit.doctor.tables import SUBJECTS
from tests.unit.policy.worlds import a_world

REPOSITORY = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((REPOSITORY / "docs/schemas/doctor.json").read_text(encoding="utf-8"))
PAGE = (REPOSITORY / "docs/troubleshooting.md").read_text(encoding="utf-8")

WELL = the_facts(a_subject())
ABSENT = the_facts(a_subject(a_world()), machine=replace(MACHINE, daemon=DaemonState.ABSENT, capabilities=None))
WARNED = the_facts(a_subject(), machine=replace(MACHINE, leftovers=("the rule for 192.0.0.4",)))
OF_A_USER = the_facts(a_subject(plat=SILENT), machine=replace(MACHINE, as_root=False))
NOTHING = the_facts()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Facts], None]:
    def set_facts(facts: Facts) -> None:
        async def gathered(wanted: str | None, *, config_dir: Path) -> Facts:
            return facts

        monkeypatch.setattr(gather, "gather", gathered)

    return set_facts


@pytest.mark.parametrize(
    ("facts", "status", "level"),
    [(WELL, 0, "ok"), (ABSENT, 1, "fail"), (WARNED, 0, "warn"), (OF_A_USER, 0, "ok"), (NOTHING, 3, "ok")],
    ids=["well", "absent", "warned", "user", "nothing"],
)
def test_output_is_as_the_schema_says_and_the_status_as_the_level(
    found: Callable[[Facts], None], capsys: pytest.CaptureFixture[str], facts: Facts, status: int, level: str
) -> None:
    found(facts)
    assert main(["doctor", "--json"]) == status
    told: Any = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)
    assert told["level"] == level
    assert (told["cause"] is None) == (level == "ok")


def test_schema_refuses_what_is_not_said() -> None:
    told = report.as_json(report.findings(WELL), WELL)
    for wrong in ({**told, "more": 1}, {**told, "level": "good"}, {k: v for k, v in told.items() if k != "cause"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_schema_knows_every_check() -> None:
    assert SCHEMA["$defs"]["finding"]["properties"]["check"]["enum"] == list(TITLES)


def test_text_says_the_cause_last_with_its_remedy(
    found: Callable[[Facts], None], capsys: pytest.CaptureFixture[str]
) -> None:
    found(ABSENT)
    assert main(["doctor", "wlan0"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  daemon" in out
    assert out.endswith(
        "First of all: daemon: the clatnm daemon does not run\n  → start it\n  $ systemctl enable --now clatnm\n"
    )
    assert "wlan0 “Net of wlan0”" in out


def test_what_was_not_asked_for_one_reason_is_one_line() -> None:
    facts = the_facts(SUBJECTS["off"][0])
    text = report.as_text(report.findings(facts), facts)
    left = len(TITLES) - list(TITLES).index("mode") - 1
    assert f"  -     {left} more        not asked, because of mode\n\nFirst of all: mode on wlan0: " in text
    assert "  ok    other  " not in text


def test_remedy_of_another_warning_stands_beside_it() -> None:
    facts = the_facts(SUBJECTS["narrow"][0], machine=replace(MACHINE, leftovers=("the rule for 192.0.0.4",)))
    text = report.as_text(report.findings(facts), facts)
    assert text.endswith("\n  → have it removed\n  $ clatnm cleanup")
    assert re.search(r"warn  mtu .*\n +→ `mtu = 1300` in .*\n +\$ sed -i ", text)


def test_without_a_connection_nothing_is_said_to_be_well() -> None:
    assert "All is well" not in report.as_text(report.findings(NOTHING), NOTHING)


def test_warning_alone_is_said_to_be_one(found: Callable[[Facts], None], capsys: pytest.CaptureFixture[str]) -> None:
    found(WARNED)
    assert main(["doctor"]) == 0
    assert "Nothing fails. Worth a look: leftovers: " in capsys.readouterr().out


def test_nothing_to_look_at_is_said(found: Callable[[Facts], None], capsys: pytest.CaptureFixture[str]) -> None:
    found(NOTHING)
    assert main(["doctor"]) == 3
    assert capsys.readouterr().err == "there is no connection to look at\n"
    found(replace(NOTHING, interfaces=("eth0", *(f"br{number}" for number in range(6)))))
    assert main(["doctor"]) == 3
    told = "(clatnm doctor INTERFACE looks at one: eth0, br0, br1, br2, br3, …)"
    assert capsys.readouterr().err == f"there is no connection to look at {told}\n"


def test_unknown_connection_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def gathered(wanted: str | None, *, config_dir: Path) -> Facts:
        raise ConfigError(f"there is no active connection '{wanted}'", hint="see: clatnm status")

    monkeypatch.setattr(gather, "gather", gathered)
    assert main(["doctor", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: there is no active connection 'nowhere' (see: clatnm status)\n"


def test_names_without_a_bundle_make_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--with-names"]) == 2
    assert "--with-names is about --bundle" in capsys.readouterr().err


def test_bundle_is_written_beside_the_findings(
    found: Callable[[Facts], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found(WELL)
    path = tmp_path / "help.tar.gz"
    assert main(["doctor", "--bundle", str(path), "--config", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "All is well." in told.out
    written = told.err.removeprefix(f"{path}: ").rstrip().split(", ")
    assert {"findings.json", "findings.txt", "versions.txt"} <= set(written)
    assert path.exists()


def test_document_has_the_table_of_the_faults() -> None:
    assert table() in PAGE


def test_document_names_every_check_in_its_order() -> None:
    rows = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == list(TITLES)
    for check, title in TITLES.items():
        assert f"| `{check}` | {title} |" in PAGE


def test_faults_are_many_and_each_has_a_cure() -> None:
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.check in TITLES
        assert bool(fault.command) != bool(fault.heal and fault.remedy)
