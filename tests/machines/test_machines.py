# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick part of the matrix; all of it is `make test-machines`."""

from __future__ import annotations

import pytest

from tests.machines import machine, matrix
from tests.machines.machine import Machine

CASES = [
    pytest.param(job, place, id=f"{job}-{place.kernel}") for job, places in matrix.QUICK.items() for place in places
]


@pytest.mark.machines
@pytest.mark.parametrize(("job", "place"), CASES)
def test_job_passes_in_a_guest(job: str, place: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    reason = machine.why_not(place)
    if reason:
        pytest.skip(reason)
    outcome = machine.run(place, job)
    assert not outcome.fault, outcome.end or capsys.readouterr().out[-4000:]
