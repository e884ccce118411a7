# SPDX-License-Identifier: GPL-2.0-or-later
"""Our devices in the zones of their uplinks, whatever firewalld does meanwhile. On a real bus."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from clatnm.dbus.bus import Bus
from clatnm.firewall import firewalld
from clatnm.firewall.firewalld import Firewalld
from clatnm.firewall.memory import Memory
from tests.unit.aio import run, until
from tests.unit.firewall.fake_firewalld import FakeFirewalld

pytestmark = pytest.mark.usefixtures("private_bus")

OURS = {"clat-eth0": "eth0"}


@asynccontextmanager
async def following(
    fake: FakeFirewalld, *, started: bool = True, memory: Memory | None = None
) -> AsyncIterator[Firewalld]:
    if started:
        await fake.start()
    bus = await Bus.connect()
    ours = Firewalld(memory)
    try:
        await ours.attach(bus)
        yield ours
    finally:
        await ours.close()
        bus.close()
        fake.stop()


async def settled(fake: FakeFirewalld, ours: Firewalld) -> None:
    """Everything that firewalld has said has been looked at."""
    await fake.flush()
    await until(ours._done.is_set)


def test_device_joins_the_zone_of_its_uplink_and_leaves_it() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            ours.want({})
            await until(lambda: "clat-eth0" not in fake.zones)
            assert fake.changes == [("work", "clat-eth0"), ("", "clat-eth0")]

    run(story())


def test_device_leaves_when_clatnm_ends() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            await ours.close()
            assert fake.zones == {"eth0": "work"}

    run(story())


def test_uplink_in_no_zone_leaves_the_device_in_none() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth1="work")
        async with following(fake) as ours:
            ours.want({**OURS, "clat-eth1": "eth1"})
            await until(lambda: fake.zones.get("clat-eth1") == "work")
            assert fake.changes == [("work", "clat-eth1")]

    run(story())


def test_same_wish_again_asks_nothing() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.changes)
            fake.refuse["getZoneOfInterface"] = "org.example.Asked"
            ours.want(dict(OURS))
            await fake.flush()
            assert not ours._again.is_set()
            fake.refuse.clear()

    run(story())


def test_reload_and_restart_are_followed() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            await fake.reload()
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            fake.stop()
            fake.stored = {"eth0": "home"}
            await fake.start()
            await until(lambda: fake.zones.get("clat-eth0") == "home")

    run(story())


def test_device_leaves_after_a_reload_too() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            await fake.reload()
            await settled(fake, ours)
            await ours.close()
            assert fake.zones == {"eth0": "work"}

    run(story())


def test_device_that_a_killed_daemon_left_in_its_zone_leaves_it() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            fake.zones["clat-eth0"] = "work"
            ours.want(OURS)
            await settled(fake, ours)
            assert fake.changes == []
            await ours.close()
            assert fake.zones == {"eth0": "work"}

    run(story())


def test_device_stays_where_it_has_been_stored_meanwhile() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            fake.stored["clat-eth0"] = "work"
            await fake.reload()
            await settled(fake, ours)
            await ours.close()
            assert fake.zones == {"eth0": "work", "clat-eth0": "work"}

    run(story())


def test_restart_while_devices_leave_is_no_end_of_following() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want({**OURS, "clat-a": "eth0", "clat-b": "eth0"})
            await until(lambda: len(fake.zones) == 4)
            fake.on_call = ours._placed.clear  # as when firewalld's end is heard while it answers
            ours.want({})
            await settled(fake, ours)
            fake.on_call = None
            ours.want({"clat-c": "eth0"})
            await until(lambda: fake.zones.get("clat-c") == "work")

    run(story())


def test_firewalld_that_comes_later_is_told() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake, started=False) as ours:
            ours.want(OURS)
            await fake.start()
            await until(lambda: fake.zones.get("clat-eth0") == "work")

    run(story())


@pytest.mark.parametrize("zone", ["home", ""])
def test_uplink_that_is_moved_takes_the_device_along(zone: str) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            await fake.move("eth0", zone)
            await until(lambda: fake.zones.get("clat-eth0", "") == zone)

    run(story())


def test_zone_that_is_stored_for_the_device_stays() -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work", eth1="work", clat_eth0="trusted")
        async with following(fake) as ours:
            ours.want({**OURS, "clat-eth1": "eth1"})
            await until(lambda: fake.zones.get("clat-eth1") == "work")
            await ours.close()
            assert fake.zones == {"eth0": "work", "eth1": "work", "clat-eth0": "trusted"}
            assert ("", "clat-eth0") not in fake.changes

    run(story())


def test_refusal_is_one_warning_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        monkeypatch.setattr(firewalld, "_AGAIN_S", 0.01)
        fake = FakeFirewalld(eth0="work")
        fake.refuse["changeZoneOfInterface"] = "org.fedoraproject.FirewallD1.NotAuthorizedException"
        async with following(fake) as ours:
            with caplog.at_level(logging.WARNING):
                ours.want(OURS)
                await until(lambda: caplog.records)
                ours.want({**OURS, "clat-eth1": "eth1"})
                await until(lambda: not ours._again.is_set())
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            fake.refuse.clear()
            await until(lambda: fake.zones.get("clat-eth0") == "work")

    run(story())


def test_no_firewalld_is_nothing_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        bus = await Bus.connect()
        ours = Firewalld()
        with caplog.at_level(logging.INFO):
            await ours.attach(bus)
            ours.want(OURS)
            await ours.close()
        bus.close()
        assert not caplog.records

    run(story())


def test_end_waits_for_nobody_who_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(firewalld, "_FAREWELL_S", 0.05)
        fake = FakeFirewalld(eth0="work")
        async with following(fake) as ours:
            ours.want(OURS)
            await until(lambda: fake.zones.get("clat-eth0") == "work")
            fake.refuse["removeInterface"] = "org.example.Busy"
            await ours.close()
            assert fake.zones.get("clat-eth0") == "work"

    run(story())
