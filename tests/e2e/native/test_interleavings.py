# SPDX-License-Identifier: GPL-2.0-or-later
"""A short run of `tests.e2e.native.interleave`; and that it would see what it looks for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.e2e.native import interleave
from tests.e2e.native.at_once import Overlap, Watch, Way
from tests.lab import Lab
from tests.lab.fixtures import running_lab

CHANGES, SEED = 40, 58


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    release = os.uname().release
    if tuple(map(int, re.findall(r"\d+", release)[:2])) < (6, 6):
        pytest.skip(f"NetworkManager's CLAT needs Linux 6.6; this is {release}")
    yield from running_lab("forky")


def test_new_connections_have_one_translator_whatever_happens(quick_lab: Lab) -> None:
    record, counts = interleave.run(quick_lab, CHANGES, SEED, progress=lambda *_: None)
    print("\n".join(interleave.summary(record, counts)))
    assert record.native > 2
    assert record.ours > 2


def test_two_routes_are_seen_and_which_is_behind(quick_lab: Lab) -> None:
    host = quick_lab.host
    watch = Watch(host)
    host.ip("link", "add", "clat-up0", "type", "veth", "peer", "name", "far")
    for device in ("clat-up0", "far", "up0"):
        host.ip("link", "set", device, "up")
    host.ip("addr", "add", "192.0.0.4/32", "dev", "clat-up0")
    host.ip("addr", "add", "192.0.0.5/32", "dev", "up0")
    ours, native = Way("clat-up0", "192.0.0.4", 50), Way("up0", "192.0.0.5", 100)
    for way in (ours, native):
        host.ip("route", "add", "default", "dev", way.device, "src", way.source, "metric", str(way.metric))
    assert watch.look().open
    with pytest.raises(AssertionError, match="clat-up0"):
        interleave.check(watch.record)
    # With its address go its routes, said or not.
    host.ip("addr", "del", "192.0.0.4/32", "dev", "clat-up0")
    record = watch.look()
    assert record.ways == {native}
    (overlap,) = record.overlaps
    assert overlap.ways == {ours, native}
    assert not overlap.native_first
    with pytest.raises(AssertionError, match="metric=50"):
        interleave.check(record)


@pytest.mark.parametrize(
    ("metric", "ended", "fine"), [(150, 0.02, True), (150, 0.6, False), (100, 0.001, False), (99, 0.001, False)]
)
def test_only_behind_and_not_for_long_is_fine(metric: int, ended: float, fine: bool) -> None:
    ways = frozenset({Way("clat-up0", "192.0.0.4", metric), Way("up0", "192.0.0.5", 100)})
    assert interleave.allowed(Overlap(ways, 0.0, ended)) is fine
