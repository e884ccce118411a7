# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance table names vectors and tests that exist, and every RFC section of a vector is an RFC's."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.vectors.vector import load

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs/rfc-conformance.md").read_text()
VECTORS = sorted(set(re.findall(r"`vectors:([^`]+)`", TABLE)) - {"NAME"})
TESTS = sorted(set(re.findall(r"`(test_\w+)`", TABLE)))
DEFINED = {
    name for file in Path(__file__).parent.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
}


@pytest.mark.parametrize("pattern", VECTORS)
def test_vector_in_the_table_exists(pattern: str) -> None:
    assert any(fnmatchcase(vector.name, pattern) for vector in load())


@pytest.mark.parametrize("name", TESTS)
def test_test_in_the_table_exists(name: str) -> None:
    assert name in DEFINED


def test_table_covers_the_translation_requirements() -> None:
    numbers = {
        int(number) for row in TABLE.splitlines() if row.startswith("| R") for number in re.findall(r"R(\d+)", row)
    }
    # R35 is the routing table's
    assert set(range(7, 48)) - {35} <= numbers
