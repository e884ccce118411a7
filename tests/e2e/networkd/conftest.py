# SPDX-License-Identifier: GPL-2.0-or-later
"""A host of systemd-networkd, with the daemon: `--lab-root forky` says whose networkd it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.daemon import Daemon
from tests.lab.fixtures import managed_by_networkd
from tests.lab.lab import Lab
from tests.lab.networkd import Networkd
from tests.lab.poll import eventually


@pytest.fixture
def networkd(clean_lab: Lab, request: pytest.FixtureRequest) -> Iterator[Networkd]:
    """networkd in NetworkManager's place; no link is managed yet."""
    clean_lab.host.dad(False)
    with managed_by_networkd(clean_lab, request.node) as running:
        yield running


@pytest.fixture
def daemon(clean_lab: Lab, networkd: Networkd) -> Daemon:
    started = clean_lab.host.daemon("-v")
    eventually(started.status, message="the daemon answers")
    return started
