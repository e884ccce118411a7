# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from elsewhere, for a terminal. Every command needs it, so it imports next to nothing."""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """Text from elsewhere on one line and without terminal controls: the name of a Wi-Fi network may hold anything."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def json_text(told: Any, *, indent: int | None = 2) -> str:
    """JSON for people as well: text stays readable, and what would control a terminal is escaped."""
    text = json.dumps(told, indent=indent, ensure_ascii=False)
    # Outside of its strings JSON has nothing but ASCII, and in these control characters below U+0020 are escaped.
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
