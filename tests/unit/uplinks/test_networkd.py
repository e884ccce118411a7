# SPDX-License-Identifier: GPL-2.0-or-later
"""Following systemd-networkd over a real bus: reading when something may have changed, and not believing everybody."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.model import Mode
from clatnm.uplinks import networkd
from clatnm.uplinks.networkd_objects import NETWORKD, NETWORKD_PATH
from tests.unit.aio import run, until
from tests.unit.private_bus import PrivateBus
from tests.unit.uplinks.fake_networkd import LINK, FakeNetworkd, Variant
from tests.unit.uplinks.fake_networkmanager import forge
from tests.unit.uplinks.impatient import soon_tired
from tests.unit.uplinks.networkd_follower import Follower

pytestmark = pytest.mark.usefixtures("private_bus")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networkd, "_RETRY_S", 0.01)
    monkeypatch.setattr(networkd, "_PAUSE_S", 0.001)


Scene = Callable[[FakeNetworkd, Follower], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Play a scene with a networkd that manages up0."""

    def on_stage(scene: Scene, *, attached: bool = True) -> None:
        async def work() -> None:
            fake, follower = FakeNetworkd(), Follower(tmp_path / "network")
            await fake.start()
            await fake.set("up0", NetworkFile=str(tmp_path / "network/up0.network"))
            if attached:
                await follower.attach()
                await follower.sees("up0")
            await scene(fake, follower)
            fake.stop()
            for bus in follower.buses:
                bus.close()
            follower.manager.close()

        run(work())

    return on_stage


# Reading


def test_attach_reads_all_links_with_one_call(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        await fake.set("up1", say=False)
        await fake.set("up2", say=False, AdministrativeState="unmanaged")
        await follower.attach()
        await follower.sees("up0", "up1")
        assert follower.history == [["up0", "up1"]]
        assert fake.described == 1

    play(scene, attached=False)


def test_networkd_that_comes_later_is_noticed_and_never_started(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        fake.stop()
        await follower.attach()
        follower.manager.look_again()
        await follower.has_heard()
        assert follower.interfaces() == []
        assert fake.described == 0
        await fake.start()
        await follower.sees("up0")

    play(scene, attached=False)


def test_any_signal_makes_it_look_again(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        await fake.set("up1")
        await follower.sees("up0", "up1")
        await fake.remove("up0")
        await follower.sees("up1")
        assert follower.history[-1] == ["up1"]

    play(scene)


def test_burst_of_signals_costs_few_readings(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        before = fake.described
        fake.hold()
        await fake.say()
        await until(lambda: fake.holding)
        await fake.set("up1", say=False)
        await fake.say(times=100)
        await follower.has_heard()
        await fake.release()
        await follower.sees("up0", "up1")
        assert fake.described - before == 2

    play(scene)


def test_description_that_is_the_same_is_no_change(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        asked = fake.described
        del follower.history[:]
        follower.manager.look_again()
        await until(lambda: fake.described > asked)
        await fake.set("up1")
        await follower.sees("up0", "up1")
        assert follower.history == [["up0", "up1"]]

    play(scene)


@pytest.mark.parametrize("trouble", ["error", "silence", "garbage"])
def test_networkd_that_does_not_answer_well_is_asked_again(
    trouble: str, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        soon_tired(monkeypatch, lambda member: fake.mute and member == "Describe")
        fake.refuse = "org.freedesktop.DBus.Error.Failed" if trouble == "error" else ""
        fake.mute = trouble == "silence"
        fake.text = "what?" if trouble == "garbage" else None
        asked = fake.described
        await fake.set("up1")
        await until(lambda: fake.described > asked + 2)
        assert follower.interfaces() == ["up0"]
        fake.refuse, fake.mute, fake.text = "", False, None
        await follower.sees("up0", "up1")

    play(scene)


def test_networkd_that_cannot_describe_its_links_is_left_alone(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        fake.refuse = "org.freedesktop.DBus.Error.UnknownMethod"
        with caplog.at_level(logging.WARNING):
            await follower.attach()
            await until(lambda: "does not describe its links" in caplog.text)
        await follower.has_heard()
        assert (fake.described, follower.interfaces()) == (1, [])

    play(scene, attached=False)


# What is told


def test_reconfigured_link_is_never_missed(play: Play) -> None:
    """Taken from `networkctl reconfigure`: AdministrativeState initialized, configuring, configured."""

    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        for state in ("initialized", "configuring", "pending", "configured"):
            asked = fake.described
            await fake.set("up0", AdministrativeState=state)
            await until(lambda asked=asked: fake.described > asked)  # type: ignore[misc]
            await follower.has_heard()
            assert follower.interfaces() == ["up0"]
        await fake.set("up0", AdministrativeState="unmanaged")
        await follower.sees()

    play(scene)


def test_resolvers_and_prefixes_of_a_link_are_kept_up_to_date(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        assert follower.manager.prefixes("up0") == ()
        assert follower.manager.prefixes("up1") is None
        resolver = IPv6Address("2001:db8::53")
        pref64 = {"Prefix": [0, 100, 255, 155] + [0] * 12, "PrefixLength": 96, "LifetimeUSec": 7_000_000}
        await fake.set(
            "up0",
            DNS=[{"Family": 10, "Address": list(resolver.packed), "ConfigSource": "NDisc"}],
            NDisc={"PREF64": [pref64]},
        )
        await until(lambda: follower.manager.uplinks()[0].resolvers == (resolver,))
        (candidate,) = follower.manager.prefixes("up0") or ()
        assert (str(candidate.prefix), candidate.expires_at) == ("64:ff9b::/96", 7.0)

    play(scene)


def test_what_it_manages_is_not_known_before_it_has_been_read(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        assert follower.manager.managed() is None
        await follower.attach()
        await follower.sees("up0")
        assert follower.manager.managed() == {"up0"}

    play(scene, attached=False)


def test_link_it_has_not_decided_about_is_not_free_for_others(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        await fake.set("up1", AdministrativeState="initialized")
        await until(lambda: follower.manager.managed() == {"up0", "up1"})
        assert follower.interfaces() == ["up0"]
        told = len(follower.history)
        await fake.set("up1", AdministrativeState="unmanaged")
        await until(lambda: follower.manager.managed() == {"up0"})
        assert len(follower.history) > told, "whoever waits for it is told"

    play(scene)


@pytest.mark.parametrize("how", ["absent", "old", "without-links"])
def test_networkd_that_manages_nothing_is_told_as_such(play: Play, how: str) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        if how == "absent":
            fake.stop()
        elif how == "old":
            fake.refuse = "org.freedesktop.DBus.Error.UnknownMethod"
        else:
            fake.links.clear()
        await follower.attach()
        await until(lambda: follower.manager.managed() is not None)
        assert follower.manager.managed() == set()
        assert follower.history, "whoever waits for that is told"
        if how == "absent":
            await fake.start()

    play(scene, attached=False)


# Files


def test_mode_written_into_a_drop_in_counts_at_once(play: Play, tmp_path: Path) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        assert follower.modes() == [None]
        asked = fake.described
        del follower.history[:]
        dropin = tmp_path / "network/up0.network.d/50-clatnm.conf"
        for text in ("[X-Clatnm]\nMode=no\n", "[X-Clatnm]\nMode=force\n"):
            dropin.parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / "network/up0.network").touch()
            dropin.write_text(text)
            told = len(follower.history)
            await until(lambda told=told: len(follower.history) > told)  # type: ignore[misc]
        await until(lambda: follower.modes() == [Mode.FORCE])
        dropin.unlink()
        await until(lambda: follower.modes() == [None])
        assert fake.described == asked  # networkd has nothing to do with it

    (tmp_path / "network").mkdir()
    play(scene)


def test_directory_of_files_that_comes_later_is_watched(play: Play, tmp_path: Path) -> None:
    async def scene(_: FakeNetworkd, follower: Follower) -> None:
        del follower.history[:]
        (tmp_path / "network").mkdir()
        (tmp_path / "network/up0.network").write_text("[X-Clatnm]\nMode=no\n")
        await until(lambda: follower.history)
        assert follower.modes() == [Mode.NO]

    play(scene)


def test_files_of_others_wake_nobody(play: Play, tmp_path: Path) -> None:
    async def scene(_: FakeNetworkd, follower: Follower) -> None:
        del follower.history[:]
        (tmp_path / "network/other.network").write_text("[X-Clatnm]\nMode=no\n")
        (tmp_path / "network/up0.network").write_text("[X-Clatnm]\nMode=no\n")
        await until(lambda: follower.modes() == [Mode.NO])
        await until(lambda: follower.history)
        assert len(follower.history) == 1

    (tmp_path / "network").mkdir()
    play(scene)


# Restarts


def test_links_stay_while_networkd_is_away_and_starts(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        del follower.history[:]
        fake.stop()
        await follower.has_heard()
        assert follower.interfaces() == ["up0"]
        await fake.set("up0", say=False, AdministrativeState="pending")
        asked = fake.described
        await fake.start()
        await until(lambda: fake.described > asked)
        await fake.set("up0", AdministrativeState="configured")
        await until(lambda: fake.described > asked + 1)
        assert follower.interfaces() == ["up0"]
        assert [] not in follower.history

    play(scene)


def test_networkd_that_goes_while_it_is_read_is_read_when_it_is_back(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        fake.hold()
        await fake.set("up1")
        await until(lambda: fake.holding)
        fake.stop()
        await fake.start()
        await follower.sees("up0", "up1")

    play(scene)


def test_links_stay_while_the_bus_is_away(play: Play, private_bus: PrivateBus) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        del follower.history[:]
        private_bus.kill()
        await follower.buses[-1].closed()
        follower.manager.look_again()
        assert follower.interfaces() == ["up0"]
        private_bus.start()
        await fake.start()
        await fake.set("up1", say=False)
        await follower.attach()
        await follower.sees("up0", "up1")
        assert [] not in follower.history

    play(scene)


# Strangers on the bus


@pytest.mark.parametrize("what", ["properties", "owner"])
def test_strangers_cannot_speak_for_networkd_or_the_bus(what: str, play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        asked = fake.described
        stranger = await Bus.connect()
        victim = str(follower.buses[-1]._connection.unique_name)
        if what == "owner":
            signal = Signal(sender="", path=names.DBUS_PATH, interface=names.DBUS, member="NameOwnerChanged", body=())
            await forge(stranger, victim, signal, "sss", [NETWORKD, fake.unique_name, ""])
        else:
            changed: list[Any] = [LINK, {"OperationalState": Variant("s", "off")}, []]
            signal = Signal(
                sender="", path=NETWORKD_PATH, interface=names.PROPERTIES, member="PropertiesChanged", body=()
            )
            await forge(stranger, victim, signal, "sa{sv}as", changed)
        await follower.has_heard()
        assert fake.described == asked
        await fake.set("up1")  # and the real one is still listened to
        await follower.sees("up0", "up1")
        stranger.close()

    play(scene)


def test_closed_follower_asks_nobody(play: Play) -> None:
    async def scene(fake: FakeNetworkd, follower: Follower) -> None:
        follower.manager.close()
        asked = fake.described
        await fake.set("up1")
        await follower.has_heard()
        follower.manager.look_again()
        await follower.has_heard()
        assert (fake.described, follower.interfaces()) == (asked, ["up0"])

    play(scene)
