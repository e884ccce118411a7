# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm.dbus over either library, as if the other were not installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from tests.unit.anew import imported_anew
from tests.unit.dbus.rooms import MODULES, Room


@pytest.fixture(params=["dbus_next", "dbus_fast"])
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    library: str = request.param
    other = "dbus_fast" if library == "dbus_next" else "dbus_next"
    try:
        importlib.import_module(f"{library}.aio")
    except (ImportError, AttributeError):  # missing, or too old for this Python
        pytest.skip(f"needs {library}")
    with imported_anew([f"clatnm.dbus.{name}" for name in MODULES], without=other) as modules:
        found = Room(library, *modules.values())
        assert any(base.__module__.startswith(library) for base in found.bus.MessageBus.__mro__)
        yield found
