# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of metrics share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clatnm.daemon import Daemon
from tests.unit.metrics.a_daemon import asked


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What `clatnm status --json` would print."""
    (told,) = asked(monkeypatch, tmp_path, Daemon.status)
    return dict(told)
