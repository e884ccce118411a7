# SPDX-License-Identifier: GPL-2.0-or-later
"""Which lines of file_contexts are needed for the files that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines import selinux_first


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        ("@/there", True),
        ("@/there(/.*)?", True),
        ("@/there/inside\\.so", True),
        ("@/there/ins.*", True),
        ("@/(other|there)/inside", True),
        ("@/therefore?", False),
        ("@/theres?", True),
        ("@/theres*", True),
        ("@/theres+", False),
        ("@/absent", False),
        ("@/absent/[^/]+", False),
        ("@/there/outside", False),
        ("/.*", True),
        ("/", True),
    ],
)
def test_line_is_needed_if_it_may_be_about_a_file_that_there_is(tmp_path: Path, pattern: str, needed: bool) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/inside.so").touch()
    assert selinux_first.may_match(pattern.replace("@", str(tmp_path))) is needed
