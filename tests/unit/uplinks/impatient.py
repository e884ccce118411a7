# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody who does not wait long for those who keep silent, and for all others as long as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clatnm.dbus.bus import Bus


def soon_tired(monkeypatch: pytest.MonkeyPatch, silent: Callable[[str], bool]) -> None:
    """Calls of members that are `silent` just now end soon; an answer may take as long as the machine takes."""
    usual = Bus.call

    async def call(self: Bus, *, member: str, **options: Any) -> list[Any]:
        if silent(member):
            options["timeout_s"] = 0.05
        return await usual(self, member=member, **options)

    monkeypatch.setattr(Bus, "call", call)
