# SPDX-License-Identifier: GPL-2.0-or-later
"""Several network managers on one machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from clatnm.dbus.bus import Bus
from clatnm.errors import BusError
from clatnm.model import Mode, Uplink
from clatnm.uplinks import Manager
from clatnm.uplinks.managers import Managers
from clatnm.uplinks.networkd import Networkd
from clatnm.uplinks.networkmanager import NetworkManager
from tests.unit.aio import run, until
from tests.unit.uplinks.fake_networkd import FakeNetworkd
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager
from tests.unit.uplinks.follower import TWO
from tests.unit.uplinks.recorded import a_profile, profile_path


class FakeManager:
    """A manager of the given interfaces. Its `attach` waits for `answer`."""

    def __init__(self, name: str, *interfaces: str) -> None:
        self.name, self.interfaces = name, interfaces
        self.attached = False
        self.answer = asyncio.Event()
        self.error: BusError | None = None

    async def attach(self, bus: Bus, changed: Callable[[], None]) -> None:
        await self.answer.wait()
        if self.error:
            raise self.error
        self.attached = True

    def managed(self) -> Collection[str] | None:
        return self.interfaces if self.attached else None

    def uplinks(self) -> tuple[Uplink, ...]:
        return tuple(Uplink(interface=i, uuid=f"{self.name}/{i}", name=i, manager=self.name) for i in self.interfaces)


def test_interface_of_two_managers_is_the_first_ones() -> None:
    async def work() -> None:
        managers = Managers([FakeManager("one", "eth1", "eth3"), FakeManager("two", "eth2", "eth1")])
        assert [uplink.uuid for uplink in managers.uplinks()] == ["one/eth1", "two/eth2", "one/eth3"]

    run(work())


def test_what_is_managed_is_known_when_all_have_said_it() -> None:
    one, two = FakeManager("one", "eth1"), FakeManager("two", "eth2")
    managers = Managers([one, two])
    one.attached = True
    assert managers.managed() is None
    assert [managers.manager_of(interface) for interface in ("eth1", "eth2")] == ["one", ""]
    two.attached = True
    assert managers.managed() == {"eth1", "eth2"}
    assert [managers.manager_of(interface) for interface in ("eth2", "eth3")] == ["two", ""]


def test_manager_that_is_slow_keeps_no_other_waiting(private_bus: object) -> None:
    async def work() -> None:
        slow, quick = FakeManager("slow"), FakeManager("quick")
        quick.answer.set()
        bus = await Bus.connect()
        attaching = asyncio.ensure_future(Managers([slow, quick]).attach(bus, lambda: None))
        await until(lambda: quick.attached)
        assert not attaching.done()
        slow.answer.set()
        await attaching
        assert slow.attached
        bus.close()

    run(work())


def test_bus_that_fails_one_manager_is_told(private_bus: object) -> None:
    async def work() -> None:
        manager: FakeManager = FakeManager("one")
        manager.error = BusError("gone")
        manager.answer.set()
        bus = await Bus.connect()
        with pytest.raises(BusError, match="gone"):
            await Managers([manager]).attach(bus, lambda: None)
        bus.close()

    run(work())


def test_link_of_networkd_that_networkmanager_shows_too_is_networkds(private_bus: object, tmp_path: Path) -> None:
    """NetworkManager calls it "connected (externally)" and makes up a profile, in which nobody can have opted out."""

    async def work() -> None:
        nm = FakeNetworkManager(TWO, {profile_path(n): a_profile(None, number=n) for n in (1, 2)})
        networkd = FakeNetworkd()
        await nm.start()
        await networkd.start()
        (tmp_path / "10-eth.network").write_text("[X-Clatnm]\nMode=no\n")
        await networkd.set("eth1", NetworkFile=str(tmp_path / "10-eth.network"))
        await networkd.set("eth2", AdministrativeState="unmanaged")
        both: tuple[Manager, ...] = (Networkd(directories=[tmp_path]), NetworkManager())
        managers = Managers(both)
        bus = await Bus.connect()
        await managers.attach(bus, lambda: None)

        def seen() -> list[tuple[str, str, Mode | None]]:
            return [(uplink.interface, uplink.manager, uplink.mode) for uplink in managers.uplinks()]

        await until(lambda: seen() == [("eth1", "systemd-networkd", Mode.NO), ("eth2", "NetworkManager", None)])
        for end in (nm.stop, networkd.stop, bus.close):
            end()

    run(work())
