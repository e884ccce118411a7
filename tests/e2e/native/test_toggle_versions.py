# SPDX-License-Identifier: GPL-2.0-or-later
"""All of `tests/e2e/test_toggle.py` with newer NetworkManagers than this machine's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.test_toggle import *  # noqa: F403
from tests.lab import Lab
from tests.lab.fixtures import running_lab


@pytest.fixture(scope="module", params=["trixie", "forky"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from running_lab(request.param)
