# SPDX-License-Identifier: GPL-2.0-or-later
"""What hypothesis does in all of these tests: no example fails because the machine has much else to do."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent


def test_no_example_is_timed() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


def test_whoever_passes_over_other_checks_passes_over_slowness_too() -> None:
    """What a test says of its own takes the place of what holds for all."""
    lists = [
        (path.name, ast.unparse(node))
        for path in HERE.rglob("*.py")
        if "HealthCheck." in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.List) and "HealthCheck." in ast.unparse(node)
    ]
    assert lists
    assert [where for where in lists if "HealthCheck.too_slow" not in where[1]] == []
