# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's wiring: what it tells the service manager, when it looks, and who is told what."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from clatnm import daemon
from clatnm.errors import BusError
from clatnm.model import Settings
from tests.unit.aio import settle
from tests.unit.policy.worlds import a_candidate, a_world
from tests.unit.wired import Stage, play


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


# The service manager


@pytest.mark.parametrize("slow", ["connecting", "offering"])
def test_daemon_is_ready_only_when_it_can_be_asked(stage: Stage, slow: str) -> None:
    gate: asyncio.Event = getattr(stage, slow)
    gate.clear()

    async def scene(stage: Stage) -> None:
        await asyncio.sleep(3)
        assert stage.observer.looks, "it translates meanwhile"
        assert "READY=1" not in stage.said
        gate.set()
        await settle()
        assert stage.said.index("offered") < stage.said.index("READY=1")

    play(scene, stage)


def test_machine_without_a_bus_is_not_kept_waiting(stage: Stage) -> None:
    stage.refusal = BusError("cannot connect to the system bus")

    async def scene(stage: Stage) -> None:
        assert stage.said.index("without bus") < stage.said.index("READY=1")
        assert stage.backend.alive
        stage.refusal = None
        await asyncio.sleep(2)
        assert stage.said.count("attached") == 1

    play(scene, stage)


def test_bus_that_goes_away_is_joined_again(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        stage.buses[0].close()
        await asyncio.sleep(2)
        assert len(stage.buses) == 4
        assert stage.said.count("attached") == 2
        assert stage.said.count("offered") == 2

    play(scene, stage)


def test_askers_who_end_their_connection_end_that_one_only(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        own, front = stage.buses
        front.close()
        await asyncio.sleep(2)
        assert (len(stage.buses), stage.said.count("attached"), stage.said.count("offered")) == (3, 1, 2)
        own.close()
        await asyncio.sleep(3)
        assert (len(stage.buses), stage.said.count("attached"), stage.said.count("offered")) == (5, 2, 3)

    play(scene, stage)


def test_watchdog_hears_of_a_daemon_that_has_nothing_to_do(stage: Stage) -> None:
    stage.watched_s = watched_s = 30.0

    async def scene(stage: Stage) -> None:
        began, looks = stage.now(), len(stage.observer.looks)
        await asyncio.sleep(120)
        times = [began, *(at for at in stage.said_at if at > began), stage.now()]
        assert max(later - earlier for earlier, later in pairwise(times)) <= watched_s / 2
        assert len(stage.observer.looks) == looks

    stage.settings = Settings(plat_check=False)
    play(scene, stage)


def test_hangup_while_it_starts_is_a_reload(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang_up(_: object) -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    async def scene(stage: Stage) -> None:
        await settle()
        assert "configuration read again" in caplog.text

    monkeypatch.setattr(daemon, "clean_first", hang_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with caplog.at_level(logging.INFO):
            play(scene, stage)
    finally:
        signal.signal(signal.SIGHUP, before)


# When it looks


def test_prefix_that_is_about_to_be_deprecated_is_looked_at_then(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        end = stage.now() + 7
        stage.observer.deprecations = [end]
        stage.observer.changed()
        await settle()
        looks = len(stage.observer.looks)
        await asyncio.sleep(6.9)
        assert len(stage.observer.looks) == looks
        await asyncio.sleep(0.2)
        assert stage.observer.looks[looks:] == [pytest.approx(end)]

    play(scene, stage)


def test_prefix_that_expires_is_looked_at_then(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        end = stage.now() + 30
        stage.world = a_world(prefixes={"wlan0": (a_candidate(expires_at=end),)})
        stage.observer.changed()
        await settle()
        looks = len(stage.observer.looks)
        await asyncio.sleep(30.1)
        assert stage.observer.looks[looks:] == [pytest.approx(end)]

    play(scene, stage)


def test_clock_that_jumps_tells_that_the_machine_has_slept(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        stage.asleep_s = 0.5
        stage.observer.changed()
        await settle()
        assert stage.observer.forgotten == 0, "clocks are read one after the other"
        stage.asleep_s = 300.0
        stage.observer.changed()
        await settle()
        assert stage.observer.forgotten == 1
        stage.observer.changed()
        await settle()
        assert stage.observer.forgotten == 1

    play(scene, stage)


# Who is told


def test_nothing_translates_while_the_machine_sleeps(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        bus, _ = stage.buses
        assert stage.held_up
        stage.backend.gates["stop"] = asyncio.Event()
        bus.say("PrepareForSleep", True)
        await settle()
        assert stage.held_up, "the translator has not ended yet"
        stage.backend.gates["stop"].set()
        await settle()
        assert stage.backend.alive == []
        assert not stage.held_up
        assert stage.observer.probed == [], "nor are PLATs asked"
        stage.observer.changed()
        await settle()
        assert stage.backend.alive == []
        assert stage.observer.forgotten == 0
        bus.say("PrepareForSleep", False)
        await settle()
        assert len(stage.backend.alive) == stage.observer.forgotten == 1
        assert stage.held_up, "the next time as well"
        assert stage.observer.probed

    play(scene, stage)


@pytest.mark.parametrize("plat_check", [True, False])
def test_plat_check_is_told_what_translators_have_counted(stage: Stage, plat_check: bool) -> None:
    stage.settings = Settings(plat_check=plat_check)

    async def scene(stage: Stage) -> None:
        (translator,) = stage.backend.alive
        await asyncio.sleep(21)
        counted = [(translator.plan.key, {"device": translator.plan.device})]
        assert stage.observer.counted == counted * (4 if plat_check else 0)

    play(scene, stage)


def test_process_waits_for_the_first_start(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.waiting == ["process"]

    play(scene, stage)
