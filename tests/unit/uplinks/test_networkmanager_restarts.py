# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager, the bus or our connection to it goes and comes back: connections are never missed for a moment."""

from __future__ import annotations

from functools import partial

import pytest

from clatnm.dbus.bus import Bus
from clatnm.model import Mode
from clatnm.uplinks import networkmanager
from clatnm.uplinks.nm_objects import ACTIVE, DEVICE, NM, NM_PATH
from tests.unit.aio import until
from tests.unit.private_bus import PrivateBus
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager, forge
from tests.unit.uplinks.follower import FORGED, ONE, TWO, Follower, play
from tests.unit.uplinks.recorded import (
    a_device,
    active_path,
    added,
    an_active,
    changed,
    device_path,
    profile_path,
    recording,
    removed,
    the_manager,
)

pytestmark = pytest.mark.usefixtures("private_bus")


# Restart of NetworkManager


def test_connections_stay_while_the_manager_is_away_and_starts() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1", "eth2")
        del follower.history[:]
        fake.stop()
        fake.objects = the_manager(startup=True)
        await fake.start()
        await until(lambda: fake.count("GetManagedObjects") == 2)
        # Numbers start over: 1 is now what was 2 before.
        await fake.say(added(an_active(1, device=1, profile=2) | a_device(Interface="eth2", IpInterface="eth2")))
        await until(lambda: [uplink.uuid for uplink in follower.manager.uplinks()] == ["uuid-1", "uuid-1"])
        assert follower.interfaces() == ["eth1", "eth2"]
        await fake.say([changed(NM_PATH, NM, {"Startup": False})])
        await follower.sees("eth2")
        assert [] not in follower.history

    play(scene, TWO)


def test_connection_that_came_while_the_manager_started_stays_when_it_goes() -> None:
    # NetworkManager counts as starting as long as it waits for the carrier of any device.
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        del follower.history[:]
        fake.stop()
        fake.objects = {}
        await fake.start()
        await until(lambda: fake.count("GetManagedObjects") == 2)
        await follower.has_heard()
        assert follower.interfaces() == ["eth1"]
        assert [] not in follower.history

    play(scene, ONE | the_manager(startup=True))


def test_restart_as_recorded_is_not_felt() -> None:
    before, (stop, start) = recording("nm-1.42.4-restart")

    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("up0")
        del follower.history[:]
        await fake.say(stop.signals)
        await follower.has_heard()
        fake.stop()
        fake.objects = {}
        await fake.start()
        await fake.say(start.signals)
        await until(lambda: fake.count("GetSettings", profile_path(3)))
        await follower.has_heard()
        await follower.sees("up0")
        assert set(map(tuple, follower.history)) == {("up0",)}

    play(scene, before)


def test_profile_that_takes_its_time_after_a_restart_is_waited_for() -> None:
    before, (stop, start) = recording("nm-1.42.4-restart")

    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await until(partial(follower.has_modes, up0=Mode.FORCE))
        del follower.history[:]
        await fake.say(stop.signals)
        fake.stop()
        fake.objects = {}
        fake.hold("GetSettings")
        await fake.start()
        await fake.say(start.signals)  # NetworkManager has finished starting before it answers us
        await until(lambda: fake.count("GetSettings", profile_path(3)))
        await follower.has_heard()
        assert follower.modes == {"up0": Mode.FORCE}
        await fake.release("GetSettings")
        await until(partial(follower.has_modes, up0=None))  # the user has changed it meanwhile
        assert [] not in follower.history

    play(scene, before, p2="force")


def test_manager_that_only_seemed_to_stop_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networkmanager, "_LEAVING_S", 0.01)

    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1", "eth2")
        await fake.say([removed(device_path(2), DEVICE)])
        await follower.sees("eth1")
        await fake.say(added(a_device(2, active=2)))
        await follower.sees("eth1", "eth2")

    play(scene, TWO)


def test_quick_restarts_leave_what_the_last_one_says() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        for number in (2, 3, 4):
            fake.stop()
            fake.objects = the_manager() | an_active(number, device=number) | a_device(number, active=number)
            await fake.start()
        await follower.sees("eth4")

    play(scene)


# Death of the bus


def test_connections_stay_when_the_bus_dies_and_are_never_missed_when_it_is_back(private_bus: PrivateBus) -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1", "eth2")
        del follower.history[:]
        private_bus.kill()
        await follower.buses[0].closed()
        assert follower.interfaces() == ["eth1", "eth2"]
        private_bus.start()
        await fake.start()
        await follower.attach()
        await until(lambda: fake.count("GetSettings") == 4)
        await until(lambda: follower.modes == {"eth1": Mode.NO, "eth2": None})
        assert follower.history
        assert all(told == ["eth1", "eth2"] for told in follower.history)

    play(scene, TWO, p1="no")


def test_only_our_connection_dies_and_nothing_is_missed() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        del follower.history[:]
        follower.buses[0].close()
        await fake.say(added(an_active(2, device=2, profile=2) | a_device(2, active=2)))
        await follower.attach()
        await follower.sees("eth1", "eth2")
        assert all("eth1" in told for told in follower.history)

    play(scene)


def test_old_bus_has_nothing_to_say_any_more() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        await follower.attach()
        await follower.sees("eth1")
        del follower.history[:]
        await fake.say([removed(active_path(1), ACTIVE)])
        await follower.sees()
        await follower.has_heard()
        assert follower.history == [[]]  # heard over both, taken from one

    play(scene)


def test_manager_gone_when_the_bus_is_back(private_bus: PrivateBus) -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        private_bus.kill()
        await follower.buses[0].closed()
        private_bus.start()
        # The new bus begins to count anew, so somebody else has the name that was NetworkManager's.
        stranger = await Bus.connect()
        assert stranger._connection.unique_name == fake.unique_name
        await follower.attach()
        await forge(stranger, follower.unique_name, *FORGED["properties"])
        await follower.has_heard()
        assert follower.interfaces() == ["eth1"]
        del follower.history[:]
        stranger.close()
        await fake.start()
        await until(lambda: follower.history[-1:] == [["eth1"]] and fake.count("GetSettings") == 2)

    play(scene)
