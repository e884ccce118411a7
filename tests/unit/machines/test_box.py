# SPDX-License-Identifier: GPL-2.0-or-later
"""Boxes, as far as they go without one: tests/machines/test_privileges.py has some."""

from __future__ import annotations

import pytest

from tests.machines import box, container, needs


@pytest.mark.parametrize("arguments", [[], ["bookworm"], ["somewhere", "true"]])
def test_wrong_arguments_are_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert box.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_no_box_without_a_unified_hierarchy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "missing", lambda: None)
    monkeypatch.setattr(container, "_hierarchy", lambda: None)
    assert box.why_not("bookworm") == "no unified cgroup hierarchy is mounted"


def test_no_box_where_there_are_no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "missing", lambda: "needs root")
    assert box.why_not("bookworm") == "needs root"
