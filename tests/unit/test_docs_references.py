# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents refer to is there: tests, checks of whole machines, headings; and every claim refers to one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documented import MARKDOWN, REPOSITORY

DOCS = REPOSITORY / "docs"
NAMED_TEST = re.compile(r"\[`(test_\w+)`\]\(([^)#]+)\)")
NAMED_CHECK = re.compile(r"`(\w+)` in \[tests/machines\]\(([^)#]+)\)")
ANCHOR = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

each_document = pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(REPOSITORY)))


def slugs(text: str) -> set[str]:
    """The anchors that GitHub and GitLab make of headings."""
    titles = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "")).strip().lower().replace(" ", "-") for title in titles}


def missing(text: str, place: Path, pattern: re.Pattern[str]) -> Iterator[str]:
    """Names that are not defined as functions in the file that is linked."""
    for name, target in pattern.findall(text):
        file = place.parent / target
        defined = file.read_text(encoding="utf-8") if file.is_file() else ""
        if not re.search(rf"^\s*(?:async )?def {name}\(", defined, re.MULTILINE):
            yield f"{name} is not in {target}"


@each_document
def test_tests_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [*missing(text, path, NAMED_TEST), *missing(text, path, NAMED_CHECK)] == []


def test_name_of_no_test_is_noticed() -> None:
    text = "[`test_nothing_of_the_kind`](test_docs_references.py), [`test_name_of_no_test_is_noticed`](nowhere.py)"
    assert len(list(missing(text, Path(__file__), NAMED_TEST))) == 2
    good = "[`test_name_of_no_test_is_noticed`](test_docs_references.py)"
    assert list(missing(good, Path(__file__), NAMED_TEST)) == []


@each_document
def test_anchor_is_a_heading(path: Path) -> None:
    wrong = []
    for target, anchor in ANCHOR.findall(path.read_text(encoding="utf-8")):
        file = path.parent / target if target else path
        if file.suffix == ".md" and anchor not in slugs(file.read_text(encoding="utf-8")):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


def test_anchors_are_made_as_where_they_are_read() -> None:
    assert slugs("## Why is there no IPv4?\n```\n# no heading\n```\n### `org.clatnm1`, and more\n") == {
        "why-is-there-no-ipv4",
        "orgclatnm1-and-more",
    }


def rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each row of each table, with the table's head."""
    head = ""
    for line in text.splitlines():
        if not line.startswith("|"):
            head = ""
        elif not head:
            head = line
        elif not re.match(r"\|[-|: ]+\|$", line):
            yield head, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_bound_names_what_tries_it() -> None:
    bounds = [cells for head, cells in rows((DOCS / "security.md").read_text(encoding="utf-8")) if "tried by" in head]
    assert len(bounds) > 40
    assert [cells[0] for cells in bounds if "`test_" not in cells[1] and "](" not in cells[1]] == []


def test_every_claim_about_ourselves_names_a_test_or_a_page() -> None:
    claims = [cells for head, cells in rows((DOCS / "comparison.md").read_text(encoding="utf-8")) if "| clatd" in head]
    assert len(claims) > 25
    assert [cells[0] for cells in claims if "](" not in cells[1]] == []


def test_every_link_by_reference_has_a_target() -> None:
    text = (DOCS / "comparison.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\]\[([\w-]+)\]", text))
    assert used == set(re.findall(r"^\[([\w-]+)\]: https://", text, re.MULTILINE))
