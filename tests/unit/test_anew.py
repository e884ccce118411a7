# SPDX-License-Identifier: GPL-2.0-or-later
"""A test that imports modules anew leaves no trace for the next one."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

import clatnm.desktop
from tests.unit.anew import imported_anew

NAME = "clatnm.desktop.bars"


@pytest.mark.parametrize("known", [True, False], ids=["imported-before", "never-imported"])
def test_both_places_of_a_module_are_as_before(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = importlib.import_module(NAME)
    if not known:
        monkeypatch.delitem(sys.modules, NAME)
        monkeypatch.delattr(clatnm.desktop, "bars")
    with imported_anew([NAME], without="nonsense") as modules:
        assert modules[NAME] is not before
        with pytest.raises(ImportError):
            importlib.import_module("nonsense")
    assert "nonsense" not in sys.modules
    there: tuple[ModuleType | None, ModuleType | None] = (
        sys.modules.get(NAME),
        vars(clatnm.desktop).get("bars"),
    )
    assert there == ((before, before) if known else (None, None))
