# SPDX-License-Identifier: GPL-2.0-or-later
"""In which place of a profile our mode is kept, with which NetworkManager, and that it is in no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clatnm.dbus.bus import Variant
from clatnm.errors import BusError
from clatnm.model import Mode
from clatnm.uplinks import nm_profiles
from clatnm.uplinks.nm_modes import CLAT, MODE_KEY, USER_DATA, modes_from
from clatnm.uplinks.nm_objects import Objects
from clatnm.uplinks.nm_profiles import Outcome, with_mode
from tests.unit.aio import run
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager, variants
from tests.unit.uplinks.recorded import a_device, an_active, profile_path

PATH = profile_path(1)
NATIVE_VERSIONS = ["1.57.2", "1.58.0", "1.60", "2.0.0"]
OLDER_VERSIONS = ["1.42.4", "1.52.1", "1.57.1", ""]


def settings(*, options: tuple[str, ...] | None = None, clat: int | None = None, user: Any = None) -> Any:
    made: Any = variants({"connection": {"id": "Net", "uuid": "uuid-1"}, "ipv4": {"method": "auto"}, "ipv6": {}})
    made["ipv6"]["method"] = Variant("s", "auto")
    if options is not None:
        made["ipv6"]["dns-options"] = Variant("as", list(options))
    if clat is not None:
        made["ipv4"]["clat"] = Variant("i", clat)
    if user is not None:
        made["user"] = {"data": Variant("a{ss}", user)}
    return made


def play(scene: Callable[[FakeNetworkManager], Awaitable[None]], profile: Any, objects: Objects | None = None) -> None:
    async def work() -> None:
        fake = FakeNetworkManager(objects or {}, {})
        fake.profiles[PATH] = profile
        await fake.start()
        await scene(fake)
        fake.stop()

    run(work())


# The settings themselves


EVERYWHERE = settings(options=("clatnm:1", "rotate"), clat=2, user={MODE_KEY: "no", "other.key": "x"})
OURS_ALONE = settings(options=("clatnm:1",), clat=2, user={MODE_KEY: "no"})


@pytest.mark.parametrize("mode", list(Mode))
def test_mode_is_kept_in_user_data_and_nowhere_else(mode: Mode) -> None:
    wanted = settings(options=("rotate",), user={MODE_KEY: str(mode), "other.key": "x"})
    assert with_mode(EVERYWHERE, mode, native=False) == wanted


@pytest.mark.parametrize(("mode", "number"), [(Mode.NO, 0), (Mode.AUTO, 1), (Mode.FORCE, 2)])
def test_mode_is_kept_in_clat_and_nowhere_else(mode: Mode, number: int) -> None:
    wanted = settings(options=("rotate",), clat=number, user={"other.key": "x"})
    assert with_mode(EVERYWHERE, mode, native=True) == wanted
    assert with_mode(wanted, mode, native=True) == wanted


@pytest.mark.parametrize("native", [False, True])
def test_mode_is_removed_from_all_places_and_no_setting_goes_with_it(native: bool) -> None:
    assert with_mode(EVERYWHERE, None, native=native) == settings(options=("rotate",), user={"other.key": "x"})
    # NetworkManager would forget the profile's secrets if the setting `user` went.
    assert with_mode(OURS_ALONE, None, native=native) == settings(user={})
    assert with_mode(settings(), None, native=native) == settings()


def test_empty_places_of_others_stay() -> None:
    # An empty list of DNS options says something: not those that NetworkManager would have taken.
    theirs = settings(options=(), user={})
    assert with_mode(theirs, None, native=False) == theirs


def test_option_in_the_wrong_place_goes_too() -> None:
    wrong = settings()
    wrong["ipv4"]["dns-options"] = Variant("as", ["clatnm:1"])
    assert with_mode(wrong, Mode.NO, native=True) == settings(clat=0)


def test_profile_without_ipv4_settings_has_user_data() -> None:
    port = settings()
    del port["ipv4"], port["ipv6"]
    assert with_mode(port, Mode.NO, native=True) == {**port, "user": {"data": Variant("a{ss}", {MODE_KEY: "no"})}}


def test_what_it_is_given_is_not_changed() -> None:
    given = settings(options=("clatnm:1", "rotate"), clat=2, user={MODE_KEY: "no"})
    with_mode(given, Mode.FORCE, native=True)
    assert given == settings(options=("clatnm:1", "rotate"), clat=2, user={MODE_KEY: "no"})


# NetworkManager


@pytest.mark.parametrize(
    ("version", "place"),
    [*((version, CLAT) for version in NATIVE_VERSIONS), *((version, USER_DATA) for version in OLDER_VERSIONS)],
)
@pytest.mark.usefixtures("private_bus")
def test_mode_goes_where_this_networkmanager_has_a_place_for_it(version: str, place: str) -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.version = version
        assert await nm_profiles.set_mode("Net", Mode.FORCE) == Outcome(uuid="uuid-1", place=place, changed=True)
        assert [(told.source, told.mode) for told in modes_from(fake.profile(PATH))] == [(place, Mode.FORCE)]
        assert not (await nm_profiles.set_mode("Net", Mode.FORCE)).changed
        assert await nm_profiles.set_mode("Net", None) == Outcome(uuid="uuid-1", place="", changed=True)
        assert modes_from(fake.profile(PATH)) == ()
        assert not (await nm_profiles.set_mode("Net", None)).changed
        assert len(fake.updates) == 2

    play(scene, settings())


@pytest.mark.usefixtures("private_bus")
def test_same_mode_in_another_place_moves() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.version = "1.58.0"
        outcome = await nm_profiles.set_mode("Net", Mode.AUTO)
        assert (outcome.place, outcome.changed) == (CLAT, True)
        assert fake.profiles[PATH] == settings(clat=1)

    play(scene, settings(options=("clatnm:1",)))


@pytest.mark.usefixtures("private_bus")
def test_profile_that_changes_meanwhile_is_read_again() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.version_ids[PATH] = 3
        fake.racing = 1
        assert (await nm_profiles.set_mode("Net", Mode.NO)).changed
        assert fake.count("Update2") == 2
        ((_, (_, _, arguments)),) = fake.updates
        assert arguments == {"version-id": Variant("t", 4)}

    play(scene, settings())


@pytest.mark.usefixtures("private_bus")
def test_profile_that_never_stands_still_is_left_alone() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.version_ids[PATH] = 3
        fake.racing = 9
        with pytest.raises(BusError, match="it has changed"):
            await nm_profiles.set_mode("Net", Mode.NO)
        assert (fake.updates, fake.count("Update2")) == ([], 2)

    play(scene, settings())


@pytest.mark.parametrize(
    ("mode", "clat", "translating"),
    [(Mode.NO, "192.0.0.5", ("eth1",)), (Mode.NO, "", ()), (Mode.AUTO, "192.0.0.5", ())],
)
@pytest.mark.usefixtures("private_bus")
def test_own_clat_of_networkmanager_that_goes_on_is_told(mode: Mode, clat: str, translating: tuple[str, ...]) -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.version = "1.58.0"
        assert (await nm_profiles.set_mode("Net", mode)).translating == translating

    play(scene, settings(clat=2), an_active(Uuid="uuid-1") | a_device(clat=clat))


@pytest.mark.usefixtures("private_bus")
def test_networkmanager_without_a_version_is_an_older_one() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.refuse["Get"] = "org.freedesktop.DBus.Error.UnknownProperty"
        assert (await nm_profiles.set_mode("Net", Mode.NO)).place == USER_DATA

    play(scene, settings())
