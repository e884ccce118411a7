# SPDX-License-Identifier: GPL-2.0-or-later
"""The written schemas of JSON output (docs/schemas), and what a value has that they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

SCHEMAS = Path(__file__).resolve().parents[1] / "docs/schemas"


def schema(name: str) -> dict[str, Any]:
    """`status` → what `status.json` says. It is a schema itself."""
    told: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(told)
    return told


def strict(told: Any) -> Any:
    """The schema, with nothing allowed that it does not name. Readers are to ignore what is new; tests are not."""
    if isinstance(told, list):
        return [strict(item) for item in told]
    if not isinstance(told, dict):
        return told
    closed = {key: strict(item) for key, item in told.items()}
    if isinstance(told.get("properties"), dict) and "type" in told:
        closed.setdefault("additionalProperties", False)
    return closed


def faults(name: str, value: Any) -> list[str]:
    """What is wrong with a value by the schema of that name, one line each."""
    validator = Draft202012Validator(strict(schema(name)), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
