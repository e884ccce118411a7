# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of versions and scenarios, out of what pytest reports."""

from __future__ import annotations

import pytest

from tests.e2e import networkd_matrix, nm_matrix
from tests.e2e.matrix import Matrix, merged
from tests.lab.system import REPOSITORY

FAULTS = "tests.e2e.test_faults"


def report(*tests: str) -> str:
    return f"<testsuites><testsuite>{''.join(tests)}</testsuite></testsuites>"


def entry(name: str, version: str | None = None, inside: str = "", module: str = FAULTS) -> str:
    told = f'<properties><property name="networkmanager" value="{version}"/></properties>' if version else ""
    return f'<testcase classname="{module}" name="{name}">{told}{inside}</testcase>'


SKIPPED = '<skipped message="needs a radio"/>'
FAILED = '<failure message="AssertionError: 1"/>'
ABOVE = f"# NetworkManager\n\nWritten by hand.\n\n{nm_matrix.MATRIX.mark}"


def rows(**reports: str) -> list[list[str]]:
    """The cells of the page's table; without its rule."""
    lines = nm_matrix.MATRIX.rewritten(ABOVE, reports).splitlines()
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in found if set(row[0]) != {"-"}]


def test_each_version_has_a_column_and_each_module_a_row() -> None:
    head, faults = rows(
        forky=report(entry("test_a", "1.58.1"), entry("test_b", "1.58.1", FAILED)),
        machine=report(entry("test_a", "1.9.4"), entry("test_b", "1.9.4")),
    )
    assert head == ["scenario", "1.9.4", "1.58.1"]
    assert faults[0].startswith("[Restarts, lost buses")
    assert faults[0].endswith("](../tests/e2e/test_faults.py)")
    assert faults[1:] == ["2 passed", "**1 of 2 failed**"]


def test_modules_that_are_run_again_replace_what_was_known_of_them() -> None:
    leaving = "tests.e2e.test_leaving"
    before = report(
        entry("test_a", "1.9.4", FAILED), entry("test_gone", "1.9.4"), entry("test_b", "1.9.4", module=leaving)
    )
    told = merged(before, report(entry("test_a", "1.9.4"), entry("test_new", "1.9.4", SKIPPED)))
    assert [row[1:] for row in rows(machine=told)[1:]] == [["1 passed, 1 not here"], ["1 passed"]]
    assert [(case.name, case.outcome) for case in nm_matrix.MATRIX.cases("machine", told)] == [
        ("test_b", "passed"),
        ("test_a", "passed"),
        ("test_new", "skipped"),
    ]


def test_test_that_never_had_a_lab_belongs_to_the_version_of_its_run() -> None:
    reports = {
        "trixie": report(entry("test_a", "1.52.1"), entry("test_b", None, SKIPPED)),
        "native": report(entry("test_c[trixie]", None, '<error message="no"/>'), entry("test_d[trixie]", "1.52.1")),
    }
    assert rows(**reports)[1][1] == "**1 of 4 failed**"
    told = nm_matrix.MATRIX.rewritten(ABOVE, reports)
    assert "- Failed: `test_faults::test_c[trixie]` (1.52.1)\n" in told
    assert "- Not here: needs a radio (1.52.1)\n" in told


def test_what_is_not_here_is_counted_apart() -> None:
    tests = report(entry("test_a", "1.52.1"), entry("test_b", "1.52.1", SKIPPED))
    assert rows(trixie=tests)[1][1] == "1 passed, 1 not here"


def test_text_above_the_table_stays_and_an_older_table_goes() -> None:
    first = nm_matrix.MATRIX.rewritten(ABOVE, {"machine": report(entry("test_a", "1.42.4"))})
    second = nm_matrix.MATRIX.rewritten(first, {"machine": report(entry("test_a", "1.44.0"))})
    assert second.startswith(ABOVE)
    assert "1.42.4" not in second


def test_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="has no line"):
        nm_matrix.MATRIX.rewritten("# NetworkManager\n", {})


def test_unknown_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert nm_matrix.MATRIX.main(["bookwurm"]) == 2
    assert capsys.readouterr().err.startswith("error: no such run: bookwurm (")


@pytest.mark.parametrize("matrix", [nm_matrix.MATRIX, networkd_matrix.MATRIX], ids=lambda matrix: matrix.name)
def test_page_has_a_place_for_its_table_and_the_target_there_is(matrix: Matrix) -> None:
    assert matrix.mark in matrix.page.read_text(encoding="utf-8")
    assert f"\n{matrix.target}:" in (REPOSITORY / "Makefile").read_text(encoding="utf-8")
