# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm.dbus over either library, as if the other were not installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from tests.unit.dbus.rooms import MODULES, Room


@pytest.fixture(params=["dbus_next", "dbus_fast"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    library: str = request.param
    other = "dbus_fast" if library == "dbus_next" else "dbus_next"
    try:
        importlib.import_module(f"{library}.aio")
    except (ImportError, AttributeError):  # missing, or too old for this Python
        pytest.skip(f"needs {library}")
    package = importlib.import_module("clatnm.dbus")
    monkeypatch.setitem(sys.modules, other, None)  # importing it raises ImportError
    for name in MODULES:
        monkeypatch.setattr(package, name, None, raising=False)
        monkeypatch.delitem(sys.modules, f"clatnm.dbus.{name}", raising=False)
    found = Room(library, *(importlib.import_module(f"clatnm.dbus.{name}") for name in MODULES))
    assert any(base.__module__.startswith(library) for base in found.bus.MessageBus.__mro__)
    yield found
    # What was imported here must not stay in place of what monkeypatch restores.
    for name in MODULES:
        sys.modules.pop(f"clatnm.dbus.{name}", None)
