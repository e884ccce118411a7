# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test directory shares: the lab's fixtures and their failure reports."""

from __future__ import annotations

import sys
from pathlib import Path

# `pytest` alone, unlike `python -m pytest`, does not put the repository on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.lab.fixtures import (
    clean_lab,
    lab,
    needs_root,
    own_lab,
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    quick_lab,
)

__all__ = [
    "clean_lab",
    "lab",
    "needs_root",
    "own_lab",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "quick_lab",
]
