# SPDX-License-Identifier: GPL-2.0-or-later
"""What an earlier daemon has left: adopted as it is, or ended. With real processes, and local sockets for the rest."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clatnm import memo
from clatnm.facts import DefaultRoute, Link
from clatnm.kernel import who
from clatnm.kernel.guard import alarm
from clatnm.memo import Memo, Past
from clatnm.model import Plan
from clatnm.translators import orphan
from clatnm.translators.adoption import adopt_all, end_orphans
from clatnm.translators.base import Translator
from clatnm.translators.device import worker_config
from clatnm.translators.estate import Estate
from clatnm.translators.tun import TunBackend
from clatnm.worker import wire
from tests.unit.aio import run
from tests.unit.translators.fake_machine import INDEX, FakeHost, FakeMachine
from tests.unit.translators.fake_machine import PLAN as MADE
from tests.unit.worker.test_process import Supervised

PLAN = replace(MADE, link_address=None, gateway=None, backend="tun")
PAST = Past(plan=PLAN, began=5.0, start_ms=31.0)


class Left(Supervised):
    """A translator that a daemon has left, or is about to."""

    def __init__(self, estate: Estate, plan: Plan = PLAN) -> None:
        super().__init__()
        self.estate = estate
        self.start(worker_config(plan, hooked=False, relayed=False))
        self.door = estate.open(INDEX)
        self.alarm = alarm()
        keep = wire.Keep(door=self.door, alarm=self.alarm, uplink=plan.ifindex, patience_s=60.0, uid=os.geteuid())
        wire.send_keep(self.control, keep, ())
        estate.write(Memo(version=wire.VERSION, past=replace(PAST, plan=plan), index=INDEX))
        self.say(wire.encode("counters"))
        self.hear()

    def alone(self) -> None:
        """The daemon is gone."""
        self.door.close()
        self.alarm.close()
        self.control.close()

    def close(self) -> None:
        self.door.close()
        self.alarm.close()
        super().close()


class Scene:
    """`machine.links()` is what the kernel has."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.estate = Estate(directory)
        self.machine: Any = FakeMachine()
        self.host: Any = FakeHost(self.machine)
        self.device = Link(
            index=INDEX,
            name=PLAN.device,
            ipv6_mtu_bytes=1500,
            carrier=True,
            addresses4=frozenset({PLAN.clat_v4}),
            default4=(DefaultRoute(gateway=None, metric=PLAN.metric),),
        )
        self.machine.links = lambda: {self.device.name: self.device}
        self.left = Left(self.estate)

    async def claim(self) -> list[tuple[Past, Translator | None]]:
        """Those that could not be adopted included."""
        return await adopt_all(self.host, self.estate, {"tun": TunBackend(self.host)})

    async def adopt(self) -> list[tuple[Past, Translator]]:
        return [(past, translator) for past, translator in await self.claim() if translator is not None]

    def files(self) -> set[str]:
        return set(os.listdir(self.directory))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "translators")
    yield scene
    scene.left.close()


def play(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await work()

    before = sockets()
    run(limited())
    assert sockets() <= before


def sockets() -> int:
    paths = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(
        os.path.lexists(path) and os.readlink(path).startswith(("socket:", "anon_inode:[pidfd")) for path in paths
    )


def test_translator_is_adopted_as_it_is_and_counts_on(scene: Scene) -> None:
    scene.left.udp_reaches_wire(PLAN.clat_v4)
    scene.left.alone()

    async def work() -> None:
        ((past, translator),) = await scene.adopt()
        assert past == PAST
        scene.left.udp_reaches_wire(PLAN.clat_v4)
        assert (await translator.counters())["ipv4_to_ipv6"]["protocols"]["udp"]["packets"] == 2
        assert scene.files() == {f"{INDEX}.socket", f"{INDEX}.memo"}
        await translator.stop()
        assert scene.left.process.poll() == 0
        assert scene.files() == set()

    play(work)


def test_adopted_one_follows_a_new_plan_and_can_be_left_again(scene: Scene) -> None:
    scene.left.alone()

    async def work() -> None:
        ((past, translator),) = await scene.adopt()
        plan = replace(PLAN, ipv6_mtu_bytes=1400)
        await translator.update(plan)
        assert scene.files() == {f"{INDEX}.socket"}, "what was written holds no more"
        assert not await translator.entrust(scene.estate, past), "that is the old plan"
        assert await translator.entrust(scene.estate, replace(past, plan=plan))
        assert scene.estate.read(INDEX).past.plan == plan
        assert (await translator.counters())["ipv4_to_ipv6"]["drops"] == {}
        assert await scene.adopt() == [], "it has a daemon"
        await translator.stop()

    play(work)


def test_end_of_an_adopted_one_is_noticed(scene: Scene) -> None:
    scene.left.alone()

    async def work() -> None:
        ((_, translator),) = await scene.adopt()
        scene.left.process.kill()
        ended = await translator.ended()
        assert ended.error == "the translator process ended"
        assert scene.files() == set()

    play(work)


def test_one_that_has_a_daemon_is_left_alone(scene: Scene) -> None:
    async def work() -> None:
        assert await scene.adopt() == []
        assert await end_orphans(scene.host, scene.estate) == []

    play(work)
    scene.left.udp_reaches_wire(PLAN.clat_v4)
    assert scene.files() == {f"{INDEX}.socket", f"{INDEX}.memo"}


def _other_version(scene: Scene) -> None:
    scene.estate.write(Memo(version=wire.VERSION + 1, past=PAST, index=INDEX))


def _damaged(scene: Scene) -> None:
    (scene.directory / f"{INDEX}.memo").write_bytes(memo.to_bytes(Memo(version=1, past=PAST, index=INDEX))[:-9])


def _about_another(scene: Scene) -> None:
    scene.estate.write(Memo(version=wire.VERSION, past=PAST, index=INDEX))
    written = scene.directory / f"{INDEX}.memo"
    written.write_bytes(written.read_bytes().replace(f'"index":{INDEX}'.encode(), b'"index":4711'))


FAULTS: dict[str, Callable[[Scene], object]] = {
    "another-version": _other_version,
    "damaged-memo": _damaged,
    "no-memo": lambda scene: scene.estate.withdraw(INDEX),
    "memo-about-another": _about_another,
    "unknown-backend": lambda scene: scene.estate.write(
        Memo(version=wire.VERSION, past=replace(PAST, plan=replace(PLAN, backend="siit")), index=INDEX)
    ),
    "descriptors-missing": lambda scene: scene.estate.write(
        Memo(version=wire.VERSION, past=PAST, index=INDEX, held=("map counters",))
    ),
    "device-gone": lambda scene: setattr(scene, "device", replace(scene.device, name="eth9")),
    "device-another": lambda scene: setattr(scene, "device", replace(scene.device, index=INDEX + 1)),
    "address-gone": lambda scene: setattr(scene, "device", replace(scene.device, addresses4=frozenset())),
    "route-gone": lambda scene: setattr(scene, "device", replace(scene.device, default4=())),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_adopted_is_ended(scene: Scene, fault: Callable[[Scene], object]) -> None:
    fault(scene)
    scene.left.alone()

    async def work() -> None:
        assert await scene.adopt() == []
        assert scene.left.process.poll() == 0
        assert scene.files() == set()

    play(work)


def test_one_that_gave_way_meanwhile_is_ended(scene: Scene) -> None:
    scene.left.alone()
    host: Any = FakeHost(scene.machine)

    def guard(uplink: int, *, tripped: Callable[[], None]) -> Any:
        made = FakeHost.guard(host, uplink, tripped=tripped)
        made.tripped = True
        return made

    tripped: Any = SimpleNamespace(do=host.do, guard=guard)

    async def work() -> None:
        assert await adopt_all(tripped, scene.estate, {"tun": TunBackend(tripped)}) == [(PAST, None)]
        assert scene.left.process.poll() == 0

    play(work)


def test_one_that_obeys_no_more_is_killed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, and then hangs."""
    monkeypatch.setattr(orphan, "_END_S", 0.2)
    monkeypatch.setattr(orphan.Foreign, "terminate", lambda _: scene.left.process.send_signal(signal.SIGSTOP))
    scene.estate.withdraw(INDEX)
    scene.left.alone()

    async def work() -> None:
        assert await end_orphans(scene.host, scene.estate) == [f"a translator, process {scene.left.process.pid}"]
        assert scene.left.process.poll() == -signal.SIGKILL

    play(work)


def test_cleanup_ends_what_nobody_has(scene: Scene) -> None:
    scene.left.alone()

    async def work() -> None:
        assert await end_orphans(scene.host, scene.estate) == [f"the translator {PLAN.device}"]
        assert scene.left.process.poll() == 0
        assert await end_orphans(scene.host, scene.estate) == []
        assert scene.files() == set()

    play(work)


def test_files_of_the_dead_are_removed(scene: Scene) -> None:
    scene.left.alone()
    scene.left.process.kill()
    scene.left.process.wait()

    async def work() -> None:
        assert await scene.adopt() == []
        assert scene.files() == set()

    play(work)


def test_nobody_else_gets_into_the_directory(scene: Scene) -> None:
    assert scene.directory.stat().st_mode & 0o777 == 0o700
    assert (scene.directory / f"{INDEX}.memo").stat().st_mode & 0o777 == 0o600


def test_what_was_to_be_run_in_the_end_is_told_of_those_that_are_gone(scene: Scene) -> None:
    past = replace(PAST, script_down="/etc/clatnm/down")
    scene.estate.write(Memo(version=wire.VERSION, past=past, index=INDEX))
    scene.left.alone()
    scene.left.process.kill()
    scene.left.process.wait()

    async def work() -> None:
        assert await scene.claim() == [(past, None)]
        assert await scene.claim() == [], "once"

    play(work)


def test_one_that_ended_this_moment_is_its_daemon_s(scene: Scene) -> None:
    """As a second daemon may find it."""
    scene.estate.write(Memo(version=wire.VERSION, past=PAST, index=INDEX, daemon=who.name(os.getpid())))
    scene.left.alone()
    scene.left.process.kill()
    scene.left.process.wait()

    async def work() -> None:
        assert await scene.claim() == []
        assert scene.files() == {f"{INDEX}.socket", f"{INDEX}.memo"}

    play(work)


def test_without_a_directory_there_is_nothing_to_adopt(tmp_path: Path) -> None:
    host: Any = FakeHost(FakeMachine())

    async def work() -> None:
        assert await adopt_all(host, Estate(tmp_path / "nowhere"), {}) == []

    play(work)
