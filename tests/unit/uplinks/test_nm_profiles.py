# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing our mode into a stored profile, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clatnm.dbus.bus import Variant
from clatnm.errors import BusError, ConfigError
from clatnm.model import Mode
from clatnm.uplinks import nm_profiles
from clatnm.uplinks.nm_modes import MODE_KEY, USER_DATA, Profile
from clatnm.uplinks.nm_profiles import Outcome
from tests.unit.aio import run
from tests.unit.private_bus import PrivateBus
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager, variants
from tests.unit.uplinks.recorded import profile_path

pytestmark = pytest.mark.usefixtures("private_bus")

ACCESS_DENIED = "org.freedesktop.DBus.Error.AccessDenied"


def wifi(name: str, uuid: str, *, options: tuple[str, ...] = (), clat: int | None = None, **user: str) -> Profile:
    """As GetSettings tells a Wi-Fi profile: its secrets are left out."""
    settings: dict[str, dict[str, Any]] = {
        "connection": {"id": name, "uuid": uuid, "type": "802-11-wireless", "autoconnect": False},
        "802-11-wireless": {"ssid": [67, 97, 102, 233], "mode": "infrastructure"},
        "802-11-wireless-security": {"key-mgmt": "wpa-psk"},
        "ipv4": {"method": "auto", "address-data": [{"address": "192.0.2.7", "prefix": 24}], "dns-search": []},
        "ipv6": {"method": "auto", "addr-gen-mode": 1},
        "proxy": {},
    }
    if options:
        settings["ipv6"]["dns-options"] = list(options)
    if clat is not None:
        settings["ipv4"]["clat"] = Variant("i", clat)
    if user:
        settings["user"] = {"data": {key.replace("__", "."): value for key, value in user.items()}}
    return settings


HOME, WORK = wifi("Home", "uuid-home"), wifi("Work", "uuid-work", clatnm__mode="no", other__key="kept")
PROFILES = {profile_path(1): HOME, profile_path(2): WORK, profile_path(3): wifi("Twin", "uuid-3")}
PROFILES[profile_path(4)] = wifi("Twin", "uuid-4")


def play(scene: Callable[[FakeNetworkManager], Awaitable[None]]) -> None:
    async def work() -> None:
        fake = FakeNetworkManager({}, PROFILES)
        await fake.start()
        await scene(fake)
        for _ in range(200):  # until the bus has noticed
            if await fake.others() == 0:
                break
        assert await fake.others() == 0
        fake.stop()

    run(work())


@pytest.mark.parametrize("name", ["Home", "uuid-home"])
@pytest.mark.parametrize("mode", list(Mode))
def test_mode_is_added_and_everything_else_stays(name: str, mode: Mode) -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        outcome = await nm_profiles.set_mode(name, mode)
        assert outcome == Outcome(uuid="uuid-home", place=USER_DATA, changed=True)
        stored = fake.profile(profile_path(1))
        assert stored.pop("user") == {"data": {MODE_KEY: str(mode)}}
        assert stored == HOME
        assert all(fake.profile(path) == profile for path, profile in PROFILES.items() if path != profile_path(1))

    play(scene)


def test_mode_is_replaced_and_other_user_data_stays() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        assert (await nm_profiles.set_mode("Work", Mode.FORCE)).changed
        assert fake.profile(profile_path(2))["user"] == {"data": {MODE_KEY: "force", "other.key": "kept"}}

    play(scene)


def test_profile_goes_to_disk_with_its_types_and_without_a_secret() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        await nm_profiles.set_mode("Home", Mode.NO)
        ((path, (settings, flags, arguments)),) = fake.updates
        assert (path, flags, arguments) == (profile_path(1), 0x1, {})
        sent = settings.pop("user")["data"]
        assert sent == Variant("a{ss}", {MODE_KEY: "no"})
        assert settings == variants(HOME)  # signatures too
        # Were there any, NetworkManager would take them for all there are.
        assert fake.count("GetSecrets") == 0
        assert not {"psk", "password", "wep-key0"} & {key for keys in settings.values() for key in keys}

    play(scene)


def test_mode_it_has_already_is_not_written() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        outcome = await nm_profiles.set_mode("Work", Mode.NO)
        assert outcome == Outcome(uuid="uuid-work", place=USER_DATA, changed=False)
        assert fake.updates == []

    play(scene)


def test_setting_twice_changes_once() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        assert (await nm_profiles.set_mode("Home", Mode.NO)).changed
        assert not (await nm_profiles.set_mode("Home", Mode.NO)).changed

    play(scene)


def test_ambiguous_name_is_refused_with_the_uuids() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        with pytest.raises(ConfigError, match=r"^2 connections are named 'Twin' \(use a UUID: uuid-3, uuid-4\)$"):
            await nm_profiles.set_mode("Twin", Mode.NO)
        assert fake.updates == []
        assert (await nm_profiles.set_mode("uuid-4", Mode.NO)).changed
        assert "user" not in fake.profile(profile_path(3))

    play(scene)


@pytest.mark.parametrize("name", ["Nowhere", "", "home", "Hom", "uuid"])
def test_unknown_name_is_refused(name: str) -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        with pytest.raises(ConfigError, match=r"there is no connection '.*' \(see: nmcli connection show\)"):
            await nm_profiles.set_mode(name, Mode.NO)

    play(scene)


def test_name_that_is_another_ones_uuid_means_that_one() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.profiles[profile_path(1)] = variants(wifi("uuid-work", "uuid-home"))
        assert (await nm_profiles.set_mode("uuid-work", Mode.AUTO)).uuid == "uuid-work"
        assert fake.updates[0][0] == profile_path(2)

    play(scene)


def test_profiles_that_may_not_be_read_are_passed_over() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.refuse[f"GetSettings {profile_path(1)}"] = ACCESS_DENIED
        assert (await nm_profiles.set_mode("Work", Mode.AUTO)).changed
        with pytest.raises(ConfigError, match="there is no connection 'Home'"):
            await nm_profiles.set_mode("Home", Mode.AUTO)

    play(scene)


def test_refusal_by_polkit_is_passed_on() -> None:
    async def scene(fake: FakeNetworkManager) -> None:
        fake.refuse["Update2"] = "org.freedesktop.NetworkManager.Settings.PermissionDenied"
        with pytest.raises(BusError, match="refused by the test") as caught:
            await nm_profiles.set_mode("Home", Mode.NO)
        assert caught.value.name.endswith("PermissionDenied")
        assert fake.profile(profile_path(1)) == HOME

    play(scene)


def test_store_that_loses_user_data_is_noticed() -> None:
    # https://github.com/canonical/netplan/pull/615
    async def scene(fake: FakeNetworkManager) -> None:
        fake.forgetful = True
        outcome = await nm_profiles.set_mode("Home", Mode.NO)
        assert outcome == Outcome(uuid="uuid-home", place="", changed=True, kept=False)
        assert fake.profile(profile_path(1)) == HOME

    play(scene)


def test_absent_manager_is_said_in_plain_words() -> None:
    with pytest.raises(BusError, match=r"^NetworkManager does not answer: .* \(is it running\?\)$"):
        run(nm_profiles.set_mode("Home", Mode.NO))


def test_absent_bus_is_a_bus_error(private_bus: PrivateBus) -> None:
    private_bus.kill()
    with pytest.raises(BusError, match="cannot connect to the system bus"):
        run(nm_profiles.set_mode("Home", Mode.NO))
