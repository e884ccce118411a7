# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig, and a translator on it, once with each backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from clatnm.kernel.host import Host
from clatnm.translators.backends import available
from tests.e2e.datapath.datacentre import Datacentre
from tests.e2e.datapath.rig import BACKENDS, Clat, Rig, rigged


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """One for a whole module."""
    with rigged() as made:
        yield made


@pytest.fixture(scope="module")
def centre(rig: Rig) -> Iterator[Datacentre]:
    """A data centre on the module's rig."""
    with contextlib.closing(Datacentre(rig)) as made:
        yield made


@pytest.fixture
def own_rig() -> Iterator[Rig]:
    """One for a single test, to break."""
    with rigged() as made:
        yield made


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each way of moving packets; a skip where the machine does not have it."""
    name: str = request.param
    fault = available(Host())[name].probe()
    if fault:
        pytest.skip(f"{name}: {fault}")
    return name


@pytest.fixture(scope="module")
def clat(rig: Rig, backend: str) -> Iterator[Clat]:
    """A translator on the module's rig."""
    running = rig.translate(backend)
    yield running
    running.stop()
