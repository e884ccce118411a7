# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators as units of their own under the oldest systemd: the jobs `scopes` and `poweroff` in boxes. The matrix has
the newest."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping

import pytest

from tests.machines import box, machine
from tests.machines.jobs.scopes import CHECKS
from tests.machines.payload import payload
from tests.machines.results import Check, Fate, Outcome
from tests.machines.systemd_scopes import COMPLAINT, SCOPE, STOPPING

ROOT = "bookworm"
_LIMIT_S = 300.0
_OFF_S = 20.0


@functools.lru_cache(maxsize=1)
def _payload() -> bytes:
    return payload()


def _run(job: str) -> Outcome:
    reason = box.why_not(ROOT)
    if reason:
        pytest.skip(reason)
    with box.Box(ROOT, _payload()) as place:
        return place.run(machine.command(job), limit_s=_LIMIT_S, say=lambda text: None)


@pytest.fixture(scope="module")
def told() -> Mapping[str, Check]:
    """What the job says, by name; it runs once."""
    outcome = _run("scopes")
    found = {check.name: check for check in outcome.checks}
    assert found.keys() >= CHECKS.keys(), outcome.said[-6000:]
    return found


@pytest.mark.machines
@pytest.mark.parametrize("name", CHECKS)
def test_translator_is_a_unit_of_its_own(told: Mapping[str, Check], name: str) -> None:
    if told[name].fate is Fate.SKIP:
        pytest.skip(told[name].why)
    assert told[name].fate is Fate.OK, told[name].why


@pytest.mark.machines
def test_machine_that_is_switched_off_stops_the_daemon_first() -> None:
    """Which ends its translators: nobody waits for them, and none is started anew."""
    began = time.monotonic()
    said = _run("poweroff").said
    _, found, after = said.partition(f" in {SCOPE}\n")
    assert found, said[-6000:]
    lines = [line for line in after.splitlines() if re.search(rf"clatnm|{re.escape(SCOPE)}", line)]
    stopping = _index(lines, "Stopping clatnm.service")
    assert stopping < _index(lines, f"{SCOPE}: Deactivated successfully"), after
    assert stopping < _index(lines, "clatnm.service: Deactivated successfully"), after
    assert "Stopped clatnm.service" in after, after
    for line in lines:
        assert "trying again" not in line and STOPPING not in line and not COMPLAINT.search(line), after
    assert time.monotonic() - began < _LIMIT_S / 2, "it took long"
    seconds = [float(stamp) for stamp in re.findall(r"^\[ *(\d+\.\d+)\]", after, re.MULTILINE)]
    assert seconds[-1] - seconds[0] < _OFF_S, after


def _index(lines: list[str], text: str) -> int:
    return next((number for number, line in enumerate(lines) if text in line), len(lines) + 1)
