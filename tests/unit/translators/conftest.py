# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that device translators are brought up on."""

from __future__ import annotations

import pytest

from clatnm.kernel import tun
from clatnm.translators import bringup, device
from clatnm.translators.process import WorkerProcess
from tests.unit.translators.fake_machine import PLAN, FakeMachine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    fake = FakeMachine()
    monkeypatch.setattr(tun, "open_tun", fake.open_tun)
    monkeypatch.setattr(bringup, "sends_large", lambda name: {PLAN.interface: True, "ppp0": False}[name])
    monkeypatch.setattr(device, "open_packet_socket", fake.open_packets)
    monkeypatch.setattr(device, "join_solicited_node", fake.join)
    monkeypatch.setattr(device, "refilter", fake.refilter)
    monkeypatch.setattr(WorkerProcess, "spawn", fake.spawn)
    return fake
