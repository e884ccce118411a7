# SPDX-License-Identifier: GPL-2.0-or-later
"""A firewalld that answers otherwise than the one we know: complained of once, and asked again."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from clatnm.dbus.bus import Bus
from clatnm.firewall import firewalld
from tests.unit.aio import run, until
from tests.unit.firewall.fake_firewalld import FakeFirewalld
from tests.unit.firewall.test_zones import OURS, following


@pytest.mark.usefixtures("private_bus")
@pytest.mark.parametrize("odd", [[], [5], [["work"]]], ids=["nothing", "number", "list"])
def test_answer_that_is_no_text_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, odd: list[Any]
) -> None:
    monkeypatch.setattr(firewalld, "_AGAIN_S", 0.05)
    call, answers = Bus.call, [odd]

    async def answer(bus: Bus, **asked: Any) -> list[Any]:
        told = await call(bus, **asked)
        return answers.pop() if answers and asked["member"] == "getZoneOfInterface" else told

    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            monkeypatch.setattr(Bus, "call", answer)
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")

    with caplog.at_level(logging.WARNING, logger="clatnm"):
        run(story())
    assert not answers
    assert [record.getMessage() for record in caplog.records] == [
        "firewalld: devices may not be in the zones of their uplinks: firewalld's answer is not understood"
    ]
