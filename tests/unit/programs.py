# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of other packages that a test runs."""

from __future__ import annotations

import shutil

import pytest

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def need(program: str, package: str) -> str:
    """The program's path; skips, with the reason, where it is not installed."""
    found = shutil.which(program, path=PATH)
    if found is None:
        pytest.skip(f"needs {program} (package {package})")
    return found
