# SPDX-License-Identifier: GPL-2.0-or-later
"""Notifications on real buses, with both libraries: once, in place, and whoever comes and goes."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

import pytest

from clatnm.desktop.memory import MemoryFile
from clatnm.errors import AlreadyRunningError, BusError
from tests.unit.aio import run, until
from tests.unit.desktop import desktop_told as told
from tests.unit.desktop.desks import Daemon, Desk, Server

WORKS = "IPv4 works here through NAT64"
NO_NAT64 = "This network has no IPv4 and no NAT64"
EVIL = "</b><a href='x'>&\x1b[2J\n"


async def asked_again(daemon: Daemon, times: int = 4) -> None:
    """Let some time pass as the notifier counts it: it has looked at what the daemon says, and again."""
    target = daemon.asked + times
    await until(lambda: daemon.asked >= target)


async def shows(server: Server, *titles: str) -> None:
    """These were shown, one after the other, and nothing else."""
    await until(lambda: len(server.made) >= len(titles))
    assert server.titles == list(titles)
    assert server.faults == []


def test_network_is_told_once_whatever_is_started_anew(desk: Desk) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.server() as server:
            for _ in range(2):
                async with desk.notifying():
                    await shows(server, WORKS)
                    await until(desk.told.exists)  # else nobody could know the next time
                    await asked_again(daemon)
                    await shows(server, WORKS)
            (note,) = server.made
            assert note.body == "“Cafe” has IPv6 only. clatnm translates (64:ff9b::/96) for programs that need IPv4."
            assert note.hints == {"urgency": 0, "category": "network.connected"}

    run(work())


def test_signal_that_comes_before_the_bus_answers_ends_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees our name on the bus may send one at once."""
    stray: list[int] = []

    async def connect() -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(desk.notifier.Bus, "connect_session", connect)
    before = signal.signal(signal.SIGTERM, lambda number, _: stray.append(number))
    try:
        run(desk.notifier.serve(MemoryFile(None)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stray == []


def test_another_session_is_told_again(desk: Desk) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()):
            async with desk.server() as first, desk.notifying():
                await shows(first, WORKS)
            desk.session.kill()
            desk.session.start()
            async with desk.server() as second, desk.notifying():
                await shows(second, WORKS)

    run(work())


def test_next_state_takes_the_place_of_the_last_and_no_lie_stays(desk: Desk) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.server() as server, desk.notifying():
            await shows(server, WORKS)
            daemon.says(told.without_nat64())
            await shows(server, WORKS, NO_NAT64)
            assert [note.title for note in server.seen.values()] == [NO_NAT64]
            daemon.says(told.on())
            await until(lambda: not server.seen)
            await shows(server, WORKS, NO_NAT64)

    run(work())


def test_left_network_is_no_longer_shown(desk: Desk) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.server() as server, desk.notifying():
            await shows(server, WORKS)
            daemon.says()
            await until(lambda: not server.seen)
            daemon.says(told.on(**told.OFFICE))
            await shows(server, WORKS, WORKS)

    run(work())


def test_notification_that_the_user_has_closed_does_not_come_back(desk: Desk) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.server() as server, desk.notifying():
            await shows(server, WORKS)
            server.seen.clear()
            daemon.says(told.native())
            await asked_again(daemon, 10)
            daemon.says(told.without_nat64())
            await shows(server, WORKS, NO_NAT64)

    run(work())


def test_daemon_that_comes_and_goes_changes_nothing(desk: Desk) -> None:
    async def work() -> None:
        async with desk.server() as server, desk.notifying():
            async with desk.daemon(told.on()):
                await shows(server, WORKS)
            async with desk.daemon(told.on()) as daemon:
                await asked_again(daemon)
                await shows(server, WORKS)
                daemon.says(told.without_nat64())
                await shows(server, WORKS, NO_NAT64)

    run(work())


def test_system_bus_may_die_and_come_back(desk: Desk) -> None:
    async def work() -> None:
        async with desk.server() as server, desk.notifying():
            async with desk.daemon(told.on()):
                await shows(server, WORKS)
                desk.system.kill()
                desk.system.start()
            async with desk.daemon(told.without_nat64()):
                await shows(server, WORKS, NO_NAT64)

    run(work())


def test_without_a_notification_service_it_is_told_when_one_comes(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.notifying():
            await until(lambda: caplog.records)
            await asked_again(daemon)
            async with desk.server() as server:
                await shows(server, WORKS)

    with caplog.at_level(logging.WARNING, logger="clatnm"):
        run(work())
    (record,) = caplog.records
    assert record.getMessage().startswith("no notification can be shown: ")


def test_another_notification_service_is_not_told_numbers_of_the_last(desk: Desk) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.notifying():
            async with desk.server() as first:
                await shows(first, WORKS)
                # A service that goes before its answer is heard has shown nothing as far as anybody knows.
                await until(desk.told.exists)
            async with desk.server(first=100) as second:
                daemon.says(told.without_nat64())
                await shows(second, NO_NAT64)
                assert list(second.seen) == [100]

    run(work())


@pytest.mark.parametrize("fault", ["refuse", "nonsense"])
def test_service_that_fails_is_tried_again_when_another_comes(desk: Desk, fault: str) -> None:
    async def work() -> None:
        async with desk.daemon(told.on()) as daemon, desk.notifying():
            async with desk.server(**{fault: True}) as first:
                await asked_again(daemon, 10)
                assert first.made == []
            async with desk.server() as second:
                await shows(second, WORKS)

    run(work())


@pytest.mark.parametrize("markup", [True, False])
def test_name_of_a_network_is_nothing_but_a_name(desk: Desk, markup: bool) -> None:
    async def work() -> None:
        async with desk.daemon(told.on(name=EVIL)), desk.server(markup=markup) as server, desk.notifying():
            await shows(server, WORKS)
            name = "&lt;/b&gt;&lt;a href='x'&gt;&amp;�[2J�" if markup else "</b><a href='x'>&�[2J�"
            assert server.made[0].body.startswith(f"“{name}” has IPv6 only.")

    run(work())


@pytest.mark.parametrize("answer", ["", "{", "[]", "7", '{"connections": 7}', '{"connections": [7, {}]}'])
def test_daemon_that_makes_no_sense_is_borne(desk: Desk, answer: str) -> None:
    async def work() -> None:
        async with desk.daemon() as daemon, desk.server() as server, desk.notifying():
            daemon.said = answer
            await asked_again(daemon)
            daemon.says(told.on())
            await shows(server, WORKS)

    run(work())


def test_what_cannot_be_kept_is_told_nevertheless(desk: Desk) -> None:
    async def work() -> None:
        (desk.directory / "notify").write_text("in the way")
        async with desk.daemon(told.on()) as daemon, desk.server() as server, desk.notifying():
            await shows(server, WORKS)
            await asked_again(daemon)
            await shows(server, WORKS)

    run(work())


# The whole service


async def serving(desk: Desk) -> Any:
    task = asyncio.ensure_future(desk.notifier.serve(MemoryFile(None)))
    bus = await desk.bus.Bus.connect_session()

    async def owned() -> bool:
        reply = await bus.call(
            destination="org.freedesktop.DBus",
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member="NameHasOwner",
            signature="s",
            body=[desk.notifier.NAME],
        )
        return bool(reply[0])

    while not await owned():
        assert not task.done(), task
    bus.close()
    return task


def test_second_one_in_a_session_ends_at_once(desk: Desk) -> None:
    async def work() -> None:
        first = await serving(desk)
        with pytest.raises(AlreadyRunningError, match="in this session already"):
            await desk.notifier.serve(MemoryFile(None))
        first.cancel()
        await asyncio.wait({first})

    run(work())


def test_it_ends_with_its_session(desk: Desk) -> None:
    async def work() -> None:
        task = await serving(desk)
        desk.session.kill()
        with pytest.raises(BusError):
            await task
        desk.session.start()

    run(work())


@pytest.mark.parametrize("moment", ["_identity", "Notifier"])
def test_session_that_ends_while_it_begins_is_said_alike(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whoever sees our name there may end the session at once."""
    usual = getattr(desk.notifier, moment)

    def killed_first(*arguments: Any, **options: Any) -> Any:
        desk.session.kill()
        return usual(*arguments, **options)

    monkeypatch.setattr(desk.notifier, moment, killed_first)
    with pytest.raises(BusError, match="the session bus went away"):
        run(desk.notifier.serve(MemoryFile(None)))
    desk.session.start()


def test_without_a_session_there_is_nothing_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        with pytest.raises(BusError, match="session bus"):
            await desk.notifier.serve(MemoryFile(None))

    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    run(work())
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(desk.directory))
    run(work())


def test_session_bus_is_found_where_systemd_has_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        bus = await desk.bus.Bus.connect_session()
        bus.close()

    place = desk.directory / "a b,c"
    place.mkdir()
    (place / "bus").symlink_to(desk.session.address.partition("path=")[2].partition(",")[0])
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    run(work())
