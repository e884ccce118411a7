# SPDX-License-Identifier: GPL-2.0-or-later
"""Playing scenes with routers, and with what is behind them."""

from __future__ import annotations

import pytest

from clatnm.discovery import plat, ra
from tests.unit.aio import run_virtual
from tests.unit.discovery import plats
from tests.unit.discovery.adverts import FakeSocket
from tests.unit.discovery.stage import Play, Scene, Stage


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def on_stage(scene: Scene) -> None:
        async def work() -> None:
            stage = Stage()
            await scene(stage)
            if stage.socket.fileno() >= 0:
                stage.adverts.close()

        run_virtual(work())

    monkeypatch.setattr(ra, "RouterSocket", FakeSocket)
    return on_stage


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> plats.Act:
    def on_stage(scene: plats.Scene) -> None:
        async def work() -> None:
            net = plats.FakeEchoSocket.net = plats.Net()
            stage = plats.Stage(net)
            await scene(stage)
            stage.probe.close()
            assert all(each.closed for each in net.sockets)

        run_virtual(work())

    monkeypatch.setattr(plat, "EchoSocket", plats.FakeEchoSocket)
    return on_stage
