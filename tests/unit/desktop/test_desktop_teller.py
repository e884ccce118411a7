# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told, when, and how often: hours of a desktop in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from clatnm.desktop.memory import Key, Memory, Shown
from clatnm.desktop.state import Kind, has_ipv4, networks
from clatnm.desktop.teller import Patience, Show, acts
from tests.unit.desktop import desktop_told as told

UUID = told.on()["uuid"]
LONG = 100.0


class Desktop:
    """A teller with hands that always succeed: `at` is a moment, and what is done then."""

    def __init__(self) -> None:
        self.memory = Memory(bus="b")
        self.patience = Patience()
        self._number = 0

    def at(self, now: float, *said: dict[str, Any]) -> list[str]:
        there = networks(told.status(*said))
        settled = self.patience.settled(there, tuple(self.memory.shown), now)
        done = []
        for act in acts(settled, self.memory, has_ipv4=has_ipv4(there)):
            if isinstance(act, Show):
                self._number += 1
                self.memory = self.memory.with_shown(Shown(key=act.key, number=self._number, server=":1"))
                done.append(f"{act.network.name}: {act.key.kind}")
            else:
                self.memory = self.memory.without(act.uuid)
                done.append("withdrawn")
        assert acts(settled, self.memory, has_ipv4=has_ipv4(there)) == []
        return done


MOMENTS: Mapping[str, list[tuple[float, tuple[dict[str, Any], ...], list[str]]]] = {
    "told-once": [
        (0, (told.on(),), []),
        (1.9, (told.on(),), []),
        (2.0, (told.on(),), ["Cafe: nat64"]),
        (LONG, (told.on(),), []),
    ],
    "bad-news-waits": [
        (0, (told.without_nat64(),), []),
        (9.9, (told.without_nat64(),), []),
        (10, (told.without_nat64(),), ["Cafe: none"]),
    ],
    "the-first-moments-are-not-told": [
        (0, (told.without_nat64(),), []),
        (4, (told.connection("starting", prefix=told.PREFIX),), []),
        (5, (told.on(),), []),
        (7, (told.on(),), ["Cafe: nat64"]),
    ],
    "not-known-changes-nothing": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (told.connection("starting", prefix=told.PREFIX),), []),
        (LONG, (told.connection("starting", prefix=told.PREFIX),), []),
        (2 * LONG, (told.on(),), []),
    ],
    "another-state-takes-the-place": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (told.without_nat64(),), []),
        (13, (told.without_nat64(),), ["Cafe: none"]),
    ],
    "what-was-told-is-not-told-again-but-no-lie-stays": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (told.without_nat64(),), []),
        (13, (told.without_nat64(),), ["Cafe: none"]),
        (14, (told.on(),), []),
        (16, (told.on(),), ["withdrawn"]),
        (LONG, (told.without_nat64(),), []),
        (2 * LONG, (told.without_nat64(),), []),
    ],
    "another-prefix-is-another-network": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (told.on(prefix="2001:db8:64::/96"),), []),
        (5, (told.on(prefix="2001:db8:64::/96"),), ["Cafe: nat64"]),
    ],
    "left": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (), []),
        (12.9, (), []),
        (13, (), ["withdrawn"]),
        (14, (told.on(),), []),
        (LONG, (told.on(),), []),
    ],
    "lost-for-a-moment": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (), []),
        (5, (told.on(),), []),
        (LONG, (told.on(),), []),
    ],
    "native-ipv4-is-nothing-to-tell": [
        (0, (told.native(),), []),
        (LONG, (told.native(),), []),
    ],
    "native-ipv4-comes": [
        (0, (told.on(),), []),
        (2, (told.on(),), ["Cafe: nat64"]),
        (3, (told.native(),), []),
        (8, (told.native(),), ["withdrawn"]),
    ],
    "switched-off-is-nothing-to-tell": [
        (0, (told.connection("off", "opted-out"),), []),
        (LONG, (told.connection("off", "opted-out"),), []),
    ],
    "without-ipv4-beside-one-that-has-it": [
        (0, (told.without_nat64(), told.native(**told.OFFICE)), []),
        (LONG, (told.without_nat64(), told.native(**told.OFFICE)), []),
        (LONG + 1, (told.without_nat64(),), ["Cafe: none"]),
    ],
    "ipv4-has-just-come-by-another": [
        (0, (told.without_nat64(),), []),
        (10, (told.without_nat64(), told.native(**told.OFFICE)), []),
    ],
    "two-networks-are-two": [
        (0, (told.without_nat64(), told.without_nat64(**told.OFFICE)), []),
        (LONG, (told.without_nat64(), told.without_nat64(**told.OFFICE)), ["Cafe: none", "Office: none"]),
    ],
}


@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
def test_network_is_told_when_it_has_settled_and_once(
    moments: list[tuple[float, tuple[dict[str, Any], ...], list[str]]],
) -> None:
    desktop = Desktop()
    assert [desktop.at(now, *said) for now, said, _ in moments] == [done for _, _, done in moments]


def test_next_moment_is_when_something_settles() -> None:
    desktop = Desktop()
    desktop.at(0, told.on(), told.without_nat64(**told.OFFICE))
    assert desktop.patience.next_at(0) == 2.0
    assert desktop.patience.next_at(2.0) == 10.0
    assert desktop.patience.next_at(10.0) is None


def test_what_an_earlier_run_has_shown_goes_when_it_is_no_longer_so() -> None:
    desktop = Desktop()
    key = Key(uuid=UUID, prefix="", kind=Kind.NONE)
    desktop.memory = desktop.memory.with_shown(Shown(key=key, number=3, server=":1"))
    assert desktop.at(0) == []
    assert desktop.at(10) == ["withdrawn"]
