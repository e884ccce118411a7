# SPDX-License-Identifier: GPL-2.0-or-later
"""Following NetworkManager over a real bus: reading everything, keeping up, and not believing everybody."""

from __future__ import annotations

from functools import partial

import pytest

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.model import Mode
from clatnm.uplinks import networkmanager
from clatnm.uplinks.nm_objects import ACTIVE, DEVICE, NM, SETTINGS_CONNECTION
from tests.unit.aio import until
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager, forge, variants
from tests.unit.uplinks.follower import FORGED, TWO, Follower, play
from tests.unit.uplinks.impatient import soon_tired
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
)

pytestmark = pytest.mark.usefixtures("private_bus")


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


def test_mode_that_makes_no_sense_is_logged_once_while_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        for _ in range(2):
            await fake.say([removed(active_path(1), ACTIVE)])
            await follower.sees()
            await fake.say(added(an_active()))
            await follower.sees("eth1")
        assert [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()] == [
            "connection 'Net 1': 'perhaps' in user data clatnm.mode is ignored (one of: auto, force, no)"
        ]
        for mode in ("no", "perhaps"):
            fake.profiles[profile_path(1)] = variants(a_profile(mode))
            fake._spawn_updated(profile_path(1))
            await until(lambda mode=mode: follower.has_modes(eth1=Mode.NO if mode == "no" else None))  # type: ignore[misc]
        assert caplog.text.count("is ignored") == 2

    play(scene, p1="perhaps")


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

    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        soon_tired(monkeypatch, lambda member: member in fake.mute)
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
            del follower.history[:]
            await fake.say([updated(profile_path(1))])
            await until(partial(follower.has_modes, eth1=mode))
            assert follower.history  # whoever looks only when told to has looked

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
