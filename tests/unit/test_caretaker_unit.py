# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon has to know of its caretaker to have it put into a unit of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clatnm.caretaker import Caretaker


def test_daemon_is_told_when_there_is_one_and_which() -> None:
    heard: list[int] = []
    caretaker = Caretaker(engaged=lambda: heard.append(caretaker.pid))
    assert caretaker.pid == 0
    caretaker.engage()
    try:
        assert heard == [caretaker.pid] and Path(f"/proc/{heard[0]}").exists()
        caretaker.engage()
        assert len(heard) == 1
    finally:
        caretaker.dismiss()
    assert caretaker.pid == 0


def test_nobody_is_told_of_one_that_could_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    heard: list[str] = []
    caretaker = Caretaker(engaged=lambda: heard.append("engaged"))
    caretaker.engage()
    assert (heard, caretaker.pid) == ([], 0)
