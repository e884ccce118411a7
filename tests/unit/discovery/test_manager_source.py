# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes that a network manager knows: when it is asked, and how long its answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from clatnm.discovery.manager import ManagerKnowledge
from clatnm.model import Link, PrefixCandidate, PrefixSource
from tests.unit.aio import run_virtual

LINK = Link(index=2, name="up0", ipv6_mtu_bytes=1500, carrier=True, carrier_changes=2)


def candidate(prefix: str = "64:ff9b::/96", *, until: float | None = 5000.0) -> PrefixCandidate:
    return PrefixCandidate(prefix=IPv6Network(prefix), source=PrefixSource.MANAGER, expires_at=until)


class FakeManager:
    """A network manager that has up0."""

    name = "fake-networkd"

    def __init__(self) -> None:
        self.known: dict[str, tuple[PrefixCandidate, ...]] = {"up0": ()}
        self.asked: list[float] = []

    def prefixes(self, interface: str) -> tuple[PrefixCandidate, ...] | None:
        return self.known.get(interface)

    def look_again(self) -> None:
        self.asked.append(now())


def now() -> float:
    return asyncio.get_running_loop().time()


class Stage:
    def __init__(self) -> None:
        self.manager = FakeManager()
        self.changes = 0
        self.source = ManagerKnowledge(changed=self._changed, tellers=[self.manager])

    def _changed(self) -> None:
        self.changes += 1

    def follow(self, *links: Link, wanted: Collection[str] = ("up0",)) -> None:
        self.source.follow({link.name: link for link in links or (LINK,)}, wanted)

    def prefixes(self, interface: str = "up0") -> list[str]:
        return [str(told.prefix) for told in self.source.candidates(interface, now())]

    def detail(self, interface: str = "up0") -> str:
        report = self.source.report(interface, now())
        assert report.settled
        assert report.source is PrefixSource.MANAGER
        return report.detail


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def work() -> None:
        stage = Stage()
        await scene(stage)
        stage.source.close()

    run_virtual(work())


def test_prefixes_the_manager_knows_are_candidates_until_they_end() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        stage.manager.known["up0"] = (
            candidate("64:ff9b::/96", until=now() + 100),
            candidate("2001:db8:64::/96", until=now() + 50),
            candidate("2001:db8:65::/96", until=None),
        )
        assert stage.prefixes() == ["64:ff9b::/96", "2001:db8:64::/96", "2001:db8:65::/96"]
        await asyncio.sleep(50)
        assert stage.prefixes() == ["64:ff9b::/96", "2001:db8:65::/96"]
        assert stage.prefixes("up1") == []

    play(scene)


@pytest.mark.parametrize("impossible", ["64:ff9b::/95", "fe80::/64", "ff00::/32", "::/96"])
def test_what_can_be_no_nat64_prefix_is_left_out(impossible: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.manager.known["up0"] = (candidate(impossible), candidate())
        assert stage.prefixes() == ["64:ff9b::/96"]

    play(scene)


def test_manager_is_asked_now_and_then_while_nothing_better_is_known() -> None:
    async def scene(stage: Stage) -> None:
        began = now()
        stage.follow()
        for _ in range(9):
            await asyncio.sleep(10)
            stage.follow()
        await asyncio.sleep(1)
        assert [when - began for when in stage.manager.asked] == [30, 60, 90]
        stage.follow(wanted=())
        await asyncio.sleep(100)
        assert len(stage.manager.asked) == 3

    play(scene)


def test_links_of_other_managers_ask_nobody() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, replace(LINK, index=3, name="up1"), wanted=("up1",))
        await asyncio.sleep(100)
        assert stage.manager.asked == []

    play(scene)


@pytest.mark.parametrize(
    ("changed", "asks"),
    [
        pytest.param(LINK, 0, id="nothing"),
        pytest.param(replace(LINK, carrier_changes=4), 1, id="flap"),
        pytest.param(replace(LINK, ipv6_mtu_bytes=1400), 1, id="mtu"),
    ],
)
def test_manager_is_asked_when_the_link_changes(changed: Link, asks: int) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        stage.follow(changed)
        stage.follow(changed)
        assert len(stage.manager.asked) == asks

    play(scene)


def test_link_that_changes_while_better_is_known_asks_nobody() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(wanted=())
        stage.follow(replace(LINK, carrier_changes=4), wanted=())
        assert stage.manager.asked == []

    play(scene)


@pytest.mark.parametrize(
    "moved",
    [replace(LINK, carrier_changes=4), replace(LINK, carrier=False), replace(LINK, index=9)],
    ids=["flap", "unplugged", "another-device"],
)
def test_after_a_flap_a_prefix_counts_again_only_when_confirmed(moved: Link) -> None:
    async def scene(stage: Stage) -> None:
        stage.manager.known["up0"] = (candidate(until=now() + 600),)
        stage.follow()
        assert stage.prefixes() == ["64:ff9b::/96"]
        stage.follow(moved)
        assert stage.prefixes() == []
        await asyncio.sleep(1)
        stage.follow(moved)
        assert stage.prefixes() == []
        stage.manager.known["up0"] = (candidate(until=now() + 600),)
        assert stage.prefixes() == ["64:ff9b::/96"]

    play(scene)


@pytest.mark.parametrize("ifindex", [None, 2])
def test_forgotten_prefix_counts_again_only_when_confirmed(ifindex: int | None) -> None:
    async def scene(stage: Stage) -> None:
        stage.manager.known["up0"] = (candidate(until=now() + 600),)
        stage.follow()
        stage.source.forget(ifindex)
        assert (stage.prefixes(), stage.changes, len(stage.manager.asked)) == ([], 1, 1)
        assert stage.detail() == "fake-networkd knows none"
        stage.manager.known["up0"] = (candidate(until=now() + 601),)
        assert stage.prefixes() == ["64:ff9b::/96"]

    play(scene)


def test_forgetting_one_link_spares_the_others() -> None:
    async def scene(stage: Stage) -> None:
        stage.manager.known |= {"up0": (candidate(),), "up1": (candidate(),)}
        stage.follow(LINK, replace(LINK, index=3, name="up1"))
        stage.source.forget(3)
        assert (stage.prefixes("up0"), stage.prefixes("up1")) == (["64:ff9b::/96"], [])

    play(scene)


def test_report_says_what_the_manager_knows_and_since_when() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        began = now()
        assert stage.detail() == "fake-networkd knows none"
        assert stage.detail("up1") == "the network manager does not tell"
        await asyncio.sleep(5)
        assert stage.source.report("up0", now()).since == began
        stage.manager.known["up0"] = (candidate(), candidate("2001:db8:64::/96"))
        assert stage.detail() == "fake-networkd knows 64:ff9b::/96, 2001:db8:64::/96"
        assert stage.source.report("up0", now()).since == began + 5

    play(scene)


def test_closed_source_asks_nobody() -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        stage.source.close()
        await asyncio.sleep(100)
        assert stage.manager.asked == []

    play(scene)
