# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults, what `clatnm doctor` has to name first, and what it has to say about it. The table of docs/troubleshooting.md
is made of the same rows."""

from __future__ import annotations

from tests.e2e.doctor_carrying import CARRYING
from tests.e2e.doctor_deciding import DECIDING

FAULTS = (*DECIDING, *CARRYING)


def table() -> str:
    """The rows as docs/troubleshooting.md has them."""
    lines = ["| what is wrong | `clatnm doctor` names | and says |", "|---|---|---|"]
    for row in FAULTS:
        what = row.remedy if row.heal else f"`{row.command}`"
        level = "" if row.level == "fail" else " (warning)"
        lines.append(f"| {row.fault} | `{row.check}`{level} | {what.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"
