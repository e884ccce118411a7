# SPDX-License-Identifier: GPL-2.0-or-later
"""Carrying out steps: start, death, update, and what is remembered of each."""

from __future__ import annotations

import asyncio
import errno
import logging
from dataclasses import replace

import pytest

from clatnm.errors import GaveWayError, HostError, TranslatorError
from clatnm.model import Reason, RunState, Start, Update
from clatnm.translators.base import Ended
from tests.unit.aio import settle
from tests.unit.policy.worlds import NOW
from tests.unit.supervised import OTHER, PLAN, WORLD, Stage, play

# Start


def test_started_translator_is_on_only_when_it_runs() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.gates["start"] = asyncio.Event()
        await stage.apply(Start(plan=PLAN))
        assert stage.states() == {"wlan0": RunState.STARTING}
        assert stage.changes == 0
        assert await stage.supervisor.counters(PLAN.key) == {}
        stage.backend.gates["start"].set()
        await settle()
        assert stage.states() == {"wlan0": RunState.ON}
        assert stage.supervisor.running()[PLAN.key].plan == PLAN
        assert stage.changes == 1
        assert await stage.supervisor.counters(PLAN.key) == {"device": "clat-wlan0"}
        assert stage.supervisor.start_ms(PLAN.key) >= 0

    play(scene)


def test_slow_start_of_one_delays_no_other() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.backend.gates["start"] = asyncio.Event()
        await stage.apply(Start(plan=PLAN))
        del stage.backend.gates["start"]
        await stage.apply(Start(plan=OTHER))
        assert stage.states() == {"wlan0": RunState.STARTING, "eth0": RunState.ON}
        gate.set()
        await settle()
        assert stage.states() == {"wlan0": RunState.ON, "eth0": RunState.ON}

    play(scene)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (TranslatorError("the process died", hint="look"), "the process died (look)"),
        (HostError("no /dev/net/tun", errno=2), "no /dev/net/tun"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError('a bug')"),
    ],
)
def test_failed_start_leaves_nothing_but_a_retry(fault: Exception, told: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [fault]
        await stage.apply(Start(plan=PLAN))
        assert stage.states() == {}
        assert stage.changes == 1
        entry = stage.supervisor.retries["wlan0"]
        assert (entry.failures, entry.error, entry.not_before) == (1, told, NOW)

    play(scene)


@pytest.mark.parametrize(
    ("fault", "blamed"),
    [
        (TranslatorError("the programs cannot be loaded"), True),
        (HostError("cannot attach", errno=errno.EINVAL), True),
        (HostError("cannot add the IPv4 default route", errno=errno.EEXIST), False),
        (HostError("the device name is taken", errno=errno.EBUSY), False),
    ],
)
def test_backend_is_blamed_for_its_own_faults_only(fault: Exception, blamed: bool) -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [fault]
        await stage.apply(Start(plan=PLAN))
        entry = stage.supervisor.retries["wlan0"]
        assert entry.refused == ({"tun"} if blamed else set())
        assert entry.failures == 1

    play(scene)


def test_start_that_keeps_failing_is_tried_ever_less() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [TranslatorError("no") for _ in range(8)]
        times: list[float] = []
        while stage.states() != {"wlan0": RunState.ON}:
            before = len(stage.backend.starts)
            await stage.look()
            if len(stage.backend.starts) > before:
                times.append(stage.now - NOW)
            else:
                assert stage.verdict().reason is Reason.BACKING_OFF
                wake = stage.wake()
                assert wake is not None
                stage.now = wake
        assert times == [0, 0, 1, 3, 8, 18, 48, 108, 168]

    play(scene)


# Death


def test_death_restarts_at_once_then_waits() -> None:
    async def scene(stage: Stage) -> None:
        waits: list[float] = []
        for _ in range(5):
            await stage.look()
            assert stage.states() == {"wlan0": RunState.ON}
            stage.now += 1
            stage.backend.alive[0].end(Ended(error="killed by signal 9"))
            await settle()
            assert stage.states() == {}
            entry = stage.supervisor.retries["wlan0"]
            assert entry.error == "killed by signal 9"
            waits.append(entry.not_before - stage.now)
            stage.now = entry.not_before
        assert waits == [0, 1, 2, 5, 10]

    play(scene)


def test_death_after_a_long_run_is_the_first_again() -> None:
    async def scene(stage: Stage) -> None:
        for ran_for_s, failures in ((1, 1), (1, 2), (1, 3), (60, 1), (3600, 1), (59, 2)):
            stage.now = max([stage.now, *(entry.not_before for entry in stage.supervisor.retries.values())])
            await stage.look()
            stage.now += ran_for_s
            stage.backend.alive[0].end(Ended(error="died"))
            await settle()
            assert stage.supervisor.retries["wlan0"].failures == failures

    play(scene)


def test_giving_way_is_no_failure_to_complain_about(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [GaveWayError("somebody else has begun to translate wlan0")]
        await stage.look()
        assert stage.states() == {}
        # It has not been seen yet who came; the next try is at once, but should nobody have come, not for ever.
        waits = []
        for _ in range(3):
            stage.now = max(stage.now, stage.supervisor.retries["wlan0"].not_before)
            await stage.look()
            assert stage.states() == {"wlan0": RunState.ON}
            stage.backend.alive[0].end(Ended(error="somebody else has begun to translate wlan0", gave_way=True))
            await settle()
            waits.append(stage.supervisor.retries["wlan0"].not_before - stage.now)
            assert stage.supervisor.retries["wlan0"].refused == frozenset()
        assert waits == [1, 2, 5]
        assert not [record for record in caplog.records if record.levelno > logging.DEBUG]

    caplog.set_level(logging.DEBUG)
    play(scene)


def test_time_to_start_is_no_time_of_running() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.gates["start"] = asyncio.Event()
        await stage.apply(Start(plan=PLAN))
        stage.now += 3600
        stage.backend.gates["start"].set()
        await settle()
        for _ in range(2):
            stage.backend.alive[0].end(Ended(error="died"))
            await settle()
            await stage.look()
        assert stage.supervisor.retries["wlan0"].failures == 2

    play(scene)


def test_translator_whose_end_cannot_be_told_has_ended() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.alive[0].break_down(HostError("the hook cannot be removed", errno=19))
        await settle()
        assert stage.states() == {}
        assert stage.supervisor.retries["wlan0"].error == "the hook cannot be removed"

    play(scene)


def test_death_of_one_is_nothing_to_another() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN), Start(plan=OTHER))
        next(one for one in stage.backend.alive if one.plan == PLAN).end(Ended(error="died"))
        await settle()
        assert stage.states() == {"eth0": RunState.ON}
        assert set(stage.supervisor.retries) == {"wlan0"}

    play(scene)


def test_collision_takes_the_next_address_at_once() -> None:
    async def scene(stage: Stage) -> None:
        seen = set()
        for collisions in range(1, 4):
            await stage.look()
            (translator,) = stage.backend.alive
            seen.add(translator.plan.clat_v6)
            translator.end(Ended(error="", collision=str(translator.plan.clat_v6)))
            await settle()
            entry = stage.supervisor.retries["wlan0"]
            assert (entry.collisions, entry.failures, entry.not_before) == (collisions, 0, stage.now)
        await stage.look()
        seen.add(stage.backend.alive[0].plan.clat_v6)
        assert len(seen) == 4
        await stage.look()  # and it stays there
        assert len(stage.backend.starts) == 4

    play(scene)


def test_history_is_forgotten_with_the_wish_for_a_clat() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [TranslatorError("no"), TranslatorError("no")]
        await stage.apply(Start(plan=PLAN), Start(plan=OTHER))
        assert set(stage.supervisor.retries) == {"wlan0", "eth0"}
        stage.supervisor.forget_failures(keep={"eth0", "other0"})
        assert set(stage.supervisor.retries) == {"eth0"}

    play(scene)


# Update

LIVE = replace(PLAN, metric=700)


def test_update_changes_the_running_translator() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        (translator,) = stage.backend.alive
        stage.backend.gates["update"] = asyncio.Event()
        await stage.apply(Update(old=PLAN, plan=LIVE))
        assert stage.states() == {"wlan0": RunState.STARTING}
        stage.backend.gates["update"].set()
        await settle()
        assert stage.states() == {"wlan0": RunState.ON}
        assert stage.supervisor.running()[PLAN.key].plan == LIVE
        assert stage.backend.alive == [translator]
        assert translator.plan == LIVE

    play(scene)


@pytest.mark.parametrize("fault", [TranslatorError("does not listen"), HostError("no", errno=1), OSError(5, "a bug")])
def test_failed_update_starts_the_translator_anew(fault: Exception) -> None:
    async def scene(stage: Stage) -> None:
        await stage.look()
        stage.backend.faults["update"] = [fault]
        stage.world = replace(WORLD, advertised_mtus={"wlan0": 1400})
        await stage.look()
        assert stage.states() == {}
        assert stage.backend.alive == []
        assert stage.supervisor.retries["wlan0"].refused == set()
        await stage.look()
        assert stage.states() == {"wlan0": RunState.ON}
        assert stage.backend.alive[0].plan.ipv6_mtu_bytes == 1400

    play(scene)


def test_translator_that_can_never_be_updated_is_started_ever_less() -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["update"] = [HostError("no", errno=1) for _ in range(20)]
        for number in range(20):
            stage.now += 1
            stage.world = replace(WORLD, advertised_mtus={"wlan0": 1300 + number})
            await stage.look()
        assert len(stage.backend.starts) < 6

    play(scene)


@pytest.mark.parametrize("goes_through", [True, False])
def test_death_during_an_update_is_a_death(goes_through: bool) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(Start(plan=PLAN))
        stage.backend.gates["update"] = asyncio.Event()
        await stage.apply(Update(old=PLAN, plan=LIVE))
        stage.backend.alive[0].end(Ended(error="died"))
        await settle()
        assert stage.states() == {}
        stage.backend.faults["update"] = [] if goes_through else [TranslatorError("nobody there")]
        await stage.apply(Start(plan=LIVE))
        stage.backend.gates["update"].set()
        await settle()
        assert stage.states() == {"wlan0": RunState.ON}  # what came of the old one touches the new one not
        assert len(stage.backend.alive) == 1
        assert stage.supervisor.retries["wlan0"].failures == 1

    play(scene)


# Words


def test_failures_are_logged_once_with_what_comes_next(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(stage: Stage) -> None:
        stage.backend.faults["start"] = [TranslatorError("no tun"), TranslatorError("no tun")]
        for _ in range(2):
            await stage.look()
        await stage.look()

    with caplog.at_level(logging.INFO):
        play(scene)
    assert [record.getMessage() for record in caplog.records] == [
        "wlan0: no tun; trying again",
        "wlan0: no tun; next try in 1 s",
    ]
