# SPDX-License-Identifier: GPL-2.0-or-later
"""Following NetworkManager over a real bus: reading everything, keeping up, and what happens when either end goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial, partialmethod
from typing import Any

import pytest

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.model import Mode
from clatnm.uplinks import networkmanager
from clatnm.uplinks.networkmanager import NetworkManager
from clatnm.uplinks.nm_objects import ACTIVE, DEVICE, NM, NM_PATH, SETTINGS_CONNECTION, Objects
from tests.unit.aio import run, until
from tests.unit.private_bus import PrivateBus
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager, forge, round_trip, variants
from tests.unit.uplinks.recorded import (
    OWNER,
    a_device,
    a_profile,
    active_path,
    added,
    an_active,
    changed,
    device_path,
    profile_path,
    removed,
    the_manager,
)

pytestmark = pytest.mark.usefixtures("private_bus")

ONE = the_manager() | an_active() | a_device()
TWO = ONE | an_active(2, device=2, profile=2) | a_device(2, active=2)


class Follower:
    """NetworkManager as the daemon has it: what it told at each change, and over which bus."""

    def __init__(self) -> None:
        self.manager = NetworkManager()
        self.history: list[list[str]] = []
        self.buses: list[Bus] = []

    async def attach(self) -> None:
        bus = await Bus.connect()
        self.buses.append(bus)
        await self.manager.attach(bus, self._changed)

    def begin_to_attach(self) -> asyncio.Future[None]:
        """For a NetworkManager that holds back its answer."""
        return asyncio.ensure_future(self.attach())

    def _changed(self) -> None:
        self.history.append(self.interfaces())

    def interfaces(self) -> list[str]:
        return [uplink.interface for uplink in self.manager.uplinks()]

    @property
    def modes(self) -> dict[str, Mode | None]:
        return {uplink.interface: uplink.mode for uplink in self.manager.uplinks()}

    def has_modes(self, **modes: Mode | None) -> bool:
        return self.modes == modes

    async def sees(self, *interfaces: str) -> None:
        await until(lambda: self.interfaces() == list(interfaces))

    async def has_heard(self) -> None:
        """Return when all signals sent so far have arrived."""
        await round_trip(self.buses[-1])

    @property
    def unique_name(self) -> str:
        return str(self.buses[-1]._connection.unique_name)


# What a stranger might say, and how it travels
FORGED: dict[str, tuple[Signal, str, list[Any]]] = {
    "properties": (
        changed(active_path(1), ACTIVE, {"State": 4}),
        "sa{sv}as",
        [ACTIVE, variants({"": {"State": 4}})[""], []],
    ),
    "added": (added(an_active())[0], "oa{sa{sv}}", [active_path(1), variants({ACTIVE: {"State": 4}})]),
}

Scene = Callable[[FakeNetworkManager, Follower], Awaitable[None]]


def play(scene: Scene, objects: Objects = ONE, *, attached: bool = True, **modes: str) -> None:
    """Play a scene with a NetworkManager of `objects`; `modes` by profile (`p1="no"`) are in the user data."""

    async def work() -> None:
        profiles = {profile_path(n): a_profile(modes.get(f"p{n}"), number=n) for n in (1, 2, 3)}
        fake, follower = FakeNetworkManager(objects, profiles), Follower()
        await fake.start()
        if attached:
            await follower.attach()
        await scene(fake, follower)
        fake.stop()
        for bus in follower.buses:
            bus.close()

    run(work())


# Reading everything


def test_attach_reads_connections_and_their_profiles() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1", "eth2")
        assert follower.modes == {"eth1": Mode.NO, "eth2": None}
        assert follower.history[-1] == ["eth1", "eth2"]
        assert fake.count("GetManagedObjects") == 1
        assert fake.count("GetSettings") == 2  # not of profiles that nobody uses

    play(scene, TWO, p1="no")


def test_manager_that_comes_later_is_noticed() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        fake.stop()
        await follower.attach()
        assert follower.interfaces() == []
        await fake.start()
        await follower.sees("eth1")

    play(scene, attached=False)


def test_signals_during_the_reading_are_applied_after_it() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        fake.hold("GetManagedObjects")
        attaching = follower.begin_to_attach()
        await until(lambda: fake.holding("GetManagedObjects"))
        await fake.say(added(an_active(2, device=2, profile=2) | a_device(2, active=2)))
        await fake.say([removed(active_path(1), ACTIVE)])
        await fake.release("GetManagedObjects")  # as it was before
        await attaching
        await follower.sees("eth2")

    play(scene, attached=False)


def test_manager_that_does_not_tell_its_objects_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networkmanager, "_RETRY_S", 0.01)

    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        fake.refuse["GetManagedObjects"] = "org.freedesktop.DBus.Error.UnknownMethod"
        attaching = follower.begin_to_attach()
        await until(lambda: fake.count("GetManagedObjects") > 2)
        fake.refuse.clear()
        await attaching
        await follower.sees("eth1")
        asked = fake.count("GetManagedObjects")
        await fake.say([changed(device_path(1), DEVICE, {"State": 100})])
        await follower.has_heard()
        assert fake.count("GetManagedObjects") == asked

    play(scene, attached=False)


def test_profile_that_cannot_be_read_leaves_the_mode_to_the_default() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        fake.refuse[f"GetSettings {profile_path(2)}"] = "org.freedesktop.NetworkManager.Settings.PermissionDenied"
        await follower.attach()
        await follower.sees("eth1", "eth2")
        assert follower.modes == {"eth1": Mode.FORCE, "eth2": None}

    play(scene, TWO, attached=False, p1="force", p2="no")


def test_connection_is_not_told_before_its_profile_is_known() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        fake.hold("GetSettings")
        await fake.say(added(an_active(2, device=2, profile=2) | a_device(2, active=2)))
        await until(lambda: fake.holding("GetSettings"))
        assert follower.interfaces() == ["eth1"]
        await fake.release("GetSettings")
        await follower.sees("eth1", "eth2")
        assert follower.modes["eth2"] is Mode.NO

    play(scene, p2="no")


def test_profile_that_is_not_told_in_time_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is no permission: the user may have opted out."""
    monkeypatch.setattr(networkmanager, "_RETRY_S", 0.01)
    monkeypatch.setattr(Bus, "call", partialmethod(Bus.call, timeout_s=0.1))

    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        fake.mute.add("GetSettings")
        attaching = follower.begin_to_attach()
        await until(lambda: fake.count("GetSettings") > 2)
        assert follower.interfaces() == []
        fake.mute.clear()
        await attaching
        await until(partial(follower.has_modes, eth1=Mode.NO))

    play(scene, attached=False, p1="no")


# Keeping up


def test_mode_written_into_the_profile_counts_at_once() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        for mode in (Mode.NO, Mode.FORCE, None):
            fake.profiles[profile_path(1)] = variants(a_profile(mode))
            await fake.say([updated(profile_path(1))])
            await until(partial(follower.has_modes, eth1=mode))

    play(scene)


def updated(path: str) -> Signal:
    return Signal(sender=OWNER, path=path, interface=SETTINGS_CONNECTION, member="Updated", body=())


def test_update_while_the_profile_is_being_read_is_read_too() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        fake.hold("GetSettings")
        attaching = follower.begin_to_attach()
        await until(lambda: fake.holding("GetSettings") == 1)
        fake.profiles[profile_path(1)] = variants(a_profile("no"))
        await fake.say([updated(profile_path(1))])
        await until(lambda: fake.holding("GetSettings") == 2)
        await fake.release("GetSettings")
        await attaching
        await until(lambda: follower.modes == {"eth1": Mode.NO})

    play(scene, attached=False)


def test_update_of_a_profile_not_in_use_is_not_our_business() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        await fake.say([updated(profile_path(3))])
        await follower.has_heard()
        assert fake.count("GetSettings", profile_path(3)) == 0

    play(scene)


def test_profile_in_use_again_is_read_again() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        await fake.say([removed(active_path(1), ACTIVE)])
        await follower.sees()
        fake.profiles[profile_path(1)] = variants(a_profile("no"))
        await fake.say([updated(profile_path(1)), *added(an_active())])
        await follower.sees("eth1")
        assert follower.modes == {"eth1": Mode.NO}

    play(scene)


def test_deleted_profile_ends_its_connection_at_once() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        await fake.say([changed(active_path(1), ACTIVE, {"Connection": "/"})])
        await follower.sees()

    play(scene)


def test_burst_of_signals_ends_in_the_right_state() -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        for _ in range(20):
            await fake.say([removed(active_path(1), ACTIVE), *added(an_active())])
            await fake.flush()
        await fake.say([removed(active_path(1), ACTIVE)])
        await follower.sees()

    play(scene)


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


# Strangers on the bus


@pytest.mark.parametrize("what", ["properties", "added", "owner"])
def test_strangers_cannot_speak_for_the_manager_or_the_bus(what: str) -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        stranger = await Bus.connect()
        if what == "owner":
            signal = Signal(sender="", path=names.DBUS_PATH, interface=names.DBUS, member="NameOwnerChanged", body=())
            name = str(stranger._connection.unique_name)
            await forge(stranger, follower.unique_name, signal, "sss", [NM, fake.unique_name, name])
        else:
            await forge(stranger, follower.unique_name, *FORGED[what])
        await follower.has_heard()
        assert follower.interfaces() == ["eth1"]
        assert fake.count("GetManagedObjects") == 1
        # and the real one is still listened to
        await fake.say([removed(active_path(1), ACTIVE)])
        await follower.sees()
        stranger.close()

    play(scene)
