# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that runs on while its files become another version's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm import bpf
from clatnm.translators import hooks


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the programs are that are installed."""
    monkeypatch.setattr(bpf, "TABLE", tmp_path / "clat.json")
    hooks.programs.cache_clear()
    hooks.fingerprint.cache_clear()
    yield tmp_path / "clat.json"
    hooks.programs.cache_clear()
    hooks.fingerprint.cache_clear()


def built(*, config_size: int) -> str:
    """Without any program."""
    order = {"byte_order": sys.byteorder, "programs": {}, "maps": {}, "config_size": config_size}
    return json.dumps({sys.byteorder: order})


def test_programs_are_those_that_it_began_with(table: Path) -> None:
    """Those of another version want another configuration."""
    table.write_text(built(config_size=8))
    first = hooks.programs()
    table.write_text(built(config_size=16))
    assert first is not None
    assert first.config_size == 8
    assert hooks.programs() == first
    mine = hooks.fingerprint()
    hooks.programs.cache_clear()
    hooks.fingerprint.cache_clear()
    assert hooks.fingerprint() != mine, "the next daemon has the others"
