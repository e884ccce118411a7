# SPDX-License-Identifier: GPL-2.0-or-later
"""What an earlier daemon has put into zones leaves them, also if that daemon was killed. On a real bus."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clatnm.dbus.bus import Bus
from clatnm.firewall.firewalld import Firewalld, release
from clatnm.firewall.memory import Memory
from tests.unit.aio import run, until
from tests.unit.firewall.fake_firewalld import FakeFirewalld
from tests.unit.firewall.test_zones import OURS, following, settled

pytestmark = pytest.mark.usefixtures("private_bus")

KILLED, NEXT = "1 pidfs 1", "2 pidfs 2"


def written(place: Path) -> bool:
    return place.exists()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "translators/zones"


async def placed_by_one_that_is_killed(fake: FakeFirewalld, place: Path) -> None:
    await fake.start()
    bus = await Bus.connect()
    killed = Firewalld(Memory(place, KILLED))
    await killed.attach(bus)
    killed.want(OURS)
    await until(lambda: fake.zones.get("clat-eth0") == "work")
    assert killed._work is not None
    killed._work.cancel()
    bus.close()


def test_successor_keeps_what_it_still_wants_where_it_is(place: Path) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        await placed_by_one_that_is_killed(fake, place)
        async with following(fake, started=False, memory=Memory(place, NEXT)) as ours:
            await fake.flush()
            ours.want(OURS)
            await settled(fake, ours)
            assert fake.changes == [("work", "clat-eth0")], "it is in there all the time"
        assert fake.zones == {"eth0": "work"}
        assert not written(place)

    run(story())


def test_successor_takes_out_what_is_gone(place: Path) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        await placed_by_one_that_is_killed(fake, place)
        async with following(fake, started=False, memory=Memory(place, NEXT)) as ours:
            ours.want({})
            await settled(fake, ours)
            assert fake.zones == {"eth0": "work"}
            assert not written(place)

    run(story())


def test_successor_that_ends_before_it_wants_anything_takes_it_out_too(place: Path) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        await placed_by_one_that_is_killed(fake, place)
        async with following(fake, started=False, memory=Memory(place, NEXT)):
            pass
        assert fake.zones == {"eth0": "work"}

    run(story())


def test_what_firewalld_has_forgotten_is_forgotten(place: Path) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        await placed_by_one_that_is_killed(fake, place)
        fake.stop()
        async with following(fake, started=False, memory=Memory(place, NEXT)):
            assert not written(place)

    run(story())


def test_released_device_leaves_its_zone(place: Path) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        await placed_by_one_that_is_killed(fake, place)
        assert Memory(place, NEXT).read(own=True) == {}, "whose it is"
        zones = Memory(place, KILLED).read(own=True)
        assert zones == {"clat-eth0": "work"}
        await release(zones)
        assert fake.zones == {"eth0": "work"}
        fake.stop()

    run(story())


def test_successor_is_the_owner_from_then_on(place: Path) -> None:
    async def story() -> None:
        fake = FakeFirewalld(eth0="work")
        await placed_by_one_that_is_killed(fake, place)
        async with following(fake, started=False, memory=Memory(place, NEXT)):
            assert Memory(place, KILLED).read(own=True) == {}
            assert Memory(place, NEXT).read(own=True) == {"clat-eth0": "work"}

    run(story())


def test_file_is_for_its_owner_alone(place: Path) -> None:
    old = os.umask(0)
    try:
        Memory(place, KILLED).write({"clat-eth0": "work"})
    finally:
        os.umask(old)
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "text", ["", "[]", "5", '{"owner": "1 pidfs 1"}', '{"owner": 1, "zones": []}', '{"owner": "", "zones": {"a": 1}}']
)
def test_what_is_not_understood_is_nothing(place: Path, text: str) -> None:
    place.parent.mkdir()
    place.write_text(text)
    assert Memory(place, KILLED).read() == {}


def test_where_nothing_can_be_written_all_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Memory(tmp_path / "file/zones", KILLED).write({"clat-eth0": "work"})
    assert Memory(tmp_path / "file/zones", KILLED).read() == {}


def test_it_is_whole_or_not_there(place: Path) -> None:
    Memory(place, KILLED).write({"clat-eth0": "work"})
    assert json.loads(place.read_text()) == {"owner": KILLED, "zones": {"clat-eth0": "work"}}
    assert os.listdir(place.parent) == ["zones"]
