# SPDX-License-Identifier: GPL-2.0-or-later
"""Following a daemon that changes, goes, comes, and talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count

import pytest

from clatnm.dbus import following as room
from clatnm.errors import BusError
from clatnm.monitor.rates import Sample
from clatnm.monitor.view import following as follow
from tests.unit.aio import run, until
from tests.unit.monitor.readings import off, on
from tests.unit.monitor.served import Served
from tests.unit.private_bus import PrivateBus

NO_DAEMON = "the clatnm daemon does not run (systemctl start clatnm)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, private_bus: PrivateBus) -> None:
    monkeypatch.setattr(room, "_PAUSE_S", 0.0)


class Told:
    """A view that remembers."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.events: list[str] = []

    def sampled(self, now: Sample) -> None:
        self.samples.append(now)
        text = ", ".join(seen.text[0] for seen in now.seen)
        if self.events[-1:] != [text]:
            self.events.append(text)

    def decided(self, text: str) -> None:
        self.events.append(text)

    def absent(self, why: str) -> None:
        self.events.append(why)


@contextlib.asynccontextmanager
async def following(told: Told, *, interval_s: float | None = None) -> AsyncIterator[None]:
    ticks = count(1)
    task = asyncio.ensure_future(follow(told, interval_s=interval_s, clock=lambda: float(next(ticks))).run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


ON, OFF = "wlan0 “Net of wlan0”: CLAT on", "wlan0 “Net of wlan0”: no CLAT: the connection has native IPv4 (native-ipv4)"


def test_daemon_is_waited_for_and_its_changes_are_seen_without_asking_again_and_again() -> None:
    async def scene() -> None:
        told, daemon = Told(), Served(on())
        async with following(told):
            await until(lambda: told.events == [NO_DAEMON])
            await daemon.start()
            await until(lambda: told.events[-1] == ON)
            asked = daemon.asked
            await daemon.change(off("wlan0"), decided="wlan0: no CLAT, \x1b[2J [ret=native-ipv4]")
            await until(lambda: told.events[-1] == OFF)
            assert told.events[-2] == "wlan0: no CLAT, \N{REPLACEMENT CHARACTER}[2J [ret=native-ipv4]"
            assert daemon.asked - asked <= 3
            daemon.stop()
            await until(lambda: told.events[-1] == NO_DAEMON)
            await daemon.start()
            await until(lambda: told.events[-1] == OFF)
            assert told.events.count(NO_DAEMON) == 2
            daemon.stop()

    run(scene())


def test_bus_that_goes_and_comes_is_joined_again(private_bus: PrivateBus) -> None:
    async def scene() -> None:
        told, daemon = Told(), Served(on())
        await daemon.start()
        async with following(told):
            await until(lambda: told.events == [ON])
            private_bus.kill()
            await until(lambda: told.events[1:2] == ["the system bus went away"])
            private_bus.start()
            await daemon.start()
            await until(lambda: told.events[-1] == ON)
            daemon.stop()

    run(scene())


def test_no_bus_to_begin_with_is_an_error(private_bus: PrivateBus) -> None:
    private_bus.kill()
    with pytest.raises(BusError, match="cannot connect to the system bus"):
        run(follow(Told(), interval_s=None, clock=lambda: 0.0).run())


def test_nonsense_is_said_once_and_survived() -> None:
    async def scene() -> None:
        told, daemon = Told(), Served(on())
        daemon.text = '{"connections": 7}'
        await daemon.start()
        async with following(told, interval_s=0.01):
            await until(lambda: daemon.asked > 3)
            assert told.events == ["the daemon's answer makes no sense (is it of another version?)"]
            daemon.text = None
            await until(lambda: told.events[-1] == ON)
        daemon.stop()

    run(scene())


def test_interval_brings_samples_although_nothing_changes() -> None:
    async def scene() -> None:
        told, daemon = Told(), Served(on())
        await daemon.start()
        async with following(told, interval_s=0.01):
            await until(lambda: len(told.samples) >= 4)
            times = [sample.at for sample in told.samples]
            assert times == sorted(set(times))
            assert told.events == [ON]
        daemon.stop()

    run(scene())
