# SPDX-License-Identifier: GPL-2.0-or-later
"""The service's rights, one by one, under the oldest and the newest systemd: the job `privileges` in a box."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.machines import box, machine
from tests.machines.privileges_functions import FUNCTIONS
from tests.machines.privileges_removed import REMOVALS
from tests.machines.results import Check, Fate

ROOTS = ("bookworm", "forky")
_LIMIT_S = 600.0


@pytest.fixture(scope="module", params=ROOTS)
def told(request: pytest.FixtureRequest) -> Mapping[str, Check]:
    """What the job says in that root; it runs once."""
    reason = box.why_not(request.param)
    if reason:
        pytest.skip(reason)
    with box.Box(request.param) as place:
        outcome = place.run(machine.command("privileges"), limit_s=_LIMIT_S, say=lambda text: None)
    found = {check.name: check for check in outcome.checks}
    assert "everything-works-again" in found, outcome.said[-6000:]
    return found


def passed(check: Check) -> None:
    if check.fate is Fate.SKIP:
        pytest.skip(check.why)
    assert check.fate is Fate.OK, check.why


@pytest.mark.machines
@pytest.mark.parametrize("name", [*FUNCTIONS, "everything-works-again"])
def test_service_works_with_the_rights_of_its_unit(told: Mapping[str, Check], name: str) -> None:
    passed(told[name])


@pytest.mark.machines
@pytest.mark.parametrize("name", [removal.name for removal in REMOVALS])
def test_a_function_fails_without(told: Mapping[str, Check], name: str) -> None:
    passed(told[name])
