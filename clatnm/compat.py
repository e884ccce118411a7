# SPDX-License-Identifier: GPL-2.0-or-later
"""The few things newer Pythons have and 3.10 does not, in one place. Every process of ours loads it."""

from __future__ import annotations

import enum
from typing import NoReturn


class StrEnum(str, enum.Enum):
    """`enum.StrEnum` of Python 3.11: members are, compare and format as their value."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


def assert_never(value: NoReturn) -> NoReturn:
    """Close a match over an enum or union; mypy reports any case left out."""
    raise AssertionError(f"unhandled: {value!r}")
