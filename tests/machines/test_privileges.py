# SPDX-License-Identifier: GPL-2.0-or-later
"""The service's rights, one by one, under the oldest systemd: the job `privileges` in a box. The matrix has the
newest."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.machines import box, machine
from tests.machines.jobs.privileges import AFTERWARDS
from tests.machines.payload import payload
from tests.machines.privileges_functions import FUNCTIONS
from tests.machines.privileges_removed import REMOVALS
from tests.machines.results import Check, Fate

ROOTS = ("bookworm",)
_BOXES = 2  # side by side: most of the time is waited for what does not come
_LIMIT_S = 600.0


def shares() -> list[list[str]]:
    """What each box is to do."""
    names = ["functions", *(removal.name for removal in REMOVALS)]
    return [names[start::_BOXES] for start in range(_BOXES)]


def run(root: str, archive: bytes, names: Sequence[str]) -> Sequence[Check]:
    with box.Box(root, archive) as place:
        outcome = place.run([*machine.command("privileges"), *names], limit_s=_LIMIT_S, say=lambda text: None)
    assert any(check.name == AFTERWARDS for check in outcome.checks), outcome.said[-6000:]
    return outcome.checks


@pytest.fixture(scope="module", params=ROOTS)
def told(request: pytest.FixtureRequest) -> Mapping[str, Check]:
    """What the job says in that root, by name; it runs once."""
    reason = box.why_not(request.param)
    if reason:
        pytest.skip(reason)
    with ThreadPoolExecutor(_BOXES) as pool:
        parts = list(pool.map(functools.partial(run, request.param, payload()), shares()))
    found: dict[str, Check] = {}
    for check in (check for part in parts for check in part):
        if found.get(check.name, check).fate is not Fate.NOT_OK:
            found[check.name] = check
    return found


def passed(check: Check) -> None:
    if check.fate is Fate.SKIP:
        pytest.skip(check.why)
    assert check.fate is Fate.OK, check.why


@pytest.mark.machines
@pytest.mark.parametrize("name", [*FUNCTIONS, AFTERWARDS])
def test_service_works_with_the_rights_of_its_unit(told: Mapping[str, Check], name: str) -> None:
    passed(told[name])


@pytest.mark.machines
@pytest.mark.parametrize("name", [removal.name for removal in REMOVALS])
def test_a_function_fails_without(told: Mapping[str, Check], name: str) -> None:
    passed(told[name])
