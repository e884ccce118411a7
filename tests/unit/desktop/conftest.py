# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm.desktop over either D-Bus library, as if the other were not installed, with two buses and nothing slow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.desktop import teller
from clatnm.desktop.state import Kind
from tests.unit.anew import imported_anew
from tests.unit.desktop.desks import SPEAKING, Desk
from tests.unit.private_bus import PrivateBus


@pytest.fixture
def session_bus(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    """The session bus of this test and of every process it starts."""
    bus = PrivateBus(tmp_path_factory.mktemp("session"))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.address)
    yield bus
    bus.kill()


@pytest.fixture(params=["dbus_next", "dbus_fast"])
def desk(
    request: pytest.FixtureRequest,
    private_bus: PrivateBus,
    session_bus: PrivateBus,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Desk]:
    library: str = request.param
    other = "dbus_fast" if library == "dbus_next" else "dbus_next"
    try:
        importlib.import_module(f"{library}.aio")
    except (ImportError, AttributeError):  # missing, or too old for this Python
        pytest.skip(f"needs {library}")
    with imported_anew(SPEAKING, without=other) as modules:
        found = Desk(
            system=private_bus,
            session=session_bus,
            directory=Path(tmp_path_factory.mktemp("run")),
            modules=modules,
        )
        assert any(base.__module__.startswith(library) for base in found.bus.MessageBus.__mro__)
        for kind in (Kind.NAT64, Kind.NONE):
            monkeypatch.setitem(teller.SETTLED_AFTER_S, kind, 0.05)
        monkeypatch.setattr(teller, "GONE_AFTER_S", 0.3)
        monkeypatch.setattr(teller, "_OTHERWISE_S", 0.05)
        monkeypatch.setattr(found.following, "_PAUSE_S", 0.0)
        yield found
