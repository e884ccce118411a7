# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.pcap_case import Case


@pytest.fixture
def case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Case:
    return Case(tmp_path, capsys)
