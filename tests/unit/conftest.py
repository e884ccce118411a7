# SPDX-License-Identifier: GPL-2.0-or-later
"""What the unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.private_bus import PrivateBus

# An example may take as long as the machine takes that has much else to do: none of these tests is about time.
settings.register_profile("clatnm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clatnm")


@pytest.fixture
def private_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    """The system bus of this test and of every process it starts."""
    bus = PrivateBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    yield bus
    bus.kill()
