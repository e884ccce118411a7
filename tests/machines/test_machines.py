# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick part of the matrix, all its guests at the same time; the rest is `make test-machines`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.machines import guest, machine, matrix
from tests.machines.matrix import Key
from tests.machines.results import Outcome

KEYS = matrix.keys(matrix.QUICK)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Mapping[Key, Future[Outcome]]]:
    with ThreadPoolExecutor(guest.AT_ONCE) as pool:
        yield {key: pool.submit(machine.run, key.machine, key.job, say=lambda text: None) for key in KEYS}
        guest.give_up()


@pytest.mark.machines
@pytest.mark.parametrize("key", [pytest.param(key, id=f"{key.job}-{key.kernel}") for key in KEYS])
def test_job_passes_in_a_guest(key: Key, outcomes: Mapping[Key, Future[Outcome]]) -> None:
    reason = machine.why_not(key.machine)
    if reason:
        pytest.skip(reason)
    outcome = outcomes[key].result()
    assert not outcome.fault, f"{outcome.said[-6000:]}\n{outcome.end}"
